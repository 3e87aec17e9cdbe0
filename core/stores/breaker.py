"""A circuit breaker: a store that keeps failing is left alone for a while, so that nobody waits for its timeouts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from core.errors import Declined, StoreSilent, StoreUnavailable
from core.stores.deadline import remaining_s
from core.telemetry import logger

T = TypeVar("T")
THRESHOLD = 3  # failures in a row that open it; one that took the whole timeout does so alone
REST_S = 0.5  # while open, everybody is refused at once; then one call tries, and the others go on being refused
REST_PER_WAIT = 2.0  # a try that took long is repeated after so many times as long...
LONGEST_REST_S = 2.0  # ...up to this: so soon at least is a store that came back found

log = logger("breaker")


class Breaker:
    """Closed (calls pass), open (calls are refused), half-open (one call passes and decides)."""

    def __init__(
        self,
        store: str,
        threshold: int = THRESHOLD,
        rest_s: float = REST_S,
        clock: Callable[[], float] = time.monotonic,
        patient: bool = False,
    ) -> None:
        """patient: calls may outlast the request that makes them, because what they fetch is kept for all others."""
        self._store, self._threshold, self._rest_s, self._clock = store, threshold, rest_s, clock
        self._patient = patient
        self._lock = threading.Lock()
        self._failures = 0  # in a row
        self._open_until = float("-inf")
        self._trying = False

    def call(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """The result of `work`. Raises StoreUnavailable at once while open and when the request's time is up; what
        `work` raises otherwise.

        Only StoreUnavailable is a failure of the store, and not every one: bad input, conflicts and what it declined to
        do are answers.
        """
        if not self._patient and remaining_s() <= 0:
            raise StoreUnavailable(self._store, "the time of the request is up")
        self._enter()
        began = self._clock()
        try:
            result = work(*arguments, **named)
        except StoreUnavailable as error:
            if isinstance(error, Declined):
                self._answered()
            else:
                self._failed(isinstance(error, StoreSilent), self._clock() - began)
            raise
        except BaseException:
            self._answered()
            raise
        self._answered()
        return result

    def _enter(self) -> None:
        if self._failures < self._threshold:
            return
        with self._lock:
            if self._failures < self._threshold:
                return
            if self._trying or self._clock() < self._open_until:
                raise StoreUnavailable(self._store, "it has failed several times in a row")
            self._trying = True

    def _failed(self, silent: bool, took_s: float) -> None:
        with self._lock:
            was_open = self._failures >= self._threshold
            self._failures = max(self._failures + 1, self._threshold if silent else 0)
            self._trying = False
            if self._failures >= self._threshold:
                rest_s = max(self._rest_s, min(REST_PER_WAIT * took_s, LONGEST_REST_S))
                self._open_until = self._clock() + rest_s
            opened = self._failures >= self._threshold and not was_open
        if opened:
            log.warning("opened", store=self._store)

    def _answered(self) -> None:
        if self._failures:
            with self._lock:
                closed = self._failures >= self._threshold
                self._failures, self._trying = 0, False
            if closed:
                log.info("closed", store=self._store)


class Guarded:
    """An object whose methods are called through a breaker; `passing` ones are not, because they return before the
    store is asked."""

    def __init__(self, inner: Any, breaker: Breaker, passing: tuple[str, ...] = ()) -> None:
        self._inner, self._breaker, self._passing = inner, breaker, passing

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in self._passing or not callable(found):
            return found
        return lambda *arguments, **named: self._breaker.call(found, *arguments, **named)
