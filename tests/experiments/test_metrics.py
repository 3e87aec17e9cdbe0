"""When a difference between variants is one: intervals, the always-valid test, the split, the bandit."""

import numpy as np
import pytest
from scipy import stats

from core.experiments.bandit import allocation, best_probabilities
from core.experiments.metrics import Outcome, compare, half_width, log_ratio, split_p_value, wilson

LOOKS = 40
USERS_PER_LOOK = 50


def outcome(values: np.ndarray, name: str = "v") -> Outcome:
    return Outcome(name, len(values), int(np.count_nonzero(values)), float(values.sum()), float(values @ values))


def verdicts(rng: np.random.Generator, lift: float) -> tuple[bool, bool]:
    """One experiment looked at LOOKS times: whether ours ever decides, and whether a 95 % interval of one look does."""
    control = rng.binomial(1, 0.3, LOOKS * USERS_PER_LOOK).astype(float)
    treated = rng.binomial(1, 0.3 + lift, LOOKS * USERS_PER_LOOK).astype(float)
    ours = fixed = False
    for look in range(1, LOOKS + 1):
        n = look * USERS_PER_LOOK
        a, b = outcome(control[:n]), outcome(treated[:n])
        ours |= compare(a, b).verdict != "undecided"
        fixed |= abs(b.mean - a.mean) > 1.96 * np.sqrt((a.variance + b.variance) / n)
    return ours, fixed


def test_equal_variants_looked_at_forty_times_are_rarely_found_different() -> None:
    rng = np.random.default_rng(1)
    found = np.mean([verdicts(rng, 0.0) for _ in range(400)], axis=0)
    assert found[0] <= 0.05
    assert found[1] > 0.2  # what one would get from a fixed interval


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(2)
    assert np.mean([verdicts(rng, 0.08)[0] for _ in range(60)]) > 0.9


def test_a_difference_has_its_direction() -> None:
    low, high = np.repeat([1.0, 0.0], [200, 800]), np.repeat([1.0, 0.0], [400, 600])
    better = compare(outcome(low), outcome(high))
    assert (better.verdict, better.effect, better.relative) == ("better", pytest.approx(0.2), pytest.approx(1.0))
    assert 0 < better.low < 0.2 < better.high
    assert better.p_value < 0.001
    assert compare(outcome(high), outcome(low)).verdict == "worse"


def test_few_users_decide_nothing() -> None:
    small = compare(outcome(np.zeros(99)), outcome(np.ones(99)))
    assert (small.verdict, small.p_value) == ("undecided", 1.0)


def test_the_interval_ends_where_the_test_would_reject() -> None:
    variance, tau_2, alpha = 0.003, 0.01, 0.05
    assert log_ratio(half_width(variance, tau_2, alpha), variance, tau_2) == pytest.approx(np.log(1 / alpha))


def test_several_comparisons_are_each_stricter() -> None:
    a, b = outcome(np.repeat([1.0, 0.0], [300, 700])), outcome(np.repeat([1.0, 0.0], [360, 640]))
    one, four = compare(a, b, 1), compare(a, b, 4)
    assert four.high - four.low > one.high - one.low
    assert four.p_value == pytest.approx(min(1.0, 4 * one.p_value))


def test_mean_and_variance_are_those_of_the_values() -> None:
    values = np.random.default_rng(0).exponential(3.0, 500)
    found = outcome(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.variance == pytest.approx(values.var(ddof=1))


def test_wilson_agrees_with_the_reference() -> None:
    for successes, trials in ((0, 10), (4, 5), (50, 1000), (10, 10)):
        reference = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_split_that_was_not_asked_for_is_noticed() -> None:
    assert split_p_value([500, 500], [1, 1]) == 1.0
    assert split_p_value([5000, 5400], [1, 1]) < 0.001
    assert split_p_value([90, 110], [1, 1]) == pytest.approx(stats.chisquare([90, 110]).pvalue)
    assert split_p_value([800, 200], [0.8, 0.2]) == 1.0
    assert split_p_value([0, 0], [1, 1]) == 1.0


def test_the_bandit_favours_what_does_well_and_gives_up_nothing() -> None:
    rng = np.random.default_rng(3)
    good, bad = Outcome("good", 1000, 400, 400, 400), Outcome("bad", 1000, 200, 200, 200)
    assert best_probabilities([good, bad], rng)[0] > 0.999
    weights = allocation([good, bad, bad], rng)
    assert sum(weights) == pytest.approx(1.0)
    assert weights[0] > 0.9
    assert min(weights) > 0.01


def test_without_evidence_the_bandit_treats_all_alike() -> None:
    nothing = [Outcome(name, 0, 0, 0.0, 0.0) for name in "abc"]
    assert best_probabilities(nothing, np.random.default_rng(4)) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_over_rounds_the_bandit_loses_less_than_equal_shares() -> None:
    rng = np.random.default_rng(5)
    rates, counts, won = np.array([0.1, 0.12, 0.2]), np.zeros(3, int), np.zeros(3, int)
    for _ in range(40):
        weights = allocation([Outcome("", n, w, w, w) for n, w in zip(counts, won, strict=True)], rng)
        arrived = rng.multinomial(50, weights)
        counts, won = counts + arrived, won + rng.binomial(arrived, rates)
    assert counts[2] > 0.6 * counts.sum()
