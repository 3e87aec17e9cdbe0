"""The story of an adapter as others see it: load it, apply it, teach it, look at it, take a version back, train it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.adaptation import codec, slow_tier
from core.adaptation.lora import delta
from core.adaptation.slow_tier import applied, carried_adapter
from core.errors import Conflict, CorruptData, NotFound, SonaError, StoreUnavailable
from core.flows.adapt import adapt, to_store
from core.flows.adaptation_lesson import new_ewc, true_state
from core.flows.services import Services
from core.flows.viewers import load_user
from core.numeric.vectors import Floats, require_finite
from core.profile.state import UserState
from core.stores.protocols import Adaptation, StoredAdapter
from core.telemetry import logger

STATS_ENTRIES = 20  # of the log of adaptations
BY_HAND = ("created", "rollback")  # verdicts of entries that no training made
NO_GENERATION_RETRY_S = 60  # train_base takes minutes

log = logger("adapters")


class TooFewEvents(SonaError):
    """A user must have done more before a training means anything."""

    def __init__(self, current: int, needed: int) -> None:
        super().__init__(f"training needs {needed} events, there are {current}")
        self.current = current


class TooSoon(SonaError):
    """The last training was a moment ago."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"trained less than the interval ago; again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Loaded:
    """weights: core.adaptation.codec bytes in the hot form; None for a user without an adapter. interactions: that
    they have learned from, impressions aside."""

    weights: bytes | None
    interactions: int
    updated_at: float | None
    is_new: bool


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """embeddings (n, d) after the adapters; magnitude: mean |change| / |embedding| over rows that are not zero."""

    embeddings: Floats
    magnitude: float
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stats:
    """Everything that is known of one user's adapter; current None: there is none. `tasks` and `fisher_mass` are
    EWC's; norm: |B| of the slow tier."""

    state: UserState
    current: StoredAdapter | None
    versions: tuple[int, ...]
    tasks: int
    fisher_mass: float
    norm: float
    hot_bytes: int
    entries: Sequence[Adaptation]


@dataclass(frozen=True, slots=True)
class Training:
    """status: training_completed, rolled_back, nothing_to_learn, or up_to_date when there was nothing new."""

    status: str
    duration_ms: float
    iterations: int
    events_used: int


def no_generation() -> StoreUnavailable:
    """Nothing can be adapted before train_base has made the first generation."""
    return StoreUnavailable("base_generation", "none has been trained yet", NO_GENERATION_RETRY_S)


def load_adapter(services: Services, user_id: str, create: bool, now: float) -> Loaded:
    """A user's adapter in the hot form. With `create`, one that changes nothing is stored for whoever has none.

    Raises StoreUnavailable when one must be created and no generation has been trained, CorruptData for a damaged one.
    """
    _, stored, degraded = services.states.load_with_adapter(user_id)
    if stored is None and degraded:
        raise StoreUnavailable(degraded[-1])
    if stored is not None:
        return Loaded(stored.blob, codec.decode(stored.blob).interactions, stored.updated_at, False)
    if not create:
        return Loaded(None, 0, None, False)
    return _create(services, user_id, now)


def _create(services: Services, user_id: str, now: float) -> Loaded:
    snapshot, _ = services.snapshot(now)
    space = snapshot.space
    if space is None:
        raise no_generation()
    adapter = to_store(slow_tier.fresh(space, new_ewc(space.A_slow.size, services.settings.adaptation)), 1, 0, now)
    entry = Adaptation(user_id, now, 0, 0, snapshot.version, space.generation, 0, "created", {})
    try:
        if not services.adapters.save(user_id, adapter, entry):
            return Loaded(None, 0, None, False)  # an erased user stays without
    except Conflict:  # somebody else created it at the same time
        return load_adapter(services, user_id, False, now)
    services.states.save_hot_adapter(user_id, adapter)
    return Loaded(codec.encode(codec.decode(adapter.blob)), 0, now, True)


def space_dims(services: Services, now: float) -> int:
    """d of the space that adapters act in. Raises StoreUnavailable without a generation."""
    space = services.snapshot(now)[0].space
    if space is None:
        raise no_generation()
    return int(space.A_slow.shape[1])


def adapt_embeddings(services: Services, user_id: str, embeddings: Floats, now: float) -> Applied:
    """Vectors of the generation's space (n, d) as this user's adapters change them: x + delta(x).

    Raises InvalidInput for another dimension or values that are not finite.
    """
    snapshot, degraded = services.snapshot(now)
    space = snapshot.space
    if space is None:
        raise no_generation()
    rows = require_finite(embeddings, "base_embeddings", (None, space.A_slow.shape[1]))
    state, adapter, missing = load_user(services, user_id)
    if adapter is not None and carried_adapter(adapter, space) is None:
        missing = (*missing, "adapter")  # of a generation that nothing leads here from: until it is fitted anew
    change = sum((delta(lora, rows) for lora in applied(space, adapter, state.fast).values()), np.zeros_like(rows))
    lengths = np.linalg.norm(rows, axis=1)
    shares = np.linalg.norm(change, axis=1)[lengths > 0] / lengths[lengths > 0]
    return Applied(rows + change, float(shares.mean()) if len(shares) else 0.0, (*degraded, *missing))


def adapter_stats(services: Services, user_id: str) -> Stats:
    """What the cold store has: the truth, with the training metrics of the latest adaptations."""
    versions = services.adapters.versions(user_id)
    current = versions[0] if versions else None
    tasks, mass, norm, hot_bytes = 0, 0.0, 0.0, 0
    if current is not None:
        try:
            tier = read_stored(services, current)
            tasks, mass, hot_bytes = tier.ewc.finished, tier.ewc.mass, len(codec.encode(tier.adapter))
            norm = float(np.linalg.norm(tier.adapter.slow))
        except CorruptData as error:
            log.error("an adapter is unreadable in the cold store", reason=str(error))
    entries = services.adapters.adaptations(user_id, STATS_ENTRIES)
    state = true_state(services, user_id)
    return Stats(state, current, tuple(each.version for each in versions), tasks, mass, norm, hot_bytes, entries)


def roll_back(services: Services, user_id: str, version: int | None, now: float) -> StoredAdapter:
    """Make an earlier version (the one before, unless told) the newest again, as a version of its own.

    What has been learned since is not learned again before new events come. Raises NotFound for a version that is not
    kept, Conflict when somebody else saved first.
    """
    versions = services.adapters.versions(user_id)
    earlier = versions[1:]
    chosen = next((each for each in earlier if version in (None, each.version)), None)
    if chosen is None:
        raise NotFound("there is no earlier version to go back to" if version is None else f"version {version}")
    newest = versions[0]
    restored = to_store(read_stored(services, chosen), newest.version + 1, newest.folded_upto_seq, now)
    entry = Adaptation(
        user_id, now, chosen.folded_upto_seq, newest.folded_upto_seq, "", chosen.generation, 0, "rollback",
        {"from_version": float(newest.version), "to_version": float(chosen.version)},
    )  # fmt: skip
    if not services.adapters.save(user_id, restored, entry):
        raise NotFound("this user has been erased")
    services.states.save_hot_adapter(user_id, restored)
    return restored


def read_stored(services: Services, stored: StoredAdapter) -> slow_tier.SlowTier:
    """A stored tier whatever its generation. Raises CorruptData."""
    size = codec.decode(stored.blob).slow.size
    return slow_tier.unpack(stored.blob, new_ewc(size, services.settings.adaptation))


def train(services: Services, user_id: str, force: bool, privileged: bool, now: float) -> Training:
    """Adapt one user now; with `force` even if nothing is new.

    Raises TooFewEvents, TooSoon (a service may train at any time), StoreUnavailable without a generation.
    """
    began = time.perf_counter()
    settings = services.settings.adaptation
    state = true_state(services, user_id)
    events = state.interactions
    if events < settings.min_events:
        raise TooFewEvents(events, settings.min_events)
    if services.snapshot(now)[0].space is None:
        raise no_generation()
    latest = services.adapters.adaptations(user_id, STATS_ENTRIES)
    trained_at = max((entry.at for entry in latest if entry.verdict not in BY_HAND), default=-np.inf)
    wait_s = trained_at + settings.interval_s - now
    if wait_s > 0 and not privileged:
        raise TooSoon(int(wait_s) + 1)
    done = adapt(services, user_id, state.seq, now, force)
    status = {"accepted": "training_completed", "known": "up_to_date"}.get(done.verdict, done.verdict)
    iterations = settings.passes if done.verdict in ("accepted", "rolled_back") else 0
    duration_ms = (time.perf_counter() - began) * 1000.0
    return Training(status, duration_ms, iterations, events if iterations else 0)
