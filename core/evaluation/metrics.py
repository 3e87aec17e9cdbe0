"""How good a list of recommendations is, and how sure of it we are.

A list is a row of `lists` (m, k): item codes, best first, -1 where nothing was recommended. Targets are the items that
the user then liked. All accuracy is that of whole-catalogue ranking: an item that is not in the list is a miss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

K = 10
CALIBRATION_SMOOTHING = 0.01  # Steck 2018, alpha: share of the history's distribution mixed into the list's
Z_95 = 1.959964
ROUNDING = 2.0**-22  # scores closer than this share of themselves are equal: float32 sums differ by as much


@dataclass(frozen=True, slots=True)
class Ragged:
    """m variable-length rows in one array: row i is values[start[i]:start[i + 1]]."""

    values: NDArray
    start: NDArray  # (m + 1,)

    def __len__(self) -> int:
        return len(self.start) - 1

    def row(self, i: int) -> NDArray:
        """A view, not a copy."""
        return self.values[self.start[i] : self.start[i + 1]]

    @property
    def sizes(self) -> NDArray:
        """(m,) lengths of the rows."""
        return np.diff(self.start)

    def take(self, rows: NDArray) -> Ragged:
        """The rows (m,) of indices, in that order."""
        sizes = self.sizes[rows]
        start = np.concatenate([[0], np.cumsum(sizes)])
        offsets = np.repeat(self.start[rows] - start[:-1], sizes)
        return Ragged(self.values[np.arange(start[-1]) + offsets], start)


def best_lists(scores: NDArray, forbidden: NDArray, targets: Ragged, k: int = K) -> NDArray:
    """(m, k) int32 columns with the highest scores, best first, -1 where fewer may be recommended.

    scores: (m, n); forbidden: (m, n) bool, what may not be recommended; targets: columns per row, -1 for a target that
    is no column. A score that is not finite is never recommended, so a system that diverges misses. A target is put
    behind everything that has its score: ties count against the system, and a constant scores nothing by luck.
    """
    scores = np.where(forbidden | ~np.isfinite(scores), -np.inf, scores)
    rows, columns = np.repeat(np.arange(len(targets)), targets.sizes), targets.values
    rows, columns = rows[columns >= 0], columns[columns >= 0]
    value = scores[rows, columns]
    scores[rows, columns] = value - np.maximum(np.abs(value) * ROUNDING, np.finfo(np.float32).tiny)
    k = min(k, scores.shape[1])
    part = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(scores, part, axis=1)
    order = np.lexsort((part, -values), axis=1)
    best = np.take_along_axis(part, order, axis=1)
    usable = np.isfinite(np.take_along_axis(values, order, axis=1))
    return np.where(usable, best, -1).astype(np.int32)


def hits(lists: NDArray, targets: Ragged) -> NDArray:
    """(m, k) bool: which places hold a target."""
    width = int(targets.sizes.max(initial=0))
    padded = np.full((len(targets), width), -2, np.int64)
    padded[np.arange(width) < targets.sizes[:, None]] = targets.values
    return (lists[:, :, None] == padded[:, None, :]).any(axis=2) & (lists >= 0)


def accuracy(lists: NDArray, targets: Ragged) -> dict[str, NDArray]:
    """Per list, (m,) each: precision, recall, NDCG (binary gain, log2 discount), hit rate and reciprocal rank, at k.

    NDCG divides by the best that k places allow for this number of targets (Järvelin & Kekäläinen 2002). The reciprocal
    rank is that of the first hit within the list, 0 without one: a served list ends where it ends.
    """
    k = lists.shape[1]
    hit = hits(lists, targets)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(targets.sizes, k)]
    first = np.where(hit.any(axis=1), 1.0 / (np.argmax(hit, axis=1) + 1), 0.0)
    return {
        f"precision@{k}": hit.sum(axis=1) / k,
        f"recall@{k}": hit.sum(axis=1) / np.maximum(targets.sizes, 1),
        f"ndcg@{k}": hit @ discount / ideal,
        f"hr@{k}": hit.any(axis=1).astype(float),
        f"mrr@{k}": first,
    }


def clustered_error(values: NDArray, cluster: NDArray) -> float:
    """Standard error of the mean of `values` (m,) when those of one cluster (m,) may depend on each other.

    sqrt(G / (G - 1) sum_g (sum_{i in g} (x_i - mean))^2) / m over G clusters: the cluster-robust variance of a mean
    (Liang & Zeger 1986). With one value per cluster it is the ordinary standard error. NaN for fewer than two clusters.
    """
    _, code = np.unique(cluster, return_inverse=True)
    groups = int(code.max(initial=-1)) + 1
    if groups < 2:
        return float("nan")
    sums = np.bincount(code, values - values.mean(), minlength=groups)
    return float(np.sqrt(groups / (groups - 1) * np.sum(sums**2)) / len(values))


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of ours minus theirs on the same events, and its 95 % confidence interval."""

    difference: float
    se: float
    low: float
    high: float


def paired_difference(ours: NDArray, theirs: NDArray, cluster: NDArray) -> Difference:
    """Compare two systems on the same events (m,), clustered by user (m,)."""
    gap = ours - theirs
    mean, error = float(gap.mean()) if len(gap) else float("nan"), clustered_error(gap, cluster)
    return Difference(mean, error, mean - Z_95 * error, mean + Z_95 * error)


def relative_lift(ours: NDArray, theirs: NDArray, cluster: NDArray) -> Difference:
    """mean(ours) / mean(theirs) - 1 on the same events, clustered by user; the error is linearised (delta method)."""
    base = float(theirs.mean()) if len(theirs) else 0.0
    if base <= 0:
        return Difference(*(float("nan"),) * 4)
    ratio = float(ours.mean()) / base
    error = clustered_error((ours - ratio * theirs) / base, cluster)
    return Difference(ratio - 1, error, ratio - 1 - Z_95 * error, ratio - 1 + Z_95 * error)


def coverage(lists: NDArray, catalogue_size: int) -> float:
    """Share of the catalogue that was recommended to somebody."""
    return len(np.unique(lists[lists >= 0])) / max(catalogue_size, 1)


def novelty(lists: NDArray, share: NDArray) -> float:
    """Mean self-information -log2 p(item) of what was recommended, in bits (Vargas & Castells 2011).

    share: (n,) each item's share of the positives before the cut, > 0.
    """
    shown = lists[lists >= 0]
    return float(-np.log2(share[shown]).mean()) if len(shown) else float("nan")


def intra_list_diversity(lists: NDArray, genres: NDArray) -> float:
    """Mean Jaccard distance of the genre sets within a list, over lists with at least two titles of known genre.

    genres: (n, g) bool.
    """
    known: NDArray = np.any(genres, axis=1)
    shown = (lists >= 0) & known[lists]
    sets = (genres[lists] & shown[:, :, None]).astype(np.float32)
    common = sets @ sets.transpose(0, 2, 1)
    sizes = sets.sum(axis=2)
    union = sizes[:, :, None] + sizes[:, None, :] - common
    distance = 1.0 - np.divide(common, union, out=np.ones_like(common), where=union > 0)
    pairs = np.triu(np.ones((lists.shape[1],) * 2, bool), 1) & shown[:, :, None] & shown[:, None, :]
    counts = pairs.sum(axis=(1, 2))
    per_list = np.where(pairs, distance, 0.0).sum(axis=(1, 2))[counts > 0] / counts[counts > 0]
    return float(per_list.mean()) if len(per_list) else float("nan")


def genre_shares(rows: Ragged, genres: NDArray) -> NDArray:
    """(m, g) distribution over genres of each row of items: a title's genres share it equally; zeros if unknown."""
    per_title = genres / np.maximum(genres.sum(axis=1, keepdims=True), 1)
    owner = np.repeat(np.arange(len(rows)), rows.sizes)
    sums = np.zeros((len(rows), genres.shape[1]))
    np.add.at(sums, owner, per_title[rows.values])
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)


def calibration(shown: NDArray, liked: NDArray) -> float:
    """Mean Kullback-Leibler divergence of list genres from history genres (Steck 2018); 0 is perfectly calibrated.

    shown, liked: (m, g) from `genre_shares`; rows without known genres on either side are left out.
    """
    known = (shown.sum(axis=1) > 0) & (liked.sum(axis=1) > 0)
    p, q = liked[known], shown[known]
    q = (1 - CALIBRATION_SMOOTHING) * q + CALIBRATION_SMOOTHING * p
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return float((p * np.log(ratio)).sum(axis=1).mean()) if known.any() else float("nan")
