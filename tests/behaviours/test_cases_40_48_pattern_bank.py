"""Behaviour cases 40-48: pattern bank. In 43 "weight" is left out: a pattern's weight is its size; "access" is its
usage count."""

import numpy as np
import pytest

from core.engine import SonaConfig, SonaEngine
from core.errors import InvalidInput
from core.numeric.vectors import cosine
from core.patterns.bank import DAY_S, PatternBank
from core.patterns.cluster import Pattern, boost, extract, merge

E = np.eye(4, dtype=np.float32)


def pattern(centroid, quality=0.8, size=10, **fields):
    vector = np.array(centroid, np.float32)
    return Pattern(
        vector, vector, quality, size, **{"created_at": 0.0, "last_used": 0.0, "confidence": quality, **fields}
    )


def two_clusters(min_quality=0.5):
    queries = np.concatenate([np.tile(E[0], (5, 1)), np.tile(E[1], (5, 1))])
    qualities = np.repeat([0.8, 0.7], 5).astype(np.float32)
    rng = np.random.default_rng(0)
    return extract(queries, queries, qualities, 2, min_quality, now=0.0, rng=rng, min_size=2)


def bank_of(patterns):
    bank = PatternBank(4)
    bank.upsert(patterns)
    return bank


def test_case_40_two_clusters_are_two_patterns():
    found = sorted(two_clusters(), key=lambda p: -p.quality)
    assert [(p.size, round(p.quality, 4)) for p in found] == [(5, 0.8), (5, 0.7)]
    assert np.allclose([p.centroid for p in found], E[:2])


def test_case_41_the_query_near_e1_finds_the_e1_pattern():
    (answer,) = bank_of(two_clusters()).find([[0.9, 0.1, 0, 0]], 1, now=0.0)
    assert len(answer) == 1
    assert np.allclose(answer[0].centroid, E[0])


def test_case_42_nine_near_identical_patterns_consolidate_to_one():
    rng = np.random.default_rng(0)
    bank = PatternBank(4)
    bank.patterns = [pattern(E[0] + 0.001 * rng.standard_normal(4)) for _ in range(9)]
    bank.consolidate(now=0.0, same_cosine=0.99)
    assert len(bank) == 1
    assert bank.patterns[0].size == 90


def test_case_43_merging_adds_up_and_averages():
    first = pattern(E[0], 0.8, usage_count=5, created_at=10.0, last_used=20.0)
    second = pattern(E[1], 0.9, usage_count=3, created_at=5.0, last_used=40.0)
    both = merge(first, second)
    assert both.size == 20
    assert np.allclose(both.centroid, [0.5, 0.5, 0, 0])
    assert both.quality == pytest.approx(0.85)
    assert (both.usage_count, both.created_at, both.last_used) == (8, 5.0, 40.0)


def test_case_44_similarity_is_one_to_itself_and_zero_to_an_orthogonal_one():
    assert cosine(E[0], E[0]) == pytest.approx(1)
    assert cosine(E[0], E[1]) == pytest.approx(0)
    with pytest.raises(InvalidInput):
        cosine(E[0], np.ones(5, np.float32))
    with pytest.raises(InvalidInput):
        bank_of(two_clusters()).find([[1, 0, 0]], 1, now=0.0)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_case_45_the_same_four_clusters_stay_four_patterns_over_five_cycles(noise):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 64)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    engine = SonaEngine(SonaConfig(embedding_dim=64, hidden_dim=64))
    counts = []
    for _ in range(5):
        for i in range(40):
            query = centres[i % 4] + np.float32(noise) * rng.standard_normal(64).astype(np.float32)
            engine.end_trajectory(engine.start_trajectory(query), 0.9)
        counts.append(engine.run_background_cycle().patterns)
    assert counts == [4] * 5


def test_case_46_a_quality_below_the_threshold_is_no_pattern():
    engine = SonaEngine(SonaConfig(embedding_dim=16, pattern_quality_threshold=0.95))
    for _ in range(20):
        engine.end_trajectory(engine.start_trajectory(np.ones(16)), 0.3)
    assert engine.run_background_cycle().patterns == 0
    assert engine.query_patterns(np.ones(16), 3) == []


def test_case_47_finding_counts_as_use():
    bank = bank_of([pattern(E[0]), pattern(E[1])])
    for now in (100.0, 200.0):
        (answer,) = bank.find([[1, 0.1, 0, 0]], 1, now)
    assert (answer[0].usage_count, answer[0].last_used) == (2, 200.0)
    unused = next(p for p in bank.patterns if np.allclose(p.centroid, E[1]))
    assert (unused.usage_count, unused.last_used) == (0, 0.0)


def test_case_48_prune_merge_fade_and_boost():
    bank = PatternBank(4)
    week, later = 7 * DAY_S, 60 * DAY_S
    near = [1.0, 0.2, 0, 0]  # cosine .98 to e1
    bank.patterns = [pattern(E[0]), pattern(near), pattern(E[2], quality=0.29), pattern(E[3], last_used=later)]
    bank.consolidate(now=week)
    assert sorted(p.size for p in bank.patterns) == [10, 20]  # merged above .95, pruned below .3, nothing faded yet
    bank.consolidate(now=later)
    assert [p.size for p in bank.patterns] == [10]  # unused for 60 days: faded below .3
    assert boost(0.9, 1) == pytest.approx(0.9)
    assert boost(0.9, 8) == pytest.approx(0.9 * 1.3)
