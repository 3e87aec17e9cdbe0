"""Whether variants differ: effects with confidence intervals that hold however often somebody looks.

The unit is the user: every user counts once, with the sum of their values, because a user's events are not independent.
Decisions come from the mixture sequential probability ratio test (Robbins 1970; Johari, Koomen, Pekelis & Walsh 2022,
"Always Valid Inference"): with estimate d of variance V and a normal mixing distribution N(0, tau^2),

    Lambda = sqrt(V / (V + tau^2)) exp(tau^2 d^2 / (2 V (V + tau^2)))

is a nonnegative martingale under "no difference", so by Ville's inequality P(ever Lambda >= 1/alpha) <= alpha. A fixed
95 % interval, looked at daily, would find a difference between equal variants several times as often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %
MIN_USERS = 100  # per variant, before a decision: the test's normal approximation needs them
MISMATCH_P = 0.001  # below, the split of users is not the one that was asked for, and nothing else can be trusted


@dataclass(frozen=True, slots=True)
class Outcome:
    """One variant: users exposed, of them converted; sum and sum of squares of the users' values."""

    variant: str
    users: int
    converted: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Per user, conversions or not; 0 without users."""
        return self.total / self.users if self.users else 0.0

    @property
    def variance(self) -> float:
        """Of the users' values, unbiased."""
        if self.users < 2:
            return 0.0
        return max(self.squares - self.users * self.mean**2, 0.0) / (self.users - 1)

    @property
    def rate(self) -> float:
        """Share of users who converted; 0 without users."""
        return self.converted / self.users if self.users else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant against the control. effect: difference of the means per user; low and high: its always-valid interval;
    p_value: always valid too; verdict: better, worse or undecided."""

    variant: str
    effect: float
    low: float
    high: float
    relative: float | None  # effect / the control's mean
    p_value: float
    verdict: str


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Interval of a rate at one look (Wilson 1927)."""
    if not trials:
        return 0.0, 1.0
    rate, spread = successes / trials, z * z / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def compare(control: Outcome, treated: Outcome, comparisons: int = 1, alpha: float = 0.05) -> Comparison:
    """`treated` against `control`. With several comparisons each gets its share of alpha (Bonferroni)."""
    effect = treated.mean - control.mean
    relative = effect / control.mean if control.mean else None
    few = min(control.users, treated.users) < MIN_USERS
    variance = control.variance / max(control.users, 1) + treated.variance / max(treated.users, 1)
    if few or variance <= 0:
        return Comparison(treated.variant, effect, -math.inf, math.inf, relative, 1.0, "undecided")
    tau_2 = mixing_variance(control, treated)
    half = half_width(variance, tau_2, alpha / comparisons)
    p_value = min(1.0, comparisons * math.exp(-log_ratio(effect, variance, tau_2)))
    verdict = "better" if effect - half > 0 else "worse" if effect + half < 0 else "undecided"
    return Comparison(treated.variant, effect, effect - half, effect + half, relative, p_value, verdict)


def mixing_variance(control: Outcome, treated: Outcome) -> float:
    """tau^2: the test is quickest for effects of this size. A fifth of a standard deviation is what experiments of this
    kind look for; any value is valid, and it must not follow the estimate, so it follows the pooled spread alone."""
    pooled = (control.variance + treated.variance) / 2
    return 0.04 * pooled


def log_ratio(effect: float, variance: float, tau_2: float) -> float:
    """ln Lambda, see the module."""
    both = variance + tau_2
    return 0.5 * math.log(variance / both) + tau_2 * effect**2 / (2 * variance * both)


def half_width(variance: float, tau_2: float, alpha: float) -> float:
    """Half of the always-valid interval: the effects whose Lambda stays below 1 / alpha."""
    both = variance + tau_2
    return math.sqrt(variance * both / tau_2 * (2 * math.log(1 / alpha) + math.log(both / variance)))


def split_p_value(users: Sequence[int], weights: Sequence[float]) -> float:
    """Chance of a split at least as uneven if users fall by `weights` (Pearson's chi-squared test); 1 without users."""
    from scipy.special import gammaincc

    n, total = sum(users), sum(weights)
    if not n:
        return 1.0
    expected = [n * weight / total for weight in weights]
    statistic = sum((found - wanted) ** 2 / wanted for found, wanted in zip(users, expected, strict=True))
    return float(gammaincc((len(users) - 1) / 2, statistic / 2))
