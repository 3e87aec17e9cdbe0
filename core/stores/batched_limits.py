"""Rate limits with most of the counting done in the instance, so that a call does not cost a round trip."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import StoreUnavailable
from core.stores.protocols import RateLimits
from core.telemetry import logger

STEPS = 20  # shared counts per burst: so many instances can let through at most twice the burst, and usually do not
CALLERS = 20_000  # callers and routes remembered, the least recently seen go first
REST_S = 1.0  # after a failure nobody waits for the counter for so long

log = logger("limits")


@dataclass(slots=True)
class _Meter:
    uncounted: int = 0  # calls granted here that the shared counter has not heard of
    blocked_until: float = 0.0


class BatchedRateLimits:
    """RateLimits before another: every `burst / STEPS` calls of a caller are counted there at once, and a refusal is
    remembered until it ends. Without the shared counter everybody is let through, and `failing` says so."""

    def __init__(self, shared: RateLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._clock = clock
        self._meters: OrderedDict[tuple[str, str], _Meter] = OrderedDict()
        self._lock = threading.Lock()
        self._rest_until = float("-inf")
        self.failures = 0

    @property
    def failing(self) -> bool:
        """Whether the shared counter did not answer lately, so that nobody is refused."""
        return self._clock() < self._rest_until

    def take(self, caller: str, route: str, per_second: float, burst: int, calls: int) -> float:
        now = self._clock()
        with self._lock:
            meter = self._meter(caller, route)
            if now < meter.blocked_until:
                return meter.blocked_until - now
            meter.uncounted += calls
            if meter.uncounted < max(1, burst // STEPS):
                return 0.0
            due, meter.uncounted = min(meter.uncounted, burst), 0
        wait_s = self._count(caller, route, per_second, burst, due)
        if wait_s > 0:
            with self._lock:
                meter.uncounted += due - calls
                meter.blocked_until = now + wait_s
        return wait_s

    def _meter(self, caller: str, route: str) -> _Meter:
        meter = self._meters.setdefault((caller, route), _Meter())
        self._meters.move_to_end((caller, route))
        while len(self._meters) > CALLERS:
            self._meters.popitem(last=False)
        return meter

    def _count(self, caller: str, route: str, per_second: float, burst: int, calls: int) -> float:
        if self.failing:
            return 0.0
        try:
            return self._shared.take(caller, route, per_second, burst, calls)
        except StoreUnavailable as error:
            self.failures += 1
            self._rest_until = self._clock() + REST_S
            log.warning("calls are not limited", failures=self.failures, reason=str(error))
            return 0.0
