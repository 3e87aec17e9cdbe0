"""K-means: known clusters are found, results are consistent, quality stands next to scikit-learn's."""

import numpy as np
import pytest

from core.errors import InvalidInput
from core.numeric.kmeans import kmeans, seed_plus_plus


def blobs(rng, centres, per_cluster, spread):
    labels = np.repeat(np.arange(len(centres)), per_cluster)
    return (centres[labels] + spread * rng.standard_normal((len(labels), centres.shape[1]))).astype(np.float32), labels


def test_separated_blobs_are_recovered_exactly():
    rng = np.random.default_rng(0)
    points, truth = blobs(rng, 10 * np.eye(5, 8), 40, 0.1)
    _, labels, _ = kmeans(points, 5, rng)
    for cluster in range(5):
        assert len(set(labels[truth == cluster])) == 1
    assert len(set(labels)) == 5


def test_inertia_labels_and_centroids_belong_together():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((300, 6)).astype(np.float32) + 5
    centroids, labels, inertia = kmeans(points, 7, rng)
    squared = ((points[:, None] - centroids) ** 2).sum(-1)
    assert np.array_equal(labels, squared.argmin(1))
    assert inertia == pytest.approx(squared.min(1).sum(), rel=1e-4)


def test_identical_points_give_one_centroid():
    centroids, labels, inertia = kmeans(np.full((50, 4), 3, np.float32), 8, np.random.default_rng(0))
    assert centroids.shape == (1, 4)
    assert np.allclose(centroids, 3)
    assert inertia == pytest.approx(0, abs=1e-6)
    assert not labels.any()


def test_no_more_centroids_than_points():
    points = np.eye(3, 4, dtype=np.float32)
    centroids, _, inertia = kmeans(points, 10, np.random.default_rng(0))
    assert len(centroids) == 3
    assert inertia == pytest.approx(0, abs=1e-6)


def test_seeds_are_drawn_by_squared_distance_and_not_farthest_first():
    """Three heavy groups and one far outlier: farthest-first always takes the outlier as its second centre; sampling
    with D^2 takes it with its share of the squared distance only."""
    groups = np.repeat([[0.0], [10.0], [11.0]], 400, axis=0)
    points = np.concatenate([groups, [[60.0]]]).astype(np.float32)
    outlier = sum(60.0 in seed_plus_plus(points, 2, np.random.default_rng(seed)) for seed in range(60))
    assert outlier < 20


def test_the_same_generator_state_gives_the_same_result():
    points = np.random.default_rng(3).standard_normal((500, 8)).astype(np.float32)
    first = kmeans(points, 6, np.random.default_rng(7))
    second = kmeans(points, 6, np.random.default_rng(7))
    assert np.array_equal(first[0], second[0])
    assert first[2] == second[2]


def test_inertia_is_within_two_percent_of_scikit_learn_on_a_large_input():
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(5)
    points, _ = blobs(rng, rng.standard_normal((60, 32)), 110, 0.8)
    ours = kmeans(points, 24, rng)[2]
    theirs = min(KMeans(24, n_init=1, random_state=seed).fit(points).inertia_ for seed in range(3))
    assert ours <= 1.02 * theirs


@pytest.mark.parametrize(
    ("points", "k"), [(np.empty((0, 3), np.float32), 2), (np.ones((4, 3), np.float32), 0), (np.ones(4), 1)]
)
def test_impossible_requests_are_refused(points, k):
    with pytest.raises(InvalidInput):
        kmeans(points, k, np.random.default_rng(0))
