"""Patterns from trajectories: k-means++ over unit query vectors, a quality gate, and the rule for when two are one.

For unit vectors the mean c of a cluster tells its spread: the mean |x - c|^2 is 1 - |c|^2. So a pattern keeps its plain
(not normalised) centroid, merging is the size-weighted mean, and no statistics are lost by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from core.numeric.kmeans import kmeans
from core.numeric.vectors import Floats, unit_rows

SAME_COSINE = 0.95  # centroids more similar than this are always one pattern
CHANCE = 2.0  # times the squared distance that two samples of one cluster have by chance
COHERENCE = 0.5  # mean cosine of the members to the centroid that a merged pattern must keep
BOOST_CEILING = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A kind of query that went well.

    centroid (d,): mean of the members' unit queries; action (d,): mean of what was done; quality: mean outcome; size:
    members; confidence: quality, faded by lack of use. `similarity` is set on the answer to a query only.
    """

    centroid: Floats
    action: Floats
    quality: float
    size: int
    created_at: float
    last_used: float
    confidence: float
    usage_count: int = 0
    similarity: float = math.nan

    def used(self, now: float) -> Pattern:
        """The pattern after one more use."""
        return replace(self, usage_count=self.usage_count + 1, last_used=max(self.last_used, now))

    @property
    def scatter(self) -> float:
        """Sum of squared distances of the members to the centroid."""
        return self.size * max(1.0 - float(self.centroid.dot(self.centroid)), 0.0)


def extract(
    queries: Floats, actions: Floats, qualities: Floats, clusters: int, min_quality: float, now: float,
    rng: np.random.Generator, min_size: int = 1,
) -> list[Pattern]:  # fmt: skip
    """Patterns among n trajectories, the largest first.

    queries, actions (n, d), qualities (n,). Clusters that are one by `same` are merged (k is a ceiling, the data
    decide); then those with fewer than min_size members or a mean quality below min_quality go.
    """
    directed = np.linalg.norm(queries, axis=1) > 0
    if not directed.any():
        return []
    points, actions, qualities = unit_rows(queries[directed]), actions[directed], qualities[directed]
    _, labels, _ = kmeans(points, clusters, rng)
    found = [
        Pattern(
            centroid=points[members].mean(axis=0), action=actions[members].mean(axis=0),
            quality=float(qualities[members].mean(dtype=np.float64)), size=len(members),
            created_at=now, last_used=now, confidence=float(qualities[members].mean(dtype=np.float64)),
        )
        for members in (np.flatnonzero(labels == label) for label in range(labels.max() + 1))
        if len(members)
    ]  # fmt: skip
    tolerance = 1e-6  # a mean of float32 qualities that equal the threshold may fall just below it
    return [p for p in combine(found) if p.size >= min_size and p.quality >= min_quality - tolerance]


def combine(patterns: Iterable[Pattern], same_cosine: float = SAME_COSINE) -> list[Pattern]:
    """Merge until no two are the same; the largest first. Deterministic, O(p^2 d)."""
    kept: list[Pattern] = []
    for pattern in sorted(patterns, key=lambda p: -p.size):
        while (twin := nearest_twin(pattern, kept, same_cosine)) is not None:
            pattern = merge(kept.pop(twin), pattern)  # the union may now be the same as a third
        kept.append(pattern)
    return sorted(kept, key=lambda p: -p.size)


def nearest_twin(pattern: Pattern, others: list[Pattern], same_cosine: float = SAME_COSINE) -> int | None:
    """Index of the most similar of `others` that is the same as `pattern`, if there is one."""
    if not others:
        return None
    centroids = np.stack([other.centroid for other in others])
    for candidate in np.argsort(((centroids - pattern.centroid) ** 2).sum(axis=1), kind="stable")[:3]:
        if same(pattern, others[candidate], same_cosine):
            return int(candidate)
    return None


def same(a: Pattern, b: Pattern, same_cosine: float = SAME_COSINE) -> bool:
    """True if a and b look like samples of one cluster: their cosine is above `same_cosine`, or their centroids are no
    farther apart than chance puts two samples of these sizes, W (1/n_a + 1/n_b) with W the pooled variance, and the
    union is still coherent."""
    lengths = math.sqrt(float(a.centroid.dot(a.centroid)) * float(b.centroid.dot(b.centroid)))
    if lengths > 0 and float(a.centroid.dot(b.centroid)) > same_cosine * lengths:
        return True
    if a.size + b.size <= 2:
        return False
    apart = a.centroid - b.centroid
    variance = (a.scatter + b.scatter) / (a.size + b.size - 2)
    union = (a.size * a.centroid + b.size * b.centroid) / np.float32(a.size + b.size)
    by_chance = float(apart.dot(apart)) <= CHANCE * variance * (1 / a.size + 1 / b.size)
    return by_chance and float(union.dot(union)) >= COHERENCE**2


def merge(a: Pattern, b: Pattern) -> Pattern:
    """Both as one: size-weighted means, summed sizes and uses, the earliest creation and the latest use."""
    size = a.size + b.size
    share = a.size / size

    def mean(x: float, y: float) -> float:
        return share * x + (1.0 - share) * y

    return replace(
        a,
        centroid=np.float32(share) * a.centroid + np.float32(1.0 - share) * b.centroid,
        action=np.float32(share) * a.action + np.float32(1.0 - share) * b.action,
        quality=mean(a.quality, b.quality),
        confidence=mean(a.confidence, b.confidence),
        size=size,
        usage_count=a.usage_count + b.usage_count,
        created_at=min(a.created_at, b.created_at),
        last_used=max(a.last_used, b.last_used),
    )


def boost(confidence: float, usage_count: int) -> float:
    """How much a pattern lifts its results: confidence (1 + log2(max(uses, 1)) / 10), at most 2."""
    return min(confidence * (1.0 + math.log2(max(usage_count, 1)) / 10.0), BOOST_CEILING)
