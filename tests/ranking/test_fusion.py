"""Fusing several rankings into one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.candidates.gather import Ranking
from core.ranking.fusion import PRESETS, fuse_rrf, fuse_scores


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
