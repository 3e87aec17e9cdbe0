"""Fusing several rankings into one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.candidates.gather import Ranking
from core.ranking.fusion import PRESETS, Fused, fuse_logs, fuse_rrf, fuse_scores, standing


def ranking(*rows: int) -> Ranking:
    return Ranking(np.array(rows), np.linspace(1.0, 0.1, len(rows)) if rows else np.empty(0))


def test_reciprocal_rank_fusion_by_hand() -> None:
    fused = fuse_rrf({"a": ranking(7, 3), "b": ranking(3, 9)}, {"a": 0.6, "b": 0.4}, k=60)
    expected = {7: 0.6 / 61, 3: 0.6 / 62 + 0.4 / 61, 9: 0.4 / 62}
    assert fused.rows.tolist() == [3, 7, 9]
    assert dict(zip(fused.rows.tolist(), fused.scores, strict=True)) == pytest.approx(expected)


def test_score_fusion_keeps_distances_that_ranks_throw_away() -> None:
    close = {
        "a": Ranking(np.array([1, 2]), np.array([1.0, 0.99])),
        "b": Ranking(np.array([2, 1]), np.array([1.0, 0.5])),
    }
    assert fuse_scores(close, {"a": 0.5, "b": 0.5}).rows[0] == 2
    assert fuse_rrf(close, {"a": 0.5, "b": 0.5}).scores[0] == fuse_rrf(close, {"a": 0.5, "b": 0.5}).scores[1]


rankings = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.integers(0, 30), unique=True, max_size=12).map(lambda rows: ranking(*rows)),
    min_size=1,
)


@given(rankings, st.sampled_from([fuse_rrf, fuse_scores]))
def test_parts_sum_to_the_score_and_rows_are_unique_and_sorted(given_rankings: dict, fuse: object) -> None:
    weights = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    fused = fuse(given_rankings, weights)  # type: ignore[operator]
    if len(fused.rows) == 0:
        return
    np.testing.assert_allclose(fused.parts.sum(axis=0), fused.scores)
    assert (np.diff(fused.scores) <= 1e-12).all()
    assert set(fused.rows.tolist()) == {row for r in given_rankings.values() for row in r.rows.tolist()}
    assert len(set(fused.rows.tolist())) == len(fused.rows)


def test_a_strategy_without_weight_has_no_say() -> None:
    fused = fuse_rrf({"a": ranking(1), "b": ranking(2)}, {"a": 1.0, "b": 0.0})
    assert fused.rows.tolist() == [1]


def test_no_candidates_fuse_to_nothing() -> None:
    assert len(fuse_rrf({"a": ranking()}, {"a": 1.0}).rows) == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_weights_sum_to_one_and_none_is_negative(preset: str) -> None:  # behaviour 89
    assert sum(PRESETS[preset].values()) == pytest.approx(1.0, abs=1e-4)
    assert min(PRESETS[preset].values()) >= 0


positive = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=30).map(np.array)


@given(positive, st.floats(1e-3, 1e3))
def test_a_standing_keeps_the_order_ends_at_one_and_ignores_the_scale(scores: np.ndarray, scale: float) -> None:
    stands = standing(scores)
    assert (stands >= 0).all()
    assert stands.max() == pytest.approx(1.0 if scores.max() > 1e-30 else stands.max(), abs=1e-5)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(stands[order]) >= 0).all()
    if scores.max() > 1e-30:
        assert standing(scores * scale) == pytest.approx(stands, abs=1e-4)


def test_no_evidence_and_evidence_against_stand_at_zero() -> None:
    assert standing(np.array([-2.0, 0.0, 1.0])).tolist() == pytest.approx([0.0, 0.0, 1.0])
    assert standing(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_little_stays_little_where_scores_say_how_much_there_is() -> None:
    little, plenty = np.array([0.02, 0.01, 0.0]), np.array([2.0, 1.0, 0.0])
    assert standing(little)[0] == pytest.approx(1.0)
    assert standing(little, full=1.0)[0] == pytest.approx(np.log1p(0.02 / 0.03) / np.log1p(1 / 0.03))
    np.testing.assert_array_equal(standing(plenty, full=1.0), standing(plenty))
    fused = fuse_logs({"a": little, "b": little[::-1]}, {"a": 1.0, "b": 1.0}, {}, np.ones(3, bool), 3, {"a": 1.0})
    assert fused.rows[0] == 2  # what b says weighs more


def test_one_infinite_score_does_not_silence_a_signal() -> None:
    assert standing(np.array([np.inf, np.nan, 1.0, 0.5])).tolist()[:3] == pytest.approx([0.0, 0.0, 1.0])


EVERYTHING = np.ones(6, bool)


def test_small_evidence_from_two_sides_beats_the_largest_from_one() -> None:
    """As sums of scores the first title would win; as log-odds the one that both signals know does."""
    signals = {"a": np.array([1.0, 0.4, 0, 0, 0, 0]), "b": np.array([0, 0.4, 1.0, 0, 0, 0])}
    fused = fuse_logs(signals, {"a": 1.0, "b": 1.0}, {}, EVERYTHING, 6)
    assert fused.rows[0] == 1


def test_signals_of_one_strategy_are_one_part_and_parts_sum_to_the_score() -> None:
    signals = {"x": np.arange(6.0), "y": np.arange(6.0)[::-1], "z": np.ones(6)}
    fused = fuse_logs(signals, {"x": 3.0, "y": 1.0, "z": 0.5}, {"x": "both", "y": "both"}, EVERYTHING, 4)
    assert fused.names == ("both", "z")
    assert len(fused.rows) == 4
    np.testing.assert_allclose(fused.parts.sum(axis=0), fused.scores)
    assert (np.diff(fused.scores) <= 0).all()
    assert fused.scores.max() <= 4.5


def test_only_allowed_titles_are_fused_and_forbidden_ones_still_set_the_scale() -> None:
    allowed = np.array([False, True, True, False, True, True])
    signals = {"a": np.array([8.0, 4, 2, 1, 0.5, 0.25])}
    fused = fuse_logs(signals, {"a": 1.0}, {}, allowed, 6)
    assert fused.rows.tolist() == [1, 2, 4, 5]
    assert fused.scores[0] < 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.05, 1.0))
def test_rough_logarithms_rule_out_nobody_who_is_among_the_best(seed: int, k: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    signals = {name: rng.gamma(0.3, 1.0, 3000) * (rng.random(3000) < density) for name in "abcd"}
    weights = dict(zip("abcd", rng.uniform(0.1, 8.0, 4), strict=True))
    allowed = rng.random(3000) < 0.9
    total = np.sum([standing(signals[name], weights[name]) for name in "abcd"], axis=0) * allowed
    best = np.sort(total[total > 0])[::-1][:k]
    fused = fuse_logs(signals, weights, {}, allowed, k)
    np.testing.assert_allclose(fused.scores, best, rtol=1e-5)
    np.testing.assert_allclose(total[fused.rows], best, rtol=1e-5)


def test_bent_scores_are_in_their_new_order_and_the_bend_is_one_more_part() -> None:
    fused = Fused(np.array([7, 8, 9]), np.array([3.0, 2.0, 1.0]), np.array([[3.0, 2.0, 1.0]]), ("a",), log_odds=True)
    bent = fused.bent(np.array([-2.5, 0.5]), "b")
    assert bent.rows.tolist() == [8, 7]
    assert bent.scores.tolist() == [2.5, 0.5]
    assert bent.parts.tolist() == [[2.0, 3.0], [0.5, -2.5]]
    assert bent.names == ("a", "b")


def test_log_odds_are_bent_by_adding_and_other_scores_by_multiplying() -> None:
    rows, scores = np.arange(3), np.array([4.0, 2.0, 0.1])
    odds, plain = (Fused(rows, scores, scores[None], ("a",), log_odds=kind) for kind in (True, False))
    change = np.array([0.3, -0.3, -0.3])
    assert odds.gains(change).tolist() == pytest.approx([0.3, -0.3, -0.1]), "no score falls below zero"
    assert plain.gains(change).tolist() == pytest.approx([1.2, -0.6, -0.03])


def test_nothing_with_a_weight_fuses_to_nothing() -> None:
    assert len(fuse_logs({"a": np.ones(3)}, {"a": 0.0}, {}, np.ones(3, bool), 3).rows) == 0
