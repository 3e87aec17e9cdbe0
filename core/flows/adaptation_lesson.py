"""Between the stores and the training: what one user's adaptation starts from, and what came out of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.adaptation import slow_tier
from core.adaptation.ewc import Ewc
from core.adaptation.examples import Evidence, Ground, Lesson, ground, lesson, stack
from core.adaptation.shift import change_point
from core.adaptation.slow_tier import ALPHA, SlowTier, carried_over, folded_in
from core.adaptation.space import Space
from core.adaptation.train import TrainingReport, TrainSettings, finish_taste, train_users
from core.config import AdaptationSettings
from core.errors import CorruptData
from core.flows.replay import rebuild, thresholds_of
from core.flows.services import Services
from core.numeric.vectors import Floats, is_finite, unit_rows
from core.profile.codec import decode
from core.profile.preference import preference_weights
from core.profile.state import UserState
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import StoredAdapter
from core.telemetry import logger

log = logger("adapt")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One user's adaptation before training. `tier` has the fast tier folded in and, after a shift of taste, the old
    taste remembered; lesson None: nothing to learn. metrics: what the preparation measured."""

    user_id: str
    stored: StoredAdapter | None
    from_seq: int
    upto_seq: int
    snapshot: str
    generation: str
    seed: int
    tier: SlowTier | None
    lesson: Lesson | None
    learned_at: float
    metrics: dict[str, float]
    interactions: int = 0  # of the user so far, impressions aside: what the learning rate falls with

    @property
    def liked(self) -> int:
        """Liked titles that were learned from or judged."""
        return self.lesson.liked + self.lesson.liked_held_back if self.lesson else 0


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What the training made of it: the tier to save if the report accepts it, and all measurements."""

    tier: SlowTier
    report: TrainingReport
    metrics: dict[str, float]


def prepare(services: Services, snapshot: Snapshot, user_id: str, stored: StoredAdapter | None) -> Prepared:
    """Read the truth about one user and lay it out for training."""
    return prepare_from(snapshot, true_state(services, user_id, snapshot), stored, services.settings.adaptation)


def prepare_from(
    snapshot: Snapshot, state: UserState, stored: StoredAdapter | None, settings: AdaptationSettings
) -> Prepared:
    """The pure part of `prepare`: deterministic given its arguments."""
    seed = zlib.crc32(f"{state.user_id}\0{state.seq}".encode())
    space = snapshot.space
    from_seq = stored.folded_upto_seq if stored else 0
    generation = space.generation if space else ""
    nothing = Prepared(
        state.user_id, stored, from_seq, state.seq, snapshot.version, generation, seed, None, None, -np.inf, {}
    )
    if space is None:
        return nothing
    return learn_from(nothing, ground(space), evidence_of(snapshot, state, settings.history), state, snapshot, settings)


def learn_from(
    prepared: Prepared,
    on: Ground,
    evidence: Evidence,
    state: UserState,
    snapshot: Snapshot,
    settings: AdaptationSettings,
) -> Prepared:
    """With the tier as training starts from it, and the lesson."""
    tier = read_tier(prepared.stored, on.space, settings)
    liked = evidence.weights > 0
    shifted_at = taste_shifted_at(on.space, evidence, liked & (evidence.times >= tier.task_from))
    if shifted_at is not None:
        finish_taste(tier.slow(on.space.A_slow), tier.ewc)
        tier = replace(tier, task_from=shifted_at)
    metrics = {"shift": float(shifted_at is not None), "tasks": float(tier.ewc.finished)}
    fast = state.fast
    if fast is not None and fast.useful and fast.generation == on.space.generation:
        tier, metrics["fold_lost"] = folded_in(tier, on.space, fast.B)
    learned = lesson(
        on, evidence, snapshot.popularity, tier.task_from, np.random.default_rng(prepared.seed),
        held_back=settings.held_back, replay=settings.replay, negatives=settings.negatives,
    )  # fmt: skip
    learned_at = float(evidence.times[liked].max(initial=-np.inf))
    return replace(
        prepared, tier=tier, lesson=learned, learned_at=learned_at, metrics=metrics, interactions=state.interactions
    )


def true_state(services: Services, user_id: str, snapshot: Snapshot | None = None) -> UserState:
    """The state in the cold store, or rebuilt from the log where that is damaged; an unknown user's is empty.

    snapshot: in whose space a fast tier is learned again.
    """
    stored = services.log.load_state(user_id)
    try:
        return decode(user_id, stored.blob) if stored else UserState(user_id)
    except CorruptData as error:
        log.error("user state rebuilt from the log", reason=str(error))
        thresholds = thresholds_of(services.settings.adaptation)
        return rebuild(services.log, user_id, stored.seq if stored else 0, snapshot, thresholds)


def evidence_of(snapshot: Snapshot, state: UserState, limit: int) -> Evidence:
    """The latest `limit` titles of the history that say something, an episode standing for its series."""
    history = state.history
    rows = snapshot.rows(history["key"])
    parents = snapshot.attributes["parent"][rows]
    rows = np.where((rows >= 0) & (parents >= 0), parents, rows)
    weights = preference_weights(history)
    usable = np.flatnonzero((rows >= 0) & (weights != 0))
    _, last = np.unique(rows[usable][::-1], return_index=True)  # of each title its latest mention
    kept = usable[np.sort(len(usable) - 1 - last)][-limit:]
    return Evidence(rows[kept], weights[kept], history["last_at"][kept])


def read_tier(stored: StoredAdapter | None, space: Space, settings: AdaptationSettings) -> SlowTier:
    """The stored tier in the space's generation; a new one, to be fitted from the log, where that cannot be had."""
    size = space.A_slow.size
    new = slow_tier.fresh(space, new_ewc(size, settings))
    if stored is None:
        return new
    try:
        tier = slow_tier.unpack(stored.blob, new_ewc(size, settings))
    except CorruptData as error:
        log.error("adapter fitted anew from the log", reason=str(error), version=stored.version)
        return new
    carried = carried_over(tier, space)
    if carried is None or carried.adapter.slow.shape != new.adapter.slow.shape:
        log.info("adapter fitted anew from the log", reason="no way from its generation", version=stored.version)
        return new
    return carried


def new_ewc(size: int, settings: AdaptationSettings) -> Ewc:
    """An empty memory over `size` weights."""
    return Ewc(size, settings.ewc_lambda, settings.ewc_gamma, max_tasks=settings.ewc_tasks)


def taste_shifted_at(space: Space, evidence: Evidence, task: NDArray[np.bool_]) -> float | None:
    """When (Unix seconds) the likes of the present task, a mask (n,), began to come from elsewhere in the space."""
    rows, times = evidence.rows[task], evidence.times[task]
    known = (space.targets[rows] != 0).any(axis=1)
    place = change_point(unit_rows(space.targets[rows[known]]))
    return None if place is None else float(times[known][place])


def train_together(
    space: Space | None, several: Sequence[Prepared], settings: AdaptationSettings
) -> list[Trained | None]:
    """Train all that have something to learn in the same matrix products; None for the others."""
    taught = [(one, one.tier, one.lesson) for one in several if one.tier is not None and one.lesson is not None]
    if space is None or not taught:
        return [None] * len(several)
    starts = np.stack([tier.adapter.slow for _, tier, _ in taught])
    quadratics = [tier.ewc.quadratic() for _, tier, _ in taught]
    stiffness, moment = (np.stack(part).reshape(starts.shape) for part in zip(*quadratics, strict=True))
    examples, held_back = (stack([getattr(each, name) for *_, each in taught]) for name in ("examples", "held_back"))
    seen = np.array([one.interactions for one, *_ in taught])
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is rolled back and logged as such
        trained = train_users(
            ground(space).A, ALPHA, starts, examples, held_back, stiffness, moment, seen,
            TrainSettings(passes=settings.passes, tolerance=settings.tolerance),
        )  # fmt: skip
    results = {
        id(one): finished(one, tier, each, trained.B[place], trained.fisher[place], trained.reports[place])
        for place, (one, tier, each) in enumerate(taught)
    }
    return [results.get(id(one)) for one in several]


def finished(
    prepared: Prepared, tier: SlowTier, learned: Lesson, B: Floats, fisher: Floats, report: TrainingReport
) -> Trained:
    """The trained tier, which remembers what an accepted update was needed for, and the measurements."""
    if report.accepted and is_finite(fisher):
        tier.ewc.observe_squared(fisher.ravel(), samples=len(learned.examples))
        adapter = replace(tier.adapter, slow=B, interactions=prepared.interactions)
        tier = replace(tier, adapter=adapter, learned_at=prepared.learned_at)
    elif report.accepted:
        report = replace(report, verdict="rolled_back")
    measured = {name: float(value) for name, value in asdict(report).items() if isinstance(value, float)}
    counts = {"liked": float(learned.liked), "liked_held_back": float(learned.liked_held_back)}
    return Trained(tier, report, {**prepared.metrics, **counts, **measured})
