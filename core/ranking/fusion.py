"""One ranking out of several: log-odds from all that is known of every title, reciprocal ranks, or scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking, floor

FUSIONS = ("logs", "rrf", "scores")
PRESETS: dict[str, dict[str, float]] = {  # as specified
    "sona": {"collaborative": 0.30, "content": 0.20, "graph": 0.40, "context": 0.10},
    "classic": {"collaborative": 0.35, "content": 0.25, "graph": 0.30, "context": 0.10},
}


@dataclass(frozen=True, slots=True)
class Fused:
    """Candidates, best first. rows (m,); scores (m,); parts (s, m): the share of each of `names`, summing to scores.

    log_odds: the scores are logarithms of odds, so what bends them adds to them; others are multiplied.
    """

    rows: NDArray
    scores: NDArray
    parts: NDArray
    names: tuple[str, ...]
    log_odds: bool = False

    def gains(self, change: NDArray) -> NDArray:
        """(k,) what the first k scores gain from `change` (k,), each in [-1, 1] times a strength; none falls below 0.

        Scores s become s (1 + change); log-odds become s + change, the odds then being multiplied by e^change.
        """
        scores = self.scores[: len(change)]
        return np.maximum(change if self.log_odds else scores * change, -scores)

    def bent(self, gained: NDArray, part: str) -> Fused:
        """The first k titles in the order of their scores plus `gained` (k,), which is one more part of them."""
        scores = self.scores[: len(gained)] + gained
        order = np.argsort(-scores, kind="stable")
        parts = np.concatenate([self.parts[:, : len(gained)], gained[None]])[:, order]
        return Fused(self.rows[order], scores[order], parts, (*self.names, part), self.log_odds)

    def relevance(self, count: int) -> NDArray:
        """(k,) of the first `count`, for MMR, which scales the best to 1.

        Log-odds fall from there in their own unit: likeness to a chosen one then costs (1 - lambda) / lambda of it. As
        shares of the best they would all but be the same, as odds the first few would be all that counts.
        """
        scores = self.scores[:count]
        return 1.0 + scores - scores.max(initial=0.0) if self.log_odds else scores


SHARPNESS = 0.03  # a title with this share of the best score stands a fifth as high; .01 and .1 rank within .003
LOGS = float(np.log1p(1 / SHARPNESS))  # logarithm at the best score

FAINTEST = 1e-37  # best score that float32 can divide by; below, a signal is silent


def standing(scores: NDArray, weight: float = 1.0, full: float = 0.0) -> NDArray:
    """(n,) float32 in [0, weight], logarithmic: weight x log(1 + s / (c max s)) / log(1 + 1 / c), c = SHARPNESS.

    Item-item weights and counts span orders of magnitude. Their logarithms can be added as evidence; the scores
    themselves would let the single largest decide. Evidence against, s < 0, counts like none. The best score stands for
    full evidence, unless it is smaller than `full`: little stays little in a signal whose scores say how much there is.
    """
    [values] = odds([scores], [full])
    np.log(values, out=values)
    values *= np.float32(weight / LOGS)
    return values


def odds(signals: Sequence[NDArray], full: Sequence[float]) -> NDArray[np.float32]:
    """(s, n) at least 1: what the standings of s signals (n,) are the logarithms of, 1 + score / (c best score)."""
    values = np.empty((len(signals), len(signals[0])), np.float32)
    for row, scores in zip(values, signals, strict=True):
        row[:] = scores
    best = values.max(axis=1, initial=0.0)
    if not np.isfinite(best).all():
        values[~np.isfinite(values)] = 0.0
        best = values.max(axis=1, initial=0.0)
    scale = [
        1 / (SHARPNESS * max(most, enough)) if most >= FAINTEST else 0.0
        for most, enough in zip(best.tolist(), full, strict=True)
    ]
    for row, least in zip(values, values.min(axis=1, initial=0.0).tolist(), strict=True):
        if least < 0:  # looking for one is five times as fast as a maximum for nothing
            np.maximum(row, 0.0, out=row)
    values *= np.array(scale, np.float32)[:, None]
    values += np.float32(1)  # log(1 + x): NumPy's log is vectorised, its log1p is not, and float32 needs no more here
    return values


def fuse_logs(
    signals: Mapping[str, NDArray],
    weights: Mapping[str, float],
    groups: Mapping[str, str],
    allowed: NDArray,
    reach: int,
    full: Mapping[str, float] | None = None,
) -> Fused:
    """The `reach` best allowed titles by the weighted sum of standings, over the whole catalogue: a log-linear model.

    signals: (n,) scores of every title; weights: by signal; groups: signal -> the strategy that it is a part of, when
    that has another name; full: of signals whose scores do not mean more or less from request to request, see standing.
    """
    names = tuple(name for name in signals if weights.get(name, 0.0) > 0)
    if not names:
        return Fused(np.empty(0, np.int64), np.empty(0), np.empty((0, 0)), (), log_odds=True)
    values = odds([signals[name] for name in names], [(full or {}).get(name, 0.0) for name in names])
    scale = np.array([weights[name] / LOGS for name in names], np.float32)
    rows = contenders(values, scale, allowed, reach)
    shares = np.log(values.take(rows, axis=1)) * scale[:, None]  # (s, k)
    strategies = tuple(dict.fromkeys(groups.get(name, name) for name in names))
    parts = np.zeros((len(strategies), len(rows)))
    for name, share in zip(names, shares, strict=True):
        parts[strategies.index(groups.get(name, name))] += share
    scores = parts.sum(axis=0)
    order = np.argsort(-scores, kind="stable")[:reach]  # ties by row, so that answers are repeatable
    order = order[scores[order] > 0]
    return Fused(rows[order], scores[order], parts[:, order], strategies, log_odds=True)


BITS_PER_OCTAVE = 1 << 23
# Read as an integer and divided by that, a float32 is its logarithm to base 2 plus 127, but up to so much too little
# (Mitchell 1962): log2(1 + m) - m. The rest is for sums in float32.
MITCHELL = 0.0861 + 0.0002


def contenders(values: NDArray[np.float32], scale: NDArray[np.float32], allowed: NDArray, k: int) -> NDArray:
    """Ascending rows of allowed titles, among them the k with the largest sum of scale x log(values).

    values: (s, n) at least 1; scale: (s,). Logarithms cost more than everything else in fusion: the exact ones are
    left to the few titles that Mitchell's do not rule out.
    """
    rough = scale @ values.view(np.int32).astype(np.float32)
    np.copyto(rough, -np.inf, where=~allowed)
    least = floor(rough, k) - float(scale.sum()) * MITCHELL * BITS_PER_OCTAVE
    return (rough >= max(least, 0.0)).nonzero()[0]


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
