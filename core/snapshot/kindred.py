"""What viewers of late liked, one after the other: where a request looks for people with a history like its own.

Nothing says who they were, and a build keeps no more than a sample: the latest likes of those who liked something most
recently, and of each title the latest that liked it (Jannach & Ludewig 2017 sample sessions the same way).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.snapshot.positives import Positives
from core.snapshot.snapshot import AFTER, Kindred


def kindred_viewers(positives: Positives, viewers: int, likes: int, per_title: int) -> Kindred:
    """The latest `likes` likes of the `viewers` that were active last, `per_title` of each title indexed."""
    ends = np.append(np.searchsorted(positives.user, np.arange(positives.users)), len(positives.user))
    sizes = np.diff(ends)
    active = np.flatnonzero(sizes)
    last = positives.at[ends[active + 1] - 1]
    chosen = active[np.argsort(last, kind="stable")][-viewers:]  # the most recent come last
    sizes = np.minimum(sizes[chosen], likes)
    owner = np.repeat(np.arange(len(chosen), dtype=np.int32), sizes)
    start = np.repeat(ends[chosen + 1] - np.cumsum(sizes), sizes)
    rows = positives.row[start + np.arange(len(owner))].astype(np.int32)
    places, first = _by_title(rows, positives.n, per_title)
    return Kindred(rows, np.concatenate([owner, np.full(AFTER, -1, np.int32)]), places, first)


def _by_title(rows: NDArray[Any], n: int, most: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The last `most` places of each title, and where each title's begin."""
    order = np.argsort(rows, kind="stable").astype(np.int32)
    first = np.searchsorted(rows[order], np.arange(n + 1))
    behind = first[rows[order] + 1] - np.arange(len(order))  # entries of the same title from here on
    kept = behind <= most
    return order[kept], np.concatenate([[0], np.cumsum(np.bincount(rows[order[kept]], minlength=n))]).astype(np.int64)
