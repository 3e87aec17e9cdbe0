"""What the flows need of the experiment store. All methods raise StoreUnavailable without an answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.experiments.experiment import Experiment, Status
from core.experiments.metrics import Outcome


@dataclass(frozen=True, slots=True)
class Exposure:
    """A user was served by a variant."""

    experiment: str
    variant: str
    at: float


@dataclass(frozen=True, slots=True)
class Conversion:
    """A user did what an experiment wants. The id makes its repetition harmless."""

    conversion_id: str
    experiment: str
    metric: str
    value: float
    at: float


class Experiments(Protocol):
    """Experiments, exposures and conversions in Cloud SQL."""

    def create(self, experiment: Experiment) -> None:
        """Raises Conflict when the name is taken."""

    def get(self, name: str) -> Experiment:
        """Raises NotFound."""

    def all(self, status: Status | None = None) -> list[Experiment]:
        """The one created last first."""

    def move(
        self,
        before: Experiment,
        after: Experiment,
        check: Callable[[tuple[Experiment, ...]], None] | None = None,
    ) -> None:
        """Store another status, unless `check` refuses what is running: nobody starts anything meanwhile.

        Raises Conflict when it was not `before` any more, and what `check` raises.
        """

    def reweigh(self, name: str, weights: Mapping[str, float]) -> None:
        """New weights by variant, for the users that come."""

    def record(self, user_id: str, exposures: Sequence[Exposure], conversions: Sequence[Conversion]) -> int:
        """Keep what is new of an existing experiment and a user who is not erased; returns how many rows."""

    def outcomes(self, experiment: Experiment, metric: str, until: float = math.inf) -> list[Outcome]:
        """One per variant, in their order, as they were at `until`. A conversion belongs to the variant that the user
        saw last before it."""

    def forget(self, user_id: str) -> int:
        """Delete the user's exposures and conversions."""
