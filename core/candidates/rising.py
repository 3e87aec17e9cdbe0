"""What is wanted now and was not before: new titles, of which no signal that counts people's history knows anything."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.viewer import Viewer
from core.snapshot.snapshot import Snapshot

# Likes in the snapshot at which what happens now counts half. On the validation windows of two data sets 1 to 10 are
# within .001 NDCG@10 of each other; the fewer, the more new titles gain and the rest loses.
ENOUGH_LIKES = 3.0

# It does not change within a snapshot, and a snapshot takes it with it.
_NEWNESS: WeakKeyDictionary[Snapshot, NDArray] = WeakKeyDictionary()


def rising(viewer: Viewer) -> NDArray:
    """(n,) in [0, 1]: online popularity as a share of the most popular title's, times k / (k + likes so far), k being
    ENOUGH_LIKES.

    Neighbours, transitions and walks are silent about a title that the snapshot has met seldom or never, and silence is
    not evidence against it. The more they know of a title, the less it needs this.
    """
    most = float(viewer.trending.max(initial=0.0))
    return viewer.trending * (_newness(viewer.snapshot) * np.float32(1 / most if most > 0 else 0.0))


def _newness(snapshot: Snapshot) -> NDArray:
    if snapshot not in _NEWNESS:
        _NEWNESS[snapshot] = (ENOUGH_LIKES / (snapshot.popularity_all + ENOUGH_LIKES)).astype(np.float32)
    return _NEWNESS[snapshot]
