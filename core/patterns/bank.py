"""The pattern bank: idempotent upsert, similarity search that counts its use, merging, decay and pruning. Pure
memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from core.errors import InvalidInput
from core.numeric.kmeans import squared_distances, squared_norms
from core.numeric.vectors import Floats, require_finite, top_k, unit_rows
from core.patterns.cluster import SAME_COSINE, Pattern, combine, merge, same

DAY_S = 86_400.0
UNUSED_DAYS = 7.0  # confidence begins to fade after this long without use
FADE_PER_DAY = 0.95
PRUNE_BELOW = 0.3


class PatternBank:
    """Patterns of one embedding space (d,), at most `capacity`: beyond it the least confident go. Times are seconds.

    Not thread-safe by itself: its owner holds a lock around every call.
    """

    def __init__(self, dim: int, capacity: int = 10_000) -> None:
        self.dim, self.capacity = dim, capacity
        self.patterns: list[Pattern] = []
        self._directions: Floats | None = None  # unit centroids (p, d), rebuilt when the set changes

    def __len__(self) -> int:
        return len(self.patterns)

    def upsert(self, found: Iterable[Pattern]) -> int:
        """Add patterns; one that the bank already has is merged into it. Returns how many were new."""
        fresh, known = combine(found), len(self.patterns)
        for pattern, candidates in zip(fresh, self._nearest(fresh), strict=True):
            twin = next((i for i in candidates if same(self.patterns[i], pattern)), None)
            if twin is None:
                self.patterns.append(pattern)
            else:
                self.patterns[twin] = merge(self.patterns[twin], pattern)
        new = len(self.patterns) - known
        if len(self.patterns) > self.capacity:
            self.patterns = sorted(self.patterns, key=lambda p: -p.confidence)[: self.capacity]
        self._directions = None
        return new

    def find(self, queries: object, k: int, now: float) -> list[list[Pattern]]:
        """For each query (n, d) the k patterns of highest cosine, best first, as they are after this use was
        counted."""
        rows = require_finite(queries, "embedding", (None, self.dim))
        if k < 1:
            raise InvalidInput(f"k must be at least 1, got {k}")
        if not self.patterns:
            return [[] for _ in rows]
        if self._directions is None:
            self._directions = unit_rows(np.stack([pattern.centroid for pattern in self.patterns]))
        answers = []
        for row in unit_rows(rows) @ self._directions.T:
            best = top_k(row, k)
            for i in best:
                self.patterns[i] = self.patterns[i].used(now)
            answers.append([replace(self.patterns[i], similarity=float(row[i])) for i in best])
        return answers

    def _nearest(self, fresh: list[Pattern]) -> list[list[int]]:
        """For each new pattern the indices of the three nearest that the bank has, nearest first."""
        if not self.patterns or not fresh:
            return [[] for _ in fresh]
        known = np.stack([pattern.centroid for pattern in self.patterns])
        rows = np.stack([pattern.centroid for pattern in fresh])
        distances = squared_distances(rows, squared_norms(rows), known)
        return [[int(i) for i in top_k(-row, 3)] for row in distances]

    def consolidate(self, now: float, same_cosine: float = SAME_COSINE, min_confidence: float = PRUNE_BELOW) -> int:
        """Merge what is the same, fade what is unused, prune what is doubtful. Returns how many fewer patterns there
        are."""
        before = len(self.patterns)
        faded = [fade(pattern, now) for pattern in combine(self.patterns, same_cosine)]
        self.patterns = [pattern for pattern in faded if pattern.confidence >= min_confidence]
        self._directions = None
        return before - len(self.patterns)


def fade(pattern: Pattern, now: float) -> Pattern:
    """The confidence that is left: the quality, less 5 % per day after a week without use. Depends on the times only,
    so running it twice changes nothing."""
    unused_days = max((now - pattern.last_used) / DAY_S - UNUSED_DAYS, 0.0)
    return replace(pattern, confidence=pattern.quality * FADE_PER_DAY**unused_days)
