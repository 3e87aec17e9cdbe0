"""The story of an event: keep it, fold it into the user's state, tell the hot copy and the counters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.adaptation.trigger import Thresholds
from core.catalog import content_key
from core.errors import CorruptData, InvalidInput, StoreUnavailable
from core.flows.adapt import request_adaptation
from core.flows.live import successions, tell_transitions
from core.flows.outcomes import count_outcomes
from core.flows.replay import fold_each, rebuild, snapshot_in_hand, thresholds_of
from core.flows.services import Services
from core.interaction import Event, Interaction, InteractionType, signal_strength, to_record
from core.profile.codec import decode, encode
from core.profile.state import Fact, UserState
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import Appended, Due, EventLog, Fold, SequencedEvent, StoredState, Succession
from core.telemetry import count, exporting, logger

APPEND_AT_ONCE = 500  # events per transaction: bounds how long one user's row stays locked
DAY_S = 86_400.0

log = logger("ingest")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that can never be applied: why, and what arrived."""

    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What one Pub/Sub message held: events of one user, and what was no event."""

    message_id: str
    user_id: str
    events: tuple[Event, ...]
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingested:
    """`stored` events were new, `known` ones had come before (or belong to an erased user), the rest was rejected."""

    stored: int
    known: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Learning:
    """What the fold needs beside the events: the snapshot in whose space fast tiers learn (None: they stay as they
    are), and when an adaptation is to be asked for. `liked` collects what the fold sees people go on to, `firsts` their
    first likes of titles, by the place in the log at which each fold ends: one that is rolled back leaves a place that
    is never reached, or told anew."""

    snapshot: Snapshot | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    liked: dict[int, list[Succession]] = field(default_factory=dict)
    firsts: dict[int, list[SequencedEvent]] = field(default_factory=dict)


def ingest(services: Services, message: Message, now: float) -> Ingested:
    """Apply one message; delivering it again changes nothing. Raises StoreUnavailable: then deliver it again."""
    new: list[SequencedEvent] = []
    rejected = list(message.rejected)
    state: StoredState | None = None
    adaptation_due = False
    learning = Learning(snapshot_in_hand(services, now), thresholds_of(services.settings.adaptation))
    for events in _batches(message.events):
        for appended in _store(services.log, message.user_id, events, learning, rejected):
            new += appended.new
            state, adaptation_due = appended.state, appended.adaptation_due
    for item in rejected:
        services.log.reject(item.reason, item.payload, message.message_id, message.user_id)
    if state is not None:  # also for a duplicate: its first delivery may have died before it told the hot store
        services.states.save_hot(message.user_id, state)
        if adaptation_due:
            request_adaptation(services, message.user_id, state.seq)
    firsts = [like for item in new for like in learning.firsts.get(item.seq, ())]
    count_popularity(services, firsts, now, learning.snapshot)
    count_outcomes(services.outcomes, learning.snapshot, new, firsts, now)
    tell_transitions(services.transitions, [like for item in new for like in learning.liked.get(item.seq, ())])
    count_feedback(new)
    services.states.refresh_stale(now)
    total = len(message.events) + len(message.rejected)
    return Ingested(len(new), total - len(new) - len(rejected), len(rejected))


def _store(
    events_log: EventLog, user_id: str, events: Sequence[Event], learning: Learning, rejected: list[Rejected]
) -> Iterator[Appended]:
    """Append together, or one by one when the store refuses some: those go to `rejected`."""
    try:
        yield append(events_log, user_id, events, learning)
    except InvalidInput as error:
        if len(events) == 1:
            rejected.append(Rejected(str(error), json.dumps(to_record(events[0])).encode()))
            return
        for event in events:
            yield from _store(events_log, user_id, [event], learning, rejected)


def append(events_log: EventLog, user_id: str, events: Sequence[Event], learning: Learning | None = None) -> Appended:
    """Store the new ones of `events` together with the state they lead to; a corrupt state is rebuilt from the log."""
    learning = learning or Learning()
    try:
        return events_log.append(user_id, events, *fold_blob(user_id, learning))
    except CorruptData as error:
        log.error("user state rebuilt from the log", reason=str(error))
        stored = events_log.load_state(user_id)
        upto_seq = stored.seq if stored else 0
        rebuilt = rebuild(events_log, user_id, upto_seq, learning.snapshot, learning.thresholds)
        return events_log.append(user_id, events, *fold_blob(user_id, learning, rebuilt))


def fold_blob(user_id: str, learning: Learning, rebuilt: UserState | None = None) -> tuple[Fold, Due]:
    """Decode, fold, encode; and whether one of the events folded asked for an adaptation. `rebuilt` stands in for a
    state before that cannot be decoded."""
    asked = False

    def apply(before: StoredState | None, new: Sequence[SequencedEvent]) -> bytes:
        nonlocal asked
        state = rebuilt or (decode(user_id, before.blob) if before else UserState(user_id))
        if state.seq != (before.seq if before else 0):
            raise CorruptData("a user state does not match its place in the log")
        folded = fold_each(state, new, learning.snapshot, learning.thresholds)
        asked = folded.pending.asked_seq > state.seq
        learning.liked[folded.seq] = successions(learning.snapshot, state, folded, new)
        learning.firsts[folded.seq] = first_likes(state, new)
        return encode(folded)

    return apply, lambda blob: asked


def first_likes(before: UserState, new: Sequence[SequencedEvent]) -> list[SequencedEvent]:
    """Of the positive ones among `new` the first about each title that the user had done nothing with but skip: who
    comes back to a title, or is told of every minute of it, is no crowd."""
    first: dict[str, SequencedEvent] = {}
    for item in new:
        if isinstance(event := item.event, Interaction) and signal_strength(event) > 0:
            first.setdefault(event.content_id, item)
    if not first:
        return []
    history = before.history
    met = ((history["flags"] & ~np.uint32(Fact.SKIPPED)) != 0) | (history["progress"] > 0) | ~np.isnan(history["stars"])
    keys = np.concatenate([before.seen, history["key"][met]])
    known = np.isin(np.fromiter(map(content_key, first), np.uint64, len(first)), keys)
    return [item for item, is_known in zip(first.values(), known, strict=True) if not is_known]


def count_popularity(
    services: Services, firsts: Sequence[SequencedEvent], now: float, snapshot: Snapshot | None = None
) -> None:
    """Add viewers' first likes to the shared counters: best effort, lost counters are counted anew from the log.

    Only titles that exist are counted once there is a catalogue to ask: callers may name as many others as they like.
    """
    half_life_s = services.settings.ranking.popularity_half_life_days * DAY_S
    weights: dict[str, float] = {}
    for item in firsts:
        if isinstance(event := item.event, Interaction):
            age_s = max(now - event.occurred_at, 0.0)
            weights[event.content_id] = weights.get(event.content_id, 0.0) + 2.0 ** (-age_s / half_life_s)
    if not weights:
        return
    try:
        known = weights.keys() if snapshot is None else _existing(services, list(weights), snapshot)
        counted = {title: weight for title, weight in weights.items() if title in known}
        if not services.popularity.add(counted, now):
            services.trending.refill(now, patient=True)
    except StoreUnavailable as error:
        log.warning("popularity not counted", titles=len(weights), reason=str(error))


def _existing(services: Services, titles: Sequence[str], snapshot: Snapshot) -> set[str]:
    """Those that the snapshot has, or the catalogue since."""
    rows = snapshot.rows(np.fromiter(map(content_key, titles), np.uint64, len(titles)))
    unknown = [title for title, row in zip(titles, rows, strict=True) if row < 0]
    return set(titles) - set(unknown) | (services.catalog.exists(unknown) if unknown else set())


def count_feedback(new: Sequence[SequencedEvent]) -> None:
    """Count what was shown and what viewers made of it; `recommended` is whether they name the answer it was from."""
    for item in new if exporting() else ():
        if isinstance(event := item.event, Interaction):
            strength = signal_strength(event)
            liked = "positive" if strength > 0 else "negative" if strength < 0 else "neutral"
            signal = "shown" if event.type is InteractionType.IMPRESSION else liked
            count("sona.feedback", signal=signal, recommended="yes" if event.request_id else "no")


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for start in range(0, len(events), APPEND_AT_ONCE):
        yield events[start : start + APPEND_AT_ONCE]
