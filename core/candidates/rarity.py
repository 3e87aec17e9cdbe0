"""What few have seen: the counterweight to popularity, which every signal that counts people is full of."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.viewer import Viewer
from core.snapshot.snapshot import Snapshot

SMOOTHING = 0.1  # share of the best-known title's likes that every title counts as having; .03 and .3 rank the same

# It does not change within a snapshot, and a snapshot takes it with it.
_RARITY: WeakKeyDictionary[Snapshot, NDArray] = WeakKeyDictionary()


def rarity(viewer: Viewer) -> NDArray:
    """(n,) smoothed inverse popularity, 1 for a title without likes: an inverse propensity (Steck 2011)."""
    snapshot = viewer.snapshot
    if snapshot not in _RARITY:
        likes = snapshot.popularity_all
        known = SMOOTHING * max(float(likes.max(initial=0.0)), 1.0)
        _RARITY[snapshot] = (known / (likes + known)).astype(np.float32)
    return _RARITY[snapshot]
