"""What a list is worth, by hand and by law; and how sure that is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from core.evaluation.metrics import (
    Ragged,
    accuracy,
    best_lists,
    calibration,
    clustered_error,
    coverage,
    genre_shares,
    intra_list_diversity,
    novelty,
    paired_difference,
    relative_lift,
)


def rows(*values: list[int]) -> Ragged:
    start = np.concatenate([[0], np.cumsum([len(value) for value in values])])
    return Ragged(np.array([entry for value in values for entry in value], np.int64), start)


def one_list(*items: int, k: int = 10) -> NDArray:
    return np.array([list(items) + [-1] * (k - len(items))])


def test_ndcg_of_one_target_is_the_discount_of_its_place() -> None:
    assert accuracy(one_list(5, 6, 7), rows([7]))["ndcg@10"] == pytest.approx(1 / np.log2(4))
    assert accuracy(one_list(7, 6, 5), rows([7]))["ndcg@10"] == 1.0
    assert accuracy(one_list(5, 6), rows([7]))["ndcg@10"] == 0.0


def test_all_measures_of_two_hits_among_three_targets_by_hand() -> None:
    found = accuracy(one_list(1, 9, 2, 8), rows([2, 9, 77]))
    gain = 1 / np.log2(3) + 1 / np.log2(4)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found["ndcg@10"] == pytest.approx(gain / ideal)
    assert (found["precision@10"], found["hr@10"], found["mrr@10"]) == (0.2, 1.0, 0.5)
    assert found["recall@10"] == pytest.approx(2 / 3)


def test_more_targets_than_places_still_allow_a_perfect_list() -> None:
    found = accuracy(np.arange(10)[None], rows(list(range(50))))
    assert found["ndcg@10"] == pytest.approx(1.0)
    assert found["recall@10"] == pytest.approx(0.2)


def test_the_places_of_misses_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = rng.permutation(9)
        lists = np.insert(order, 4, 100)[None]
        assert accuracy(lists, rows([100]))["ndcg@10"] == pytest.approx(1 / np.log2(6))


def test_ties_count_against_the_system() -> None:
    scores = np.zeros((1, 50), np.float32)
    lists = best_lists(scores, np.zeros((1, 50), bool), rows([0]))
    assert accuracy(lists, rows([0]))["hr@10"] == 0.0
    scores[0, 0] = 1e-3
    assert best_lists(scores, np.zeros((1, 50), bool), rows([0]))[0, 0] == 0


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_a_miss(broken: float) -> None:
    scores = np.full((1, 20), 0.5, np.float32)
    scores[0, 3] = broken
    lists = best_lists(scores, np.zeros((1, 20), bool), rows([3]))
    assert 3 not in lists
    assert accuracy(lists, rows([3]))["ndcg@10"] == 0.0


def test_a_system_that_diverges_everywhere_recommends_nothing() -> None:
    lists = best_lists(np.full((2, 20), np.nan), np.zeros((2, 20), bool), rows([3], [4]))
    assert (lists == -1).all()


def test_what_is_forbidden_is_never_recommended_and_lists_are_best_first() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(30, 40)).astype(np.float32)
    forbidden = rng.random((30, 40)) < 0.5
    lists = best_lists(scores, forbidden, rows(*[[0]] * 30))
    for i, shown in enumerate(lists):
        used = shown[shown >= 0]
        assert not forbidden[i, used].any()
        expected = sorted(np.flatnonzero(~forbidden[i]), key=lambda column: -scores[i, column])[:10]
        assert used.tolist() == expected


def test_the_clustered_error_equals_the_double_sum_over_pairs_of_one_cluster() -> None:
    rng = np.random.default_rng(2)
    cluster = rng.integers(0, 12, 200)
    values = rng.normal(size=200) + cluster
    centred = values - values.mean()
    together = sum(centred[i] * centred[j] for i in range(200) for j in range(200) if cluster[i] == cluster[j])
    assert clustered_error(values, cluster) == pytest.approx(np.sqrt(together * 12 / 11) / 200)


def test_with_one_value_a_cluster_it_is_the_ordinary_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=50)
    assert clustered_error(values, np.arange(50)) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_the_clustered_error_agrees_with_resampling_whole_users() -> None:
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(80), rng.integers(1, 9, 80))
    values = rng.normal(size=80)[cluster] + rng.normal(size=len(cluster))
    members = [np.flatnonzero(cluster == code) for code in range(80)]
    means = []
    for _ in range(1500):
        drawn = np.concatenate([members[code] for code in rng.integers(0, 80, 80)])
        means.append(values[drawn].mean())
    assert clustered_error(values, cluster) == pytest.approx(np.std(means), rel=0.1)


def test_repeating_every_event_makes_nothing_surer() -> None:
    rng = np.random.default_rng(5)
    values, cluster = rng.normal(size=60), np.arange(60)
    assert clustered_error(np.tile(values, 4), np.tile(cluster, 4)) == pytest.approx(clustered_error(values, cluster))


def test_one_cluster_alone_has_no_error() -> None:
    assert np.isnan(clustered_error(np.ones(5), np.zeros(5)))


def test_a_paired_difference_knows_what_the_two_errors_do_not() -> None:
    rng = np.random.default_rng(6)
    theirs = rng.normal(size=400)
    ours = theirs + 0.1 + 0.01 * rng.normal(size=400)
    gap = paired_difference(ours, theirs, np.arange(400))
    assert gap.low < 0.1 < gap.high
    assert gap.se < clustered_error(ours, np.arange(400)) / 10
    same = paired_difference(ours, ours, np.arange(400))
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_relative_lift_is_the_ratio_of_means_and_its_interval_covers_it() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        theirs = rng.exponential(1.0, 150)
        ours = 1.25 * theirs + rng.normal(0, 0.3, 150)
        gap = relative_lift(ours, theirs, np.arange(150))
        assert gap.difference == pytest.approx(ours.mean() / theirs.mean() - 1)
        covered += gap.low < 0.25 < gap.high
    assert 180 <= covered <= 199


def test_coverage_novelty_and_diversity_by_hand() -> None:
    lists = np.array([[0, 1, -1], [0, 2, -1]])
    assert coverage(lists, 10) == 0.3
    share = np.array([0.5, 0.25, 0.125])
    assert novelty(lists, share) == pytest.approx((1 + 2 + 1 + 3) / 4)
    genres = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 0]], bool)
    assert intra_list_diversity(lists, genres) == pytest.approx(((1 - 1 / 3) + 0.0) / 2)


def test_titles_without_genres_say_nothing_of_diversity() -> None:
    genres = np.array([[1, 0], [0, 1], [0, 0]], bool)
    assert intra_list_diversity(np.array([[0, 1, 2]]), genres) == 1.0
    assert np.isnan(intra_list_diversity(np.array([[0, 2, -1]]), genres))


def test_a_list_with_the_genres_of_the_history_is_calibrated() -> None:
    genres = np.array([[1, 0], [0, 1], [1, 1]], bool)
    liked = genre_shares(rows([0, 1], [0]), genres)
    assert calibration(genre_shares(rows([2], [0]), genres), liked) == pytest.approx(0.0, abs=1e-9)
    only_first = calibration(genre_shares(rows([0], [0]), genres), liked)
    mixed = 0.99 * np.array([1.0, 0.0]) + 0.01 * np.array([0.5, 0.5])
    assert only_first == pytest.approx(0.5 * np.sum(0.5 * np.log(0.5 / mixed)))
