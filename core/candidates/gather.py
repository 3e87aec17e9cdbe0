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


def top(scores: NDArray, allowed: NDArray, k: int) -> Ranking:
    """The k best allowed rows with a positive finite score, best first; ties by row, so that answers are repeatable."""
    rows = np.flatnonzero((scores > 0) & allowed)
    values = scores[rows]
    if not np.isfinite(values).all():
        rows = rows[np.isfinite(values)]
        values = scores[rows]
    if len(rows) > k:
        part = np.argpartition(-values, k)[:k]
        part.sort()
        rows, values = rows[part], values[part]
    order = np.argsort(-values, kind="stable")
    return Ranking(rows[order], values[order])


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
