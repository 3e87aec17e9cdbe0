"""Asking every strategy under one deadline, and naming those that did not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import SonaError

V = TypeVar("V")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ranking:
    """One strategy's candidates, best first: rows (k,) into the snapshot and scores (k,), all positive."""

    rows: NDArray
    scores: NDArray


@dataclass(frozen=True, slots=True)
class Gathered(Generic[R]):
    """What every strategy answered: rankings, or scores of all titles."""

    rankings: dict[str, R]
    failed: dict[str, str]  # strategy -> reason; never silently an empty list
    elapsed_ms: dict[str, float]

    def joined_by(self, name: str, answer: R) -> Gathered[R]:
        """With one that answered after all."""
        others = {other: why for other, why in self.failed.items() if other != name}
        return Gathered({**self.rankings, name: answer}, others, self.elapsed_ms)


def top(scores: NDArray, allowed: NDArray, k: int) -> Ranking:
    """The k best allowed rows with a positive finite score, best first; ties by row, so that answers are repeatable."""
    if not np.isfinite(scores).all():
        scores = np.where(np.isfinite(scores), scores, 0.0)
    scores = scores * allowed
    least = floor(scores, k)
    rows = np.flatnonzero(scores >= least if least > 0 else scores > 0)
    values = scores[rows]
    order = np.argsort(-values, kind="stable")[:k]
    return Ranking(rows[order], values[order])


def floor(scores: NDArray, k: int) -> float:
    """What at least k scores reach, 0 for too few scores: the k-th best among the largest of several groups each."""
    groups = 4 * k
    size = len(scores) // groups if groups else 0
    if size < 2:
        return 0.0
    largest = scores[: size * groups].reshape(size, groups).max(axis=0)
    return float(np.partition(largest, groups - k)[groups - k])


def gather(strategies: Mapping[str, Callable[[V], R]], viewer: V, deadline_ms: float) -> Gathered[R]:
    """Run the strategies in order. One that fails, or that would start after the deadline, is named with its reason."""
    begun = perf_counter()
    rankings: dict[str, R] = {}
    failed: dict[str, str] = {}
    elapsed: dict[str, float] = {}
    for name, strategy in strategies.items():
        started = perf_counter()
        if (started - begun) * 1e3 > deadline_ms:
            failed[name] = "deadline"
            continue
        try:
            rankings[name] = strategy(viewer)
        except SonaError as error:
            failed[name] = str(error)
        elapsed[name] = (perf_counter() - started) * 1e3
    return Gathered(rankings, failed, elapsed)
