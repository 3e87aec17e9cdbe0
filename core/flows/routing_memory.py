"""The router of an instance, and what it has seen: counted here, added to the shared counters now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from core.errors import StoreUnavailable
from core.routing.counters import RouteCounters
from core.routing.model_choice import Model

FLUSH_S = 5.0  # at most so old are counts that only this instance knows, while requests come
PART = "routing_counters"


@dataclass(slots=True)
class RoutingMemory:
    """Counts of this instance wait in memory until a request finds them old enough; so do readers of shared ones.

    models: the configured table of model choice.
    """

    counters: RouteCounters
    models: tuple[Model, ...]
    max_age_s: float
    _waiting: Counter[str] = field(default_factory=Counter)
    _flushed_at: float = float("-inf")
    _shared: tuple[dict[str, float], float | None] = field(default_factory=lambda: ({}, None))
    _read_at: float = float("-inf")
    _failed: bool = False
    _lock: Lock = field(default_factory=Lock)

    def count(self, increments: Mapping[str, float], now: float) -> None:
        """Remember increments; whoever comes FLUSH_S after the last flush writes. A store that fails costs nothing."""
        with self._lock:
            for name, amount in increments.items():
                self._waiting[name] += amount  # type: ignore[assignment]
        if now - self._flushed_at >= FLUSH_S:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Write what waits. What could not be written goes on waiting: it is bounded by the number of names."""
        self._flushed_at = now
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        if not waiting:
            return
        try:
            self.counters.add(waiting, now)
        except StoreUnavailable:
            with self._lock:
                self._waiting.update(waiting)

    def learned(self, now: float, fresh: bool = False) -> tuple[dict[str, float], float | None, tuple[str, ...]]:
        """Shared sums with this instance's waiting ones, since when, and what is degraded. They are read when older
        than `max_age_s`, or at once when `fresh`."""
        if fresh or now - self._read_at >= self.max_age_s:
            try:
                self._shared, self._failed = self.counters.read(), False
            except StoreUnavailable:
                self._failed = True
            self._read_at = now
        counts, since = self._shared
        with self._lock:
            merged = {name: counts.get(name, 0.0) + self._waiting.get(name, 0.0) for name in {*counts, *self._waiting}}
        return merged, since, (PART,) if self._failed else ()
