"""One ranking out of several: reciprocal rank fusion, or a weighted sum of standardised scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking

PRESETS: dict[str, dict[str, float]] = {  # design section 6
    "sona": {"collaborative": 0.30, "content": 0.20, "graph": 0.40, "context": 0.10},
    "classic": {"collaborative": 0.35, "content": 0.25, "graph": 0.30, "context": 0.10},
}


@dataclass(frozen=True, slots=True)
class Fused:
    """Candidates, best first. rows (m,); scores (m,); parts (s, m): the share of each of `names`, summing to scores."""

    rows: NDArray
    scores: NDArray
    parts: NDArray
    names: tuple[str, ...]


def fuse_rrf(rankings: Mapping[str, Ranking], weights: Mapping[str, float], k: float = 60.0) -> Fused:
    """Weighted reciprocal rank fusion (Cormack et al. 2009): sum_i w_i / (k + rank_i), ranks from 1."""
    values = {name: 1.0 / (k + 1 + np.arange(len(ranking.rows))) for name, ranking in rankings.items()}
    return _fuse(rankings, weights, values)


def fuse_scores(rankings: Mapping[str, Ranking], weights: Mapping[str, float]) -> Fused:
    """Weighted sum of scores, each strategy's divided by its best: keeps the distances that ranks throw away."""
    values = {name: ranking.scores / ranking.scores[0] for name, ranking in rankings.items() if len(ranking.rows)}
    return _fuse(rankings, weights, values)


def _fuse(rankings: Mapping[str, Ranking], weights: Mapping[str, float], values: Mapping[str, NDArray]) -> Fused:
    names = tuple(name for name in rankings if weights.get(name, 0.0) > 0 and len(rankings[name].rows))
    if not names:
        return Fused(np.empty(0, np.int64), np.empty(0), np.empty((0, 0)), ())
    together = np.concatenate([rankings[name].rows for name in names])
    rows = np.sort(together)
    rows = rows[np.diff(rows, prepend=-1) > 0]
    columns = np.split(np.searchsorted(rows, together), np.cumsum([len(rankings[name].rows) for name in names])[:-1])
    parts = np.zeros((len(names), len(rows)))
    for i, name in enumerate(names):
        parts[i, columns[i]] = weights[name] * values[name]
    scores = parts.sum(axis=0)
    order = np.argsort(-scores, kind="stable")  # ties by row
    return Fused(rows[order], scores[order], parts[:, order], names)
