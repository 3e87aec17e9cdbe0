"""What few have seen: the counterweight to popularity, which every signal that counts people is full of.

Only for viewers with a history: about the others those signals say nothing, and the popular is what is left to show.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.arms import FEW
from core.candidates.viewer import Viewer
from core.snapshot.snapshot import Snapshot

SMOOTHING = 0.1  # share of the best-known title's likes that every title counts as having; .03 and .3 rank the same


def has_history(viewer: Viewer) -> bool:
    """Whether the viewer has liked enough for other signals to speak. Without that limit, viewers with up to FEW likes
    lose .015 NDCG@10 on one of two validation windows, and nobody else gains."""
    return viewer.positives > FEW


# It does not change within a snapshot, and a snapshot takes it with it.
_RARITY: WeakKeyDictionary[Snapshot, NDArray] = WeakKeyDictionary()


def rarity(viewer: Viewer) -> NDArray:
    """(n,) smoothed inverse popularity, 1 for a title without likes: an inverse propensity (Steck 2011); zeros for a
    viewer with FEW likes."""
    if not has_history(viewer):
        return np.zeros(len(viewer.allowed), np.float32)
    snapshot = viewer.snapshot
    if snapshot not in _RARITY:
        likes = snapshot.popularity_all
        known = SMOOTHING * max(float(likes.max(initial=0.0)), 1.0)
        _RARITY[snapshot] = (known / (likes + known)).astype(np.float32)
    return _RARITY[snapshot]
