"""Allocation by Thompson sampling: a variant gets users in proportion to the probability that it is the best one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.experiments.metrics import Outcome

DRAWS = 10_000  # standard error of a probability below .005
FLOOR = 0.05  # of an equal share's worth: no variant is ever lost, so a change in the world can still be found


def best_probabilities(outcomes: Sequence[Outcome], rng: np.random.Generator, draws: int = DRAWS) -> list[float]:
    """P(variant has the largest conversion rate), with a Beta(1, 1) prior on each (Thompson 1933)."""
    converted = np.array([outcome.converted for outcome in outcomes])
    users = np.array([outcome.users for outcome in outcomes])
    rates = rng.beta(1 + converted, 1 + users - converted, size=(draws, len(outcomes)))
    return [float(share) for share in np.bincount(rates.argmax(axis=1), minlength=len(outcomes)) / draws]


def allocation(outcomes: Sequence[Outcome], rng: np.random.Generator) -> list[float]:
    """Weights for the next users, summing to 1: the probabilities, none below FLOOR / number of variants."""
    floor = FLOOR / len(outcomes)
    raised = np.maximum(best_probabilities(outcomes, rng), floor)
    return [float(weight) for weight in raised / raised.sum()]
