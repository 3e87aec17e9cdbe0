"""The shared online popularity, cached per instance and laid over the snapshot's rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from core.catalog import content_key
from core.errors import Declined, StoreUnavailable
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import EventLog, PopularityCounters

REFILL_HALF_LIVES = 10  # older events weigh less than 1/1024
# Whoever failed to refill, the next one tries after so long. In a request's time: soon, the log may be back by then.
# With all the time there is: seldom, for then the log is too long to be counted.
HURRIED_AGAIN_S, PATIENT_AGAIN_S = 5.0, 30.0
RETRY_S = 1.0  # after a failure: a store that came back is found soon, one that is down is not asked by every request


@dataclass(slots=True)
class Trending:
    """Reads the counters at most every `max_age_s`; lost ones are counted anew from the event log."""

    counters: PopularityCounters
    log: EventLog
    half_life_s: float
    max_age_s: float
    _counts: dict[str, float] = field(default_factory=dict)
    _read_at: float = -np.inf
    _failed: bool = False
    _laid_out: tuple[int, NDArray] | None = None
    _lock: Lock = field(default_factory=Lock)

    def counts(self, snapshot: Snapshot, now: float) -> tuple[NDArray, tuple[str, ...]]:
        """(n,) decayed counts in snapshot rows, and what is degraded: a failing store leaves the last counts in use."""
        max_age_s = min(self.max_age_s, RETRY_S) if self._failed else self.max_age_s
        # One thread refreshes, the others go on with what is there.
        if now - self._read_at > max_age_s and self._lock.acquire(blocking=False):
            try:
                self._refresh(now)
            finally:
                self._lock.release()
        laid_out = self._laid_out
        if laid_out is None or laid_out[0] != id(snapshot):
            laid_out = (id(snapshot), lay_out(self._counts, snapshot))
            self._laid_out = laid_out
        return laid_out[1], ("popularity",) if self._failed else ()

    def _refresh(self, now: float) -> None:
        try:
            self._counts, self._failed = self.counters.read(now) or self.refill(now), False
        except StoreUnavailable:
            self._failed = True
        self._read_at, self._laid_out = now, None

    def refill(self, now: float, patient: bool = False) -> dict[str, float]:
        """As `refilled`, from the log."""
        since = now - REFILL_HALF_LIVES * self.half_life_s
        return refilled(self.counters, lambda: self.log.popularity(since, self.half_life_s, now), now, patient)


def refilled(
    counters: PopularityCounters, count: Callable[[], dict[str, float]], now: float, patient: bool
) -> dict[str, float]:
    """Lost counters as `count` finds them, also for everybody else.

    Raises StoreUnavailable; Declined while somebody else counts, or has just failed to.
    """
    if not counters.claim(patient, PATIENT_AGAIN_S if patient else HURRIED_AGAIN_S):
        raise Declined("hot_store", "lost counters are being counted anew")
    counts = count()
    counters.replace(counts, now)
    return counts


def lay_out(counts: dict[str, float], snapshot: Snapshot) -> NDArray:
    """(n,) float32, read-only: counts by content id, in snapshot rows; unknown titles are left out. An episode counts
    for itself and for its series."""
    laid_out = np.zeros(len(snapshot.keys), np.float32)
    keys = np.fromiter((content_key(content_id) for content_id in counts), np.uint64, len(counts))
    rows = snapshot.rows(keys)
    known = rows >= 0
    rows, values = rows[known], np.fromiter(counts.values(), np.float32, len(counts))[known]
    laid_out[rows] = values
    parents = snapshot.attributes["parent"][rows]
    np.add.at(laid_out, parents[parents >= 0], values[parents >= 0])
    laid_out.flags.writeable = False
    return laid_out
