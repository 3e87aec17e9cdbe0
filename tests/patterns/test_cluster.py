"""Patterns: the data decide their number, the gate keeps bad ones out, merging loses nothing, upserting twice adds
nothing."""

import numpy as np
import pytest

from core.errors import InvalidInput
from core.numeric.vectors import unit, unit_rows
from core.patterns.bank import DAY_S, PatternBank, fade
from core.patterns.cluster import Pattern, boost, combine, extract, merge


def trajectories(rng, clusters=4, per_cluster=25, noise=0.02, dim=64, quality=0.9):
    centres = np.random.default_rng(99).standard_normal((clusters, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = np.repeat(centres, per_cluster, axis=0) + noise * rng.standard_normal((clusters * per_cluster, dim))
    queries = rows.astype(np.float32)
    return queries, unit_rows(queries), np.full(len(rows), quality, np.float32)


def pattern(centroid, size=10, quality=0.8, **fields):
    vector = np.array(centroid, np.float32)
    defaults = {"created_at": 0.0, "last_used": 0.0, "confidence": quality}
    return Pattern(vector, vector, quality, size, **{**defaults, **fields})


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("k", [4, 16, 32])
def test_four_kinds_of_query_are_four_patterns_whatever_k_allows(noise, k):
    rng = np.random.default_rng(0)
    bank = PatternBank(64)
    for _ in range(5):
        bank.upsert(extract(*trajectories(rng, noise=noise), clusters=k, min_quality=0.7, now=0.0, rng=rng))
    assert len(bank) == 4
    assert sum(p.size for p in bank.patterns) == 5 * 100


def test_centroids_are_the_means_of_the_unit_queries():
    rng = np.random.default_rng(1)
    queries, actions, qualities = trajectories(rng, clusters=1)
    (found,) = extract(queries, actions, qualities, 8, 0.7, 0.0, rng)
    assert np.allclose(found.centroid, unit_rows(queries).mean(axis=0), atol=1e-5)
    spread = ((unit_rows(queries) - found.centroid) ** 2).sum()
    assert found.scatter == pytest.approx(spread, rel=1e-3)


def test_unrelated_queries_do_not_collapse_into_one_pattern():
    rng = np.random.default_rng(2)
    queries = rng.standard_normal((100, 128)).astype(np.float32)
    found = extract(queries, queries, np.full(100, 0.9, np.float32), 32, 0.7, 0.0, rng)
    assert len(found) > 10


def test_the_quality_gate_keeps_equal_and_drops_lower():
    rng = np.random.default_rng(3)
    queries, actions, _ = trajectories(rng, clusters=2)
    qualities = np.repeat([0.7, 0.6], 25).astype(np.float32)
    assert [round(p.quality, 3) for p in extract(queries, actions, qualities, 2, 0.7, 0.0, rng)] == [0.7]


def test_zero_queries_have_no_direction_and_are_left_out():
    zeros = np.zeros((5, 8), np.float32)
    assert extract(zeros, zeros, np.ones(5, np.float32), 3, 0.5, 0.0, np.random.default_rng(0)) == []


def test_merging_in_any_order_gives_the_same_pattern():
    rng = np.random.default_rng(4)
    parts = [pattern(rng.standard_normal(6), size=s, quality=q) for s, q in ((3, 0.9), (5, 0.5), (2, 0.7))]
    left = merge(merge(parts[0], parts[1]), parts[2])
    right = merge(parts[0], merge(parts[2], parts[1]))
    assert np.allclose(left.centroid, right.centroid, atol=1e-6)
    assert left.quality == pytest.approx(right.quality)
    assert left.size == right.size == 10


def test_similar_but_distinct_tight_clusters_stay_apart():
    first = unit(np.array([1.0, 0.0, 0.0], np.float32))
    second = unit(np.array([1.0, 0.5, 0.0], np.float32))  # cosine .89
    assert len(combine([pattern(first), pattern(second)])) == 2
    assert len(combine([pattern(first), pattern(second)], same_cosine=0.85)) == 1


def test_search_is_by_cosine_best_first_for_every_row():
    bank = PatternBank(3)
    bank.upsert([pattern([1, 0, 0]), pattern([0, 1, 0]), pattern([0.6, 0.6, 0])])
    answers = bank.find([[1, 0.2, 0], [0, 2, 0]], 2, now=5.0)
    assert np.allclose(answers[0][0].centroid, [1, 0, 0])
    assert np.allclose(answers[1][0].centroid, [0, 1, 0])
    assert answers[0][0].similarity == pytest.approx(1 / np.sqrt(1.04), rel=1e-5)
    assert answers[0][0].similarity > answers[0][1].similarity


@pytest.mark.parametrize(("query", "k"), [([[1, 2]], 1), ([[1, 2, np.nan]], 1), ([[1, 2, 3]], 0)])
def test_bad_searches_are_refused(query, k):
    with pytest.raises(InvalidInput):
        PatternBank(3).find(query, k, now=0.0)


def test_a_full_bank_keeps_the_most_confident():
    bank = PatternBank(8, capacity=3)
    bank.upsert(pattern(row, quality=q) for row, q in zip(np.eye(8)[:5], (0.9, 0.1, 0.8, 0.2, 0.7), strict=True))
    assert sorted(p.quality for p in bank.patterns) == [0.7, 0.8, 0.9]


def test_fading_depends_on_the_times_only():
    old = pattern([1, 0], quality=0.8)
    assert fade(old, 6.9 * DAY_S).confidence == pytest.approx(0.8)
    once = fade(old, 17 * DAY_S)
    assert once.confidence == pytest.approx(0.8 * 0.95**10)
    assert fade(once, 17 * DAY_S).confidence == once.confidence


def test_boost_grows_with_the_logarithm_of_use_and_is_bounded():
    assert boost(0.8, 0) == boost(0.8, 1) == pytest.approx(0.8)
    assert boost(0.8, 4) == pytest.approx(0.96)
    assert boost(1.0, 2**60) == 2.0
