"""What people go on to since the snapshot was built: transitions between likes, counted as they happen.

The snapshot's own transitions are as old as the snapshot. These are few, fresh and forgotten with the next one, which
learns the same from the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 5  # a like follows from the five before it, as the snapshot counts...
STEP_DECAY = 0.7  # ...each step back counting so much less
SHRINKAGE = 20.0  # titles that few went on from stay below those that many did

MOST = 50_000  # latest likes that count; 50 MB where all have five before them
FAINTEST = 1e-9  # what is left of a count when all that made it are forgotten

_List = tuple[NDArray[np.int64], NDArray[np.float64]]
_Like = tuple[tuple[int, ...], int]


@dataclass(slots=True)
class LiveTransitions:
    """Counts over snapshot rows of the latest `most` likes. One thread may add while others read."""

    most: int = MOST
    _likes: deque[_Like] = field(default_factory=deque)
    _counts: dict[int, dict[int, float]] = field(default_factory=dict)
    _lists: dict[int, _List] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._likes)

    def add(self, earlier: Sequence[int], row: int) -> None:
        """Somebody who had liked the rows `earlier`, latest last, came to like `row`."""
        like = tuple(earlier[-STEPS:]), row
        with self._lock:
            self._likes.append(like)
            self._count(like, 1.0)
            if len(self._likes) > self.most:
                self._count(self._likes.popleft(), -1.0)

    def _count(self, like: _Like, times: float) -> None:
        earlier, row = like
        for step, source in enumerate(reversed(earlier)):
            if source == row:
                continue
            counts = self._counts.setdefault(source, {})
            counts[row] = counts.get(row, 0.0) + times * STEP_DECAY**step
            if counts[row] < FAINTEST:
                del counts[row]
            if not counts:
                del self._counts[source]
            self._lists.pop(source, None)

    def from_row(self, row: int) -> _List | None:
        """Rows (k,) that people went on to and their weights (k,), shrunk shares of all that did; None: nobody did."""
        with self._lock:
            found = self._lists.get(row)
            if found is None and row in self._counts:
                counts = self._counts[row]
                rows = np.fromiter(counts.keys(), np.int64, len(counts))
                values = np.fromiter(counts.values(), np.float64, len(counts))
                found = self._lists[row] = rows, values / (values.sum() + SHRINKAGE)
        return found

    def spread(self, rows: NDArray[Any], weights: NDArray[Any], size: int) -> NDArray[np.float64]:
        """(size,) the sum over `rows` (m,) of weight times where people went on from there."""
        scores = np.zeros(size)
        for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
            found = self.from_row(row)
            if found is not None:
                scores[found[0]] += weight * found[1]  # a list names a row once
        return scores
