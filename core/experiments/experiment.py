"""An experiment and its variants: the nouns, and what makes them valid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from core.errors import Conflict, InvalidInput
from core.experiments.overrides import check_overrides

MAX_VARIANTS = 10
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")  # in keys, logs and reports, so nothing that needs quoting


class Status(StrEnum):
    """Where an experiment stands; a completed one stays so."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"  # nobody is assigned; starting again gives everybody the same variant as before
    COMPLETED = "completed"


class Allocation(StrEnum):
    """What decides about the variants' weights."""

    FIXED = "fixed"  # the weights as they were given
    BANDIT = "bandit"  # weights follow the probability of being best (Thompson 1933), from report to report


# Status -> what may follow.
_NEXT = {
    Status.DRAFT: {Status.RUNNING, Status.COMPLETED},
    Status.RUNNING: {Status.PAUSED, Status.COMPLETED},
    Status.PAUSED: {Status.RUNNING, Status.COMPLETED},
    Status.COMPLETED: set(),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to serve. `overrides`: setting -> value, see core.experiments.overrides; none is the present way."""

    name: str
    weight: float = 1.0
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experiment:
    """The first variant is the control. `salt` decides who sees what, so another salt shuffles everybody anew.

    traffic: share of users who take part. metric: what is compared: an interaction type, counted from the event log
    from a user's first exposure on, or the name under which conversions are reported.
    """

    name: str
    variants: tuple[Variant, ...]
    metric: str = "watch_complete"
    traffic: float = 1.0
    salt: str = ""
    allocation: Allocation = Allocation.FIXED
    status: Status = Status.DRAFT
    description: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    stopped_at: float | None = None

    @property
    def control(self) -> Variant:
        """The variant that the others are compared with."""
        return self.variants[0]

    @property
    def touched(self) -> frozenset[str]:
        """Settings that its variants change."""
        return frozenset(name for variant in self.variants for name in variant.overrides)

    def moved_to(self, status: Status, now: float) -> Experiment:
        """The experiment in its next status. Raises Conflict for a step that is not allowed."""
        if status not in _NEXT[self.status]:
            raise Conflict(f"experiment {self.name} is {self.status} and cannot become {status}")
        started = now if self.started_at is None and status is Status.RUNNING else self.started_at
        stopped = now if status is Status.COMPLETED else None
        return replace(self, status=status, started_at=started, stopped_at=stopped)


def checked(experiment: Experiment) -> Experiment:
    """The experiment itself. Raises InvalidInput for one that could not be run or judged."""
    names = [variant.name for variant in experiment.variants]
    if not 2 <= len(names) <= MAX_VARIANTS:
        raise InvalidInput(f"an experiment needs 2 to {MAX_VARIANTS} variants")
    for name in (experiment.name, *names):
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is no name: lower-case letters, digits, dots, dashes and underscores")
    if len(set(names)) < len(names):
        raise InvalidInput("two variants have the same name")
    if not 0.0 < experiment.traffic <= 1.0:
        raise InvalidInput("traffic must be above 0 and at most 1")
    weights = [variant.weight for variant in experiment.variants]
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise InvalidInput("the weight of a variant must be a number above 0")
    for variant in experiment.variants:
        check_overrides(variant.overrides)
    return experiment


def check_independent(experiment: Experiment, running: tuple[Experiment, ...]) -> None:
    """Raises Conflict when another running experiment changes the same settings: neither could then be judged."""
    for other in running:
        if other.name != experiment.name and (shared := other.touched & experiment.touched):
            raise Conflict(f"experiment {other.name} already varies {', '.join(sorted(shared))}")
