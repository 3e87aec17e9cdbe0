"""User states in two tiers: copies in the hot store, the truth in the cold one."""

from __future__ import annotations

import threading

from core.errors import CorruptData, StoreUnavailable
from core.stores.protocols import EventLog, HotStates, StoredState
from core.telemetry import logger

REFRESH_EVERY_S = 2.0  # how often one instance asks the cold store for marks
REFRESH_AT_ONCE = 100  # copies rewritten by one call, which rides on a request

log = logger("states")


class TieredStates:
    """Reads hot first and refills it from cold; a hot store that is away is named, counted and repaired afterwards."""

    def __init__(self, hot: HotStates, cold: EventLog) -> None:
        self._hot = hot
        self._cold = cold
        self._refreshing = threading.Lock()
        self._refreshed_at = float("-inf")
        self.hot_failures = 0

    def load(self, user_id: str) -> tuple[StoredState | None, tuple[str, ...]]:
        """The state (None: a user without one) and the names of stores that did not answer.

        Raises StoreUnavailable when the cold store is needed and does not answer.
        """
        degraded: tuple[str, ...] = ()
        try:
            state = self._hot.get(user_id)
        except CorruptData as error:
            log.error("hot copy replaced", reason=str(error))
            state = None
        except StoreUnavailable as error:
            self._count(error)
            state, degraded = None, (error.store,)
        if state is not None:
            return state, ()
        state = self._cold.load_state(user_id)
        if state is not None and not degraded:
            degraded = self._refill(user_id, state)
        return state, degraded

    def save_hot(self, user_id: str, state: StoredState) -> None:
        """Copy a state that the cold store has just committed; a copy that fails is marked there, to be made later.

        Raises StoreUnavailable when neither store answers.
        """
        try:
            self._hot.put(user_id, state)
        except StoreUnavailable as error:
            self._count(error)
            self._cold.mark_hot_stale(user_id)

    def refresh_stale(self, now: float, limit: int = REFRESH_AT_ONCE) -> int:
        """Make copies that failed before, at most every REFRESH_EVERY_S of `now` (Unix seconds); returns how many.

        Costs nothing in between, so that it can ride on requests. A store that does not answer ends it for this time.
        """
        if now - self._refreshed_at < REFRESH_EVERY_S or not self._refreshing.acquire(blocking=False):
            return 0
        try:
            self._refreshed_at = now
            return self._refresh(limit)
        finally:
            self._refreshing.release()

    def _refresh(self, limit: int) -> int:
        done = 0
        try:
            for user_id, state in self._cold.stale_hot(limit):
                self._hot.put(user_id, state)
                self._cold.clear_hot_stale(user_id, state.version)
                done += 1
        except StoreUnavailable as error:
            self._count(error)
        return done

    def _refill(self, user_id: str, state: StoredState) -> tuple[str, ...]:
        try:
            self._hot.put(user_id, state)
        except StoreUnavailable as error:
            self._count(error)
            return (error.store,)
        return ()

    def _count(self, error: StoreUnavailable) -> None:
        if error.store == "hot_store":
            self.hot_failures += 1
        log.warning("store did not answer", store=error.store, reason=str(error), hot_failures=self.hot_failures)
