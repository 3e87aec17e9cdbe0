"""The story of an experiment: planned, started, observed through the event topic, judged, ended."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from core.errors import Conflict, InvalidInput
from core.experiments.assign import assign, assign_all
from core.experiments.bandit import allocation, best_probabilities
from core.experiments.experiment import Allocation, Experiment, Status, check_independent, checked
from core.experiments.metrics import MISMATCH_P, Comparison, Outcome, compare, split_p_value, wilson
from core.experiments.store import Conversion
from core.flows.observations import conversion_record
from core.flows.services import Services
from core.telemetry import logger

log = logger("experiments")


@dataclass(frozen=True, slots=True)
class Reported:
    """One variant in a report: what happened, the rate's 95 % interval, the chance to be the best, and how it compares
    with the control (None: it is the control)."""

    outcome: Outcome
    weight: float
    rate_interval: tuple[float, float]
    best: float
    against_control: Comparison | None


@dataclass(frozen=True, slots=True)
class Report:
    """`split_p_value` below MISMATCH_P: users did not fall as asked for, so the figures say nothing (`mismatch`).
    decision: the variant that is better than the control, the best of them if several; control when every other one is
    worse; None while it is open."""

    experiment: Experiment
    metric: str
    variants: tuple[Reported, ...]
    split_p_value: float | None
    mismatch: bool
    decision: str | None


def create_experiment(services: Services, planned: Experiment, now: float) -> Experiment:
    """Store a draft. Raises InvalidInput for one that could not be judged, Conflict when the name is taken."""
    salt = planned.salt or secrets.token_hex(8)
    draft = checked(replace(planned, salt=salt, status=Status.DRAFT, created_at=now))
    services.experiments.create(draft)
    return draft


def move_experiment(services: Services, name: str, status: Status, now: float) -> Experiment:
    """Start, pause or complete. Raises NotFound, and Conflict for a step that is not allowed now."""
    before = services.experiments.get(name)
    after = before.moved_to(status, now)
    starting = status is Status.RUNNING
    services.experiments.move(before, after, partial(check_independent, after) if starting else None)
    services.experiment_memory.forget()
    return after


def assignments(services: Services, user_id: str, now: float) -> tuple[dict[str, str], tuple[str, ...]]:
    """Running experiment -> the user's variant, without exposing anybody; and what is degraded."""
    running, degraded = services.experiment_memory.running(now)
    return {name: variant.name for name, variant in assign_all(running, user_id).items()}, degraded


def convert(services: Services, user_id: str, conversion: Conversion) -> str | None:
    """Publish a conversion; returns the user's variant now, None for whoever does not take part.

    Raises NotFound for an unknown experiment, Conflict unless it is running, StoreUnavailable without the broker.
    """
    experiment = services.experiments.get(conversion.experiment)
    if experiment.status is not Status.RUNNING:
        raise Conflict(f"experiment {experiment.name} is {experiment.status}")
    data = {"user_id": user_id, "events": [], "conversions": [conversion_record(conversion)]}
    topic = services.settings.stores.interactions_topic
    services.publisher.publish(topic, user_id, json.dumps(data, allow_nan=False).encode(), {})
    variant = assign(experiment, user_id)
    return variant.name if variant else None


def report(services: Services, name: str, metric: str, rng: np.random.Generator) -> Report:
    """How the variants of an experiment do, or did until it was completed. `metric` "": the experiment's own. Raises
    NotFound."""
    experiment = services.experiments.get(name)
    chosen = metric or experiment.metric
    until = math.inf if experiment.stopped_at is None else experiment.stopped_at
    return judge(experiment, chosen, services.experiments.outcomes(experiment, chosen, until), rng)


def judge(experiment: Experiment, metric: str, outcomes: Sequence[Outcome], rng: np.random.Generator) -> Report:
    """The report on given outcomes, one per variant, the control first."""
    control, *treated = outcomes
    comparisons = [compare(control, one, len(treated)) for one in treated]
    best = best_probabilities(outcomes, rng)
    weights = [variant.weight for variant in experiment.variants]
    # A bandit's weights have changed while users came, so there is no one split to be expected.
    fixed = experiment.allocation is Allocation.FIXED
    p_value = split_p_value([one.users for one in outcomes], weights) if fixed else None
    mismatch = p_value is not None and p_value < MISMATCH_P
    rows = tuple(
        Reported(one, weight, wilson(one.converted, one.users), chance, against)
        for one, weight, chance, against in zip(outcomes, weights, best, [None, *comparisons], strict=True)
    )
    return Report(
        experiment, metric, rows, p_value, mismatch, None if mismatch else _decision(control.variant, comparisons)
    )


def _decision(control: str, comparisons: Sequence[Comparison]) -> str | None:
    better = [one for one in comparisons if one.verdict == "better"]
    if better:
        return max(better, key=lambda one: one.effect).variant
    return control if all(one.verdict == "worse" for one in comparisons) else None


@dataclass(frozen=True, slots=True)
class Look:
    """An experiment as it was at one time: users by variant, and the comparisons with the control."""

    at: float
    users: tuple[int, ...]
    comparisons: tuple[Comparison, ...]


LOOKS = 24  # that a report draws


def history(services: Services, name: str, metric: str, now: float) -> list[Look]:
    """LOOKS evenly from the start of an experiment until its end or `now`; none before it has begun.

    The intervals hold at all of them together, which is what a fixed interval would not. Raises NotFound.
    """
    experiment = services.experiments.get(name)
    if experiment.started_at is None:
        return []
    end, looks = experiment.stopped_at or now, []
    for step in range(1, LOOKS + 1):
        at = experiment.started_at + (end - experiment.started_at) * step / LOOKS
        control, *treated = services.experiments.outcomes(experiment, metric or experiment.metric, at)
        comparisons = tuple(compare(control, one, len(treated)) for one in treated)
        looks.append(Look(at, tuple(one.users for one in (control, *treated)), comparisons))
    return looks


def rebalance_all(services: Services, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Rebalance every running bandit; experiment -> new weights. One that somebody stops meanwhile is left out."""
    done: dict[str, dict[str, float]] = {}
    for experiment in services.experiments.all(Status.RUNNING):
        if experiment.allocation is Allocation.BANDIT:
            try:
                done[experiment.name] = rebalance(services, experiment.name, rng)
            except Conflict as error:
                log.info("not rebalanced", reason=str(error))
    return done


def rebalance(services: Services, name: str, rng: np.random.Generator) -> dict[str, float]:
    """Give a bandit's variants their new shares of the users. Raises NotFound; InvalidInput for fixed weights."""
    experiment = services.experiments.get(name)
    if experiment.allocation is not Allocation.BANDIT:
        raise InvalidInput(f"experiment {name} has fixed weights")
    if experiment.status is not Status.RUNNING:
        raise Conflict(f"experiment {name} is {experiment.status}")
    shares = allocation(services.experiments.outcomes(experiment, experiment.metric), rng)
    weights = {variant.name: share for variant, share in zip(experiment.variants, shares, strict=True)}
    services.experiments.reweigh(name, weights)
    services.experiment_memory.forget()
    return weights
