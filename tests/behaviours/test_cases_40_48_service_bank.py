"""Behaviour cases 40-48 on the service's bank, whose patterns carry titles and circumstances. Case 47, that finding
counts as use, is by impressions here, off the hot path: tests/flows/test_patterns.py."""

from dataclasses import replace

import numpy as np
import pytest

from core.patterns.bank import DAY_S
from core.patterns.circumstances import counted
from core.patterns.known import KnownPattern, merged
from core.patterns.maintain import Rules, extract, fade_unused, merge_alike, prune
from core.patterns.session import Trajectory

E = np.eye(4, dtype=np.float32)
EVENING = counted({"time_of_day": "evening"})
NOW = 100 * DAY_S


def session(number: int, vector: np.ndarray, quality: float = 0.8) -> KnownPattern:
    unit = np.asarray(vector / np.linalg.norm(vector), np.float32)
    return KnownPattern(
        f"s-{number:04d}", "space", unit, {"a": 1.0}, EVENING, {"b": 1.0}, quality, quality, 1, NOW - DAY_S, NOW - DAY_S
    )


def known(name: str, vector: np.ndarray, quality: float = 0.8, size: int = 10, **fields: float) -> KnownPattern:
    return replace(session(0, vector, quality), pattern_id=name, size=size, **fields)  # type: ignore[arg-type]


def test_case_40_two_kinds_of_session_are_two_patterns() -> None:
    sessions = [session(n, E[n % 2], 0.8 - 0.1 * (n % 2)) for n in range(10)]
    found = sorted(extract(sessions, NOW, Rules(per_cluster=5)).put, key=lambda one: -one.quality)
    assert [(one.size, round(one.quality, 4)) for one in found] == [(5, 0.8), (5, 0.7)]
    assert np.allclose([one.embedding for one in found], E[:2])


def test_case_42_nine_near_identical_patterns_become_one() -> None:
    rng = np.random.default_rng(0)
    bank = [known(f"p{n}", E[0] + 0.001 * rng.standard_normal(4)) for n in range(9)]
    done = merge_alike(bank, Rules(merge_above=0.99))
    assert len(done.remove) == 8
    assert [one.size for one in done.put] == [90]


def test_case_43_merging_adds_up_and_averages() -> None:
    first = known("p", E[0], 0.8, usage_count=5, created_at=10.0, last_used=20.0)
    second = known("q", E[1], 0.9, usage_count=3, created_at=5.0, last_used=40.0)
    both = merged([first, second], "p")
    assert (both.size, both.usage_count, both.created_at, both.last_used) == (20, 8, 5.0, 40.0)
    assert np.allclose(both.embedding, [0.5, 0.5, 0, 0])
    assert both.quality == pytest.approx(0.85)
    assert both.context == {"time_of_day": {"evening": 2.0}}


def test_case_45_the_same_four_kinds_stay_four_patterns_over_five_nights() -> None:
    rng = np.random.default_rng(0)
    bank: dict[str, KnownPattern] = {}
    for cycle in range(5):
        fresh = [session(40 * cycle + n, E[n % 4] + 0.02 * rng.standard_normal(4)) for n in range(40)]
        done = extract([*bank.values(), *fresh], NOW, Rules())
        bank |= {one.pattern_id: one for one in done.put}
        done = merge_alike(list(bank.values()), Rules())
        bank = {name: one for name, one in bank.items() if name not in done.remove}
        bank |= {one.pattern_id: one for one in done.put}
        assert len(bank) == 4


def test_case_46_a_session_of_low_quality_is_no_pattern() -> None:
    clicked = {f"t{n}": 0.2 for n in range(9)}
    assert not Trajectory("s", "u", 0.0, 1.0, 9, {"a": 1.0}, {}, clicked).succeeded


def test_case_48_prune_merge_fade_and_boost() -> None:
    assert set(prune([known("p", E[0], 0.29), known("q", E[1], 0.3)], Rules()).remove) == {"p"}
    near = np.array([1.0, 0.2, 0, 0], np.float32)  # cosine .98
    assert dict(merge_alike([known("p", E[0], size=12), known("q", near)], Rules()).remove) == {"q": "p"}
    assert merge_alike([known("p", E[0]), known("q", np.array([1.0, 0.5, 0, 0]))], Rules()).remove == {}
    week_old = known("p", E[0], last_used=NOW - 7 * DAY_S)
    assert fade_unused([week_old], NOW).put == []
    [faded] = fade_unused([week_old], NOW + 10 * DAY_S).put
    assert faded.confidence == pytest.approx(0.8 * 0.95**10)
    assert fade_unused([faded], NOW + 10 * DAY_S).put == []
    assert known("p", E[0], 0.9, usage_count=1).boost == pytest.approx(0.9)
    assert known("p", E[0], 0.9, usage_count=8).boost == pytest.approx(0.9 * 1.3)
    assert known("p", E[0], 1.0, usage_count=2**60).boost == 2.0
