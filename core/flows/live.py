"""What people go on to since the snapshot: told as they come to like titles, read by every instance.

Best effort on both sides: the truth is the event log, from which the next snapshot learns the same. A lost stream is
an empty one, and a store that does not answer leaves what was read before in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from core.candidates.live import STEPS, LiveTransitions
from core.errors import StoreUnavailable
from core.interaction import Interaction, signal_strength
from core.profile.preference import preference_weights
from core.profile.state import UserState
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import SequencedEvent, Succession, Transitions
from core.telemetry import logger

LIKED = 0.5  # preference from which snapshots count a title as liked: 3.5 stars, or five eighths watched
READ_AT_ONCE = 1000  # what a request may wait for; the next one reads on
CLOCKS_S = 600.0  # clocks of the job and of the store differ by less

log = logger("live")


@dataclass(slots=True)
class LiveMemory:
    """Reads on at most every `max_age_s`, from the time of the snapshot; a new snapshot begins anew."""

    store: Transitions
    max_age_s: float
    _version: str = ""
    _transitions: LiveTransitions = field(default_factory=LiveTransitions)
    _place: str | float = 0.0
    _read_at: float = -np.inf
    _lock: Lock = field(default_factory=Lock)

    def transitions(self, snapshot: Snapshot, now: float) -> LiveTransitions | None:
        """What is known beyond the snapshot; None while that is nothing."""
        due = now - self._read_at > self.max_age_s or self._version != snapshot.version
        # One thread reads, the others go on with what is there.
        if due and self._lock.acquire(blocking=False):
            try:
                self._read_on(snapshot, now)
            finally:
                self._lock.release()
        known = self._transitions
        return known if self._version == snapshot.version and len(known) else None

    def _read_on(self, snapshot: Snapshot, now: float) -> None:
        if self._version != snapshot.version:
            self._transitions, self._place = LiveTransitions(), snapshot.created_at - CLOCKS_S
            self._version = snapshot.version
        try:
            found, self._place = self.store.read(self._place, READ_AT_ONCE)
        except StoreUnavailable as error:
            log.warning("live transitions not read", reason=str(error))
            self._read_at = now
            return
        _lay_out(self._transitions, found, snapshot)
        self._read_at = now if len(found) < READ_AT_ONCE else -np.inf


def _lay_out(transitions: LiveTransitions, found: Sequence[Succession], snapshot: Snapshot) -> None:
    """Add what happened since the snapshot, in its rows, an episode standing for its series."""
    for one in found:
        if one.at < snapshot.created_at:
            continue
        rows = snapshot.rows(np.array([*one.earlier, one.key], np.uint64))
        rows = rows[rows >= 0] if rows[-1] >= 0 else rows[:0]
        parents = snapshot.attributes["parent"][rows]
        rows = np.where(parents >= 0, parents, rows)
        if len(rows) > 1:
            transitions.add(rows[:-1].tolist(), int(rows[-1]))


def tell_transitions(store: Transitions, successions: Sequence[Succession]) -> None:
    """Add them for all instances. Best effort."""
    try:
        store.add(successions)
    except StoreUnavailable as error:
        log.warning("live transitions not told", reason=str(error))


def successions(
    snapshot: Snapshot | None, before: UserState, after: UserState, new: Sequence[SequencedEvent]
) -> list[Succession]:
    """The titles that `new` made liked, each with the liked ones just before it. Only what the snapshot has counts:
    nothing else can be recommended from it, and callers may name as many other titles as they like."""
    if snapshot is None or not any(_favourable(item, snapshot) for item in new):
        return []
    already, liked = (state.history[preference_weights(state.history) >= LIKED] for state in (before, after))
    liked = liked[snapshot.rows(liked["key"]) >= 0]
    fresh = ~np.isin(liked["key"], already["key"]) & (liked["last_at"] >= snapshot.created_at)
    return [
        Succession(tuple(liked["key"][max(place - STEPS, 0) : place].tolist()), int(liked["key"][place]), at)
        for place, at in zip(np.flatnonzero(fresh).tolist(), liked["last_at"][fresh].tolist(), strict=True)
        if place
    ]


def _favourable(item: SequencedEvent, snapshot: Snapshot) -> bool:
    """Whether an event may make a title liked that the snapshot cannot know to be."""
    event = item.event
    return isinstance(event, Interaction) and event.occurred_at >= snapshot.created_at and signal_strength(event) > 0
