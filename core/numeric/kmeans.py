"""K-means with true k-means++ seeding (Arthur & Vassilvitskii 2007), vectorised so that all the work is matrix
products.

Large inputs are seeded and nearly converged on a uniform sample, where an iteration costs a fraction, and finished on
all points: the sample decides which basin the result lies in, the full iterations where its bottom is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.numeric.vectors import Floats

Labels = NDArray[np.intp]
SAMPLE_FLOOR = 2048
SAMPLE_PER_CENTRE = 32


def kmeans(
    points: Floats, k: int, rng: np.random.Generator, max_iterations: int = 12, tolerance: float = 5e-4, starts: int = 2
) -> tuple[Floats, Labels, float]:
    """Cluster (n, d) points into at most k clusters.

    Returns centroids (k', d), labels (n,) and the inertia, the sum of squared distances to the nearest centroid.
    k' < k only where fewer than k distinct points exist. Stops when the inertia improves by less than `tolerance`
    (relative) or after `max_iterations` passes over all points. `starts` seedings compete on the sample. Raises
    InvalidInput for no points or k < 1.
    """
    if points.ndim != 2 or len(points) == 0 or k < 1:
        raise InvalidInput(f"kmeans needs points (n, d) with n >= 1 and k >= 1, got {points.shape} and k={k}")
    points = np.ascontiguousarray(points, dtype=np.float32)
    origin = points.mean(axis=0)
    centred = points - origin  # float32 squared distances lose their digits far from the origin
    sample_size = max(SAMPLE_FLOOR, SAMPLE_PER_CENTRE * k)
    sample = centred if len(points) <= 2 * sample_size else centred[rng.choice(len(points), sample_size, replace=False)]
    tried = [lloyd(sample, seed_plus_plus(sample, k, rng), max_iterations, tolerance) for _ in range(starts)]
    centroids, labels, inertia = min(tried, key=lambda result: result[2])
    if sample is not centred:
        centroids, labels, inertia = lloyd(centred, centroids, max_iterations, tolerance)
    return centroids + origin, labels, inertia


def seed_plus_plus(points: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Up to k starting centroids from (n, d) points: each is drawn with probability proportional to D^2, its squared
    distance to those already chosen; of 2 + ln k draws the one that lowers the total most is kept (greedy k-means++,
    same paper)."""
    norms = squared_norms(points)
    draws = 2 + int(math.log(k))
    chosen = [int(rng.integers(len(points)))]
    nearest = squared_distances(points, norms, points[chosen])[:, 0]
    while len(chosen) < min(k, len(points)):
        cumulative = np.cumsum(nearest, dtype=np.float64)
        if cumulative[-1] <= 1e-10 * max(float(norms.sum()), 1e-30):
            break  # every point is already a centroid
        tries = np.searchsorted(cumulative, rng.random(draws) * cumulative[-1]).clip(0, len(points) - 1)
        closer = np.minimum(squared_distances(points, norms, points[tries]), nearest[:, None])
        best = int(np.argmin(closer.sum(axis=0)))
        chosen.append(int(tries[best]))
        nearest = np.ascontiguousarray(closer[:, best])
    return points[chosen].copy()


def lloyd(points: Floats, centroids: Floats, max_iterations: int, tolerance: float) -> tuple[Floats, Labels, float]:
    """Lloyd's iteration from the given centroids (k, d). Returns centroids, labels and inertia that belong together."""
    norms = squared_norms(points)
    labels, distances = assign(points, norms, centroids)
    inertia = float(distances.sum(dtype=np.float64))
    for _ in range(max_iterations):
        centroids = cluster_means(points, labels, distances, len(centroids))
        labels, distances = assign(points, norms, centroids)
        previous, inertia = inertia, float(distances.sum(dtype=np.float64))
        if previous - inertia <= tolerance * previous:
            break
    return centroids, labels, inertia


def assign(points: Floats, norms: Floats, centroids: Floats) -> tuple[Labels, Floats]:
    """Nearest centroid of every point and the squared distance to it."""
    distances = squared_distances(points, norms, centroids)
    labels = distances.argmin(axis=1)
    return labels, distances[np.arange(len(points)), labels]


def cluster_means(points: Floats, labels: Labels, distances: Floats, k: int) -> Floats:
    """Mean of each cluster (k, d), by one product with the indicator matrix. An empty cluster takes the point that is
    farthest from its own centroid, so that no centroid is wasted."""
    indicator = np.zeros((k, len(points)), dtype=np.float32)
    indicator[labels, np.arange(len(points))] = 1.0
    sizes = np.bincount(labels, minlength=k)
    means = np.asarray((indicator @ points) / np.maximum(sizes, 1)[:, None], dtype=np.float32)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        means[empty] = points[np.argsort(-distances, kind="stable")[: len(empty)]]
    return means


def squared_norms(points: Floats) -> Floats:
    """|p|^2 of every row, (n,)."""
    return np.asarray(np.einsum("ij,ij->i", points, points))


def squared_distances(points: Floats, norms: Floats, centroids: Floats) -> Floats:
    """|p - c|^2 = |p|^2 - 2 p.c + |c|^2, (n, k), never negative."""
    distances = points @ (-2.0 * centroids.T)
    distances += norms[:, None]
    distances += squared_norms(centroids)
    return np.maximum(distances, 0.0, out=distances)
