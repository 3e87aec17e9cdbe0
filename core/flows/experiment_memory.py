"""The running experiments in an instance's memory, and what they mean for one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from core.config import RankingSettings
from core.errors import StoreUnavailable
from core.experiments.assign import assign_all
from core.experiments.experiment import Experiment, Status
from core.experiments.overrides import SEARCH_WEIGHT, overridden
from core.experiments.store import Experiments

NAME = "experiments"  # in `degraded`
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0  # after failures, twice as long each time: a store that is away costs little


def about_ranking(experiment: Experiment) -> bool:
    """Whether recommendations take part; one that varies nothing (an A/A test) is about them too."""
    return not experiment.touched or bool(experiment.touched - {SEARCH_WEIGHT})


def about_search(experiment: Experiment) -> bool:
    """Whether personalized search takes part."""
    return SEARCH_WEIGHT in experiment.touched


@dataclass(frozen=True, slots=True)
class Trial:
    """How one user is served: the settings, w of personalized search where a variant sets it, and experiment -> variant
    for the exposures."""

    settings: RankingSettings
    search_weight: float | None = None
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ExperimentMemory:
    """Reads the running experiments at most every `max_age_s`; a store that does not answer leaves the last ones."""

    store: Experiments
    max_age_s: float
    _running: tuple[Experiment, ...] = ()
    _read_at: float = -np.inf
    _failures: int = 0
    _lock: Lock = field(default_factory=Lock)

    def running(self, now: float) -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
        """The running experiments, and ("experiments",) when they could not be read anew."""
        # One thread refreshes, the others go on with what is there.
        if now - self._read_at > self._patience() and self._lock.acquire(blocking=False):
            try:
                self._refresh(now)
            finally:
                self._lock.release()
        return self._running, (NAME,) if self._failures else ()

    def trial(
        self,
        user_id: str,
        settings: RankingSettings,
        now: float,
        concerns: Callable[[Experiment], bool] = about_ranking,
    ) -> tuple[Trial, tuple[str, ...]]:
        """How to serve this user, and what is degraded. `concerns`: the experiments that the answer takes part in."""
        running, degraded = self.running(now)
        if not running:
            return Trial(settings), degraded
        variants = assign_all(filter(concerns, running), user_id)
        overrides = {name: value for variant in variants.values() for name, value in variant.overrides.items()}
        names = {experiment: variant.name for experiment, variant in variants.items()}
        return Trial(overridden(settings, overrides), overrides.get(SEARCH_WEIGHT), names), degraded

    def forget(self) -> None:
        """Read anew at the next request: for whoever has just changed an experiment."""
        self._read_at = -np.inf

    def _patience(self) -> float:
        if not self._failures:
            return self.max_age_s
        return float(min(FIRST_RETRY_S * 2.0 ** (self._failures - 1), LAST_RETRY_S))

    def _refresh(self, now: float) -> None:
        try:
            found = self.store.all(Status.RUNNING)
            self._running = tuple(sorted(found, key=lambda one: (one.started_at or 0.0, one.name)))
            self._failures = 0
        except StoreUnavailable:
            self._failures += 1
        self._read_at = now
