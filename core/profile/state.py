"""What the hot path needs of one user, folded from the user's events.

The fold keeps facts per title (how far watched, what was said, when), never weights or vectors: formulas and embedding
models may change without touching a user. Facts merge so that the order of arrival does not matter: the farthest
progress, the latest opinion, the latest time. Beside the facts stands the fast tier, which is weights and names its
space; core.profile.lesson makes it, and `fold` leaves it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from core.adaptation.fast_tier import FastTier
from core.adaptation.trigger import Thresholds, adaptation_due
from core.catalog import content_key
from core.interaction import MAX_STARS, Event, Interaction, InteractionType, Onboarding, signal_strength

HISTORY_LIMIT = 256  # titles with full facts; ranking decays to nothing long before (0.8^50 < 1e-4)
SEEN_LIMIT = 8192  # older titles remembered only as seen: 64 KB at most, a lifetime of viewing

ENTRY = np.dtype(
    [
        ("key", "u8"),  # core.catalog.content_key
        ("last_at", "f8"),  # latest event, Unix seconds
        ("opinion_at", "f8"),  # latest rating, like or dislike
        ("progress", "f4"),  # farthest share watched, 0..1
        ("stars", "f4"),  # latest opinion in stars 0..5, NaN where none was given
        ("flags", "u4"),
    ]
)


class Fact(IntFlag):
    """What a user has done to a title so far, as flags of its entry in the history."""

    CLICKED = 1
    STARTED = 2
    SKIPPED = 4
    REWATCHED = 8


TYPES = tuple(InteractionType)
_BEYOND_A_CLICK = ~np.uint32(Fact.CLICKED)
_LIKE_STARS = {InteractionType.LIKE: MAX_STARS, InteractionType.DISLIKE: 1.0}
_FLAGS = {
    InteractionType.SEARCH_CLICK: Fact.CLICKED,
    InteractionType.WATCH_START: Fact.STARTED,
    InteractionType.WATCH_PROGRESS: Fact.STARTED,
    InteractionType.WATCH_COMPLETE: Fact.STARTED,
    InteractionType.SKIP_CONTENT: Fact.SKIPPED,
}


def empty_history() -> NDArray:
    """(0,) entries of the dtype ENTRY."""
    return np.empty(0, ENTRY)


@dataclass(frozen=True, slots=True)
class Pending:
    """What has happened since an adaptation was last asked for.

    interactions: events but impressions; signal: sum of their absolute strengths; asked_at: when the event that asked
    happened (Unix seconds, None = never); asked_seq: its place in the log (0 = never). All of it follows from the log
    and the thresholds: whether an adaptation was asked for does not depend on how long the last one took.
    """

    interactions: int = 0
    signal: float = 0.0
    asked_at: float | None = None
    asked_seq: int = 0

    def after(self, seq: int, event: Interaction, thresholds: Thresholds | None) -> Pending:
        """With one more event; it asks for an adaptation, and counting starts anew, when the thresholds are met."""
        if event.type is InteractionType.IMPRESSION:
            return self
        interactions, signal = self.interactions + 1, self.signal + abs(signal_strength(event))
        if adaptation_due(interactions, signal, event.occurred_at, self.asked_at, thresholds):
            return Pending(0, 0.0, event.occurred_at, seq)
        return Pending(interactions, signal, self.asked_at, self.asked_seq)


@dataclass(frozen=True, slots=True)
class UserState:
    """One user. `history`: (n,) ENTRY, oldest first by `last_at`; `seen`: (m,) uint64 keys older than the history."""

    user_id: str
    seq: int = 0  # last event folded in; 0 = a new user
    history: NDArray = field(default_factory=empty_history)
    seen: NDArray = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: tuple[int, ...] = (0,) * len(TYPES)  # events by type, in the order of InteractionType
    onboarding: Onboarding | None = None
    pending: Pending = Pending()
    fast: FastTier | None = None  # None: nothing learned yet

    @property
    def interactions(self) -> int:
        """Events of the user but impressions, which are ours."""
        return sum(self.counts) - self.counts[TYPES.index(InteractionType.IMPRESSION)]

    def unlearned(self) -> UserState:
        """What remains when nothing learned may count: which titles were seen or begun, and what the user has said of
        themselves."""
        return replace(self, history=empty_history(), seen=self.seen_keys(), fast=None)

    def known(self) -> NDArray:
        """(n,) bool: what was watched, judged or dismissed; a mere click does not make a title known."""
        acted = (self.history["flags"] & _BEYOND_A_CLICK) != 0
        return np.asarray(acted | ~np.isnan(self.history["stars"]))

    def seen_keys(self) -> NDArray:
        """(k,) uint64: titles that were known before they left the history, then those of it."""
        return np.concatenate([self.seen, self.history["key"][self.known()]])


def fold(state: UserState, events: Iterable[tuple[int, Event]], thresholds: Thresholds | None = None) -> UserState:
    """The state after `events`, (seq, event) in ingest order; those at or before `state.seq` change nothing."""
    history, seen, counts = state.history.copy(), state.seen, list(state.counts)
    onboarding, seq, pending = state.onboarding, state.seq, state.pending
    for number, event in events:
        if number <= seq:
            continue
        seq = number
        if isinstance(event, Onboarding):
            if onboarding is None or event.occurred_at >= onboarding.occurred_at:
                onboarding = replace(event, user_id=state.user_id)
            continue
        counts[TYPES.index(event.type)] += 1
        pending = pending.after(seq, event, thresholds)
        if event.type is not InteractionType.IMPRESSION:
            history = _merge(history, event)
    history, seen = _bound(history, seen)
    return UserState(state.user_id, seq, history, seen, tuple(counts), onboarding, pending, state.fast)


def _merge(history: NDArray, event: Interaction) -> NDArray:
    """Merge one event into the entry of its title, keeping the history sorted by time."""
    key = np.uint64(content_key(event.content_id))
    found = np.flatnonzero(history["key"] == key)
    if len(found):
        entry = history[found[0]].copy()
        history = np.concatenate([history[: found[0]], history[found[0] + 1 :]])
    else:
        entry = np.array((key, -np.inf, -np.inf, 0.0, np.nan, 0), ENTRY)[()]
    entry["last_at"] = max(entry["last_at"], event.occurred_at)
    progress = 1.0 if event.type is InteractionType.WATCH_COMPLETE else event.progress
    entry["progress"] = max(entry["progress"], progress or 0.0)
    entry["flags"] |= _FLAGS.get(event.type, 0) | (Fact.REWATCHED if event.rewatch else 0)
    stars = event.rating if event.type is InteractionType.RATING_EXPLICIT else _LIKE_STARS.get(event.type)
    # At equal times the higher opinion stands, so that the order of arrival still does not matter.
    if stars is not None and (event.occurred_at, stars) > (entry["opinion_at"], _or_zero(entry["stars"])):
        entry["stars"], entry["opinion_at"] = stars, event.occurred_at
    place = int(np.searchsorted(history["last_at"], entry["last_at"], side="right"))
    merged = np.empty(len(history) + 1, ENTRY)  # as np.insert, which takes three times as long
    merged[:place], merged[place], merged[place + 1 :] = history[:place], entry, history[place:]
    return merged


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value


def _bound(history: NDArray, seen: NDArray) -> tuple[NDArray, NDArray]:
    """Move the oldest titles from the history to the bare list of seen ones."""
    surplus = len(history) - HISTORY_LIMIT
    if surplus <= 0:
        return history, seen
    old = UserState("", history=history[:surplus]).seen_keys()
    merged = np.concatenate([seen[~np.isin(seen, old)], old])
    return history[surplus:], merged[-SEEN_LIMIT:]
