"""What became of what was shown: counted as events arrive, cached per instance, laid over the snapshot's rows.

The bandits' posteriors (core.candidates.arms, core.candidates.exploration). The truth is the event log; the shared
counters are refilled from it when they are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from core.candidates.arms import LIKED, SHOWN, Outcomes, lay_out
from core.candidates.exploration import counters_of
from core.errors import StoreUnavailable
from core.flows.trending import refilled
from core.interaction import Interaction, InteractionType
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import EventLog, PopularityCounters, SequencedEvent
from core.telemetry import logger

HALF_LIFE_S = 14 * 86_400.0  # of an outcome: a season's new titles, long enough to see them often
REFILL_HALF_LIVES = 2  # the log is read this far back, impressions are most of it

log = logger("outcomes")


@dataclass(slots=True)
class OutcomeMemory:
    """Reads the counters at most every `max_age_s`. A failure leaves the last ones in use and is not named in answers:
    the posterior of old outcomes, or the prior, serves as well for a while."""

    counters: PopularityCounters
    events: EventLog
    max_age_s: float
    _counts: dict[str, float] = field(default_factory=dict)
    _read_at: float = -np.inf
    _laid_out: tuple[int, Outcomes] | None = None
    _lock: Lock = field(default_factory=Lock)

    def outcomes(self, snapshot: Snapshot, now: float) -> Outcomes | None:
        """The outcomes in snapshot rows; None while there are none."""
        # One thread refreshes, the others go on with what is there.
        if now - self._read_at > self.max_age_s and self._lock.acquire(blocking=False):
            try:
                self._refresh(snapshot, now)
            finally:
                self._lock.release()
        if not self._counts:
            return None
        laid_out = self._laid_out
        if laid_out is None or laid_out[0] != id(snapshot):
            laid_out = (id(snapshot), lay_out(self._counts, snapshot))
            self._laid_out = laid_out
        return laid_out[1]

    def _refresh(self, snapshot: Snapshot, now: float) -> None:
        try:
            self._counts = self.counters.read(now) or self.refill(snapshot, now)
        except StoreUnavailable as error:
            log.warning("outcomes not read", reason=str(error))
        self._read_at, self._laid_out = now, None

    def refill(self, snapshot: Snapshot, now: float, patient: bool = False) -> dict[str, float]:
        """Lost counters counted anew, as core.flows.trending.refilled does."""

        def count() -> dict[str, float]:
            shown, liked = self.events.outcomes(now - REFILL_HALF_LIVES * HALF_LIFE_S, HALF_LIFE_S, now)
            return counters_of(snapshot, {SHOWN: shown, LIKED: liked})

        return refilled(self.counters, count, now, patient)


def _tells(outcome: str, event: Interaction) -> bool:
    if outcome == LIKED:
        return event.request_id is not None
    return event.type is InteractionType.IMPRESSION and event.strategy is not None


def count_outcomes(
    memory: OutcomeMemory,
    snapshot: Snapshot | None,
    new: Sequence[SequencedEvent],
    firsts: Sequence[SequencedEvent],
    now: float,
) -> None:
    """Add what new events say about answers: what was shown, and what was liked of it, by each viewer once (`firsts`).

    Only our own impressions count, which name a strategy as no viewer may. Best effort: the log has it.
    """
    if snapshot is None:
        return
    weights: dict[str, dict[str, float]] = {SHOWN: {}, LIKED: {}}
    told = [(SHOWN, item.event) for item in new] + [(LIKED, item.event) for item in firsts]
    for outcome, event in told:
        if isinstance(event, Interaction) and _tells(outcome, event):
            kind = weights[outcome]
            age_s = max(now - event.occurred_at, 0.0)
            kind[event.content_id] = kind.get(event.content_id, 0.0) + 2.0 ** (-age_s / HALF_LIFE_S)
    try:
        if not memory.counters.add(counters_of(snapshot, weights), now):
            memory.refill(snapshot, now, patient=True)
    except StoreUnavailable as error:
        log.warning("outcomes not counted", reason=str(error))
