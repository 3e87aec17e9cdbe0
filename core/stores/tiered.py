"""User states and adapters in two tiers: copies in the hot store, the truth in the cold one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from core.errors import CorruptData, StoreUnavailable
from core.stores.protocols import NO_ADAPTER, Adapters, EventLog, HotStates, StoredAdapter, StoredState
from core.telemetry import count, logger

REFRESH_EVERY_S = 2.0  # how often one instance asks the cold store for marks
REFRESH_AT_ONCE = 100  # copies rewritten by one call, which rides on a request

log = logger("states")


class TieredStates:
    """Reads hot first and refills it from cold; a hot store that is away is named, counted and repaired afterwards.

    hot_form: bytes of an adapter in the cold store -> the smaller bytes of its copy, which is what readers get. That a
    user has no adapter is kept in the hot store too, so that a request of such a user asks no SQL either.
    """

    def __init__(
        self, hot: HotStates, cold: EventLog, adapters: Adapters, hot_form: Callable[[bytes], bytes] = bytes
    ) -> None:
        self._hot = hot
        self._cold = cold
        self._adapters = adapters
        self._hot_form = hot_form
        self._refreshing = threading.Lock()
        self._refreshed_at = float("-inf")
        self.hot_failures = 0

    def load_with_adapter(self, user_id: str) -> tuple[StoredState | None, StoredAdapter | None, tuple[str, ...]]:
        """The state and the adapter in its hot form (None: a user without one), and the names of stores that did not
        answer.

        An adapter that the cold store does not give is left out and the store named: an answer is better without it
        than not at all. Raises StoreUnavailable when the state is needed from there.
        """
        state, adapter, degraded = self._hot_copies(user_id)
        _count_read("states", state)
        _count_read("adapters", adapter)
        if state is None:
            state, degraded = self._cold_state(user_id, degraded)
        if adapter is None:
            adapter, degraded = self._cold_adapter(user_id, degraded)
        return state, (None if adapter == NO_ADAPTER else adapter), degraded

    def save_hot(self, user_id: str, state: StoredState) -> None:
        """Copy a state that the cold store has just committed; a copy that fails is marked there, to be made later.

        Raises StoreUnavailable when neither store answers.
        """
        try:
            self._hot.put(user_id, state)
        except StoreUnavailable as error:
            self._count(error)
            self._cold.mark_hot_stale(user_id)

    def save_hot_adapter(self, user_id: str, adapter: StoredAdapter) -> None:
        """Copy an adapter that the cold store has just committed; takes its blob as stored there.

        The commit has marked the copy as behind, and only a copy that was made takes the mark away: a store that does
        not answer, or a process that ends here, leaves it for `refresh_stale`.
        """
        try:
            self._copy_adapter(user_id, adapter)
        except StoreUnavailable as error:
            self._count(error)

    def erase_hot(self, user_id: str) -> None:
        """Delete the copies of a user whom the cold store has erased. Raises StoreUnavailable: then repeat it."""
        self._hot.erase(user_id)

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
            for user_id, adapter in self._adapters.stale_hot(limit - done):
                self._copy_adapter(user_id, adapter)
                done += 1
        except StoreUnavailable as error:
            self._count(error)
        return done

    def _copy_adapter(self, user_id: str, adapter: StoredAdapter) -> None:
        self._hot.put_adapter(user_id, self._small(adapter))
        self._adapters.clear_hot_stale(user_id, adapter.version)

    def _hot_copies(self, user_id: str) -> tuple[StoredState | None, StoredAdapter | None, tuple[str, ...]]:
        try:
            try:
                return *self._hot.get_with_adapter(user_id), ()
            except CorruptData as error:
                log.error("hot copies replaced", reason=str(error))
                self._hot.delete(user_id)  # a damaged header may claim a version that nothing would overwrite
                return None, None, ()
        except StoreUnavailable as error:
            self._count(error)
            return None, None, (error.store,)

    def _cold_state(self, user_id: str, degraded: tuple[str, ...]) -> tuple[StoredState | None, tuple[str, ...]]:
        """The state from the cold store, copied to the hot one unless that is `degraded`."""
        state = self._cold.load_state(user_id)
        if state is not None and not degraded:
            degraded = self._refill(lambda: self._hot.put(user_id, state))
        return state, degraded

    def _cold_adapter(self, user_id: str, degraded: tuple[str, ...]) -> tuple[StoredAdapter | None, tuple[str, ...]]:
        """The adapter from the cold store, or NO_ADAPTER, copied to the hot one unless that is `degraded`."""
        try:
            stored = self._adapters.load(user_id)
        except StoreUnavailable as error:
            self._count(error)
            return None, (*degraded, error.store)
        adapter = NO_ADAPTER if stored is None else self._small(stored)
        if not degraded:
            degraded = self._refill(lambda: self._hot.put_adapter(user_id, adapter))
        return adapter, degraded

    def _small(self, adapter: StoredAdapter) -> StoredAdapter:
        """The adapter in its hot form. Unreadable bytes stay as they are: their reader names what is wrong with them,
        and asking the cold store for them at every request would not mend them."""
        try:
            return replace(adapter, blob=self._hot_form(adapter.blob))
        except CorruptData as error:
            log.error("an adapter is unreadable in the cold store", reason=str(error))
            return adapter

    def _refill(self, put: Callable[[], bool]) -> tuple[str, ...]:
        try:
            put()
        except StoreUnavailable as error:
            self._count(error)
            return (error.store,)
        return ()

    def _count(self, error: StoreUnavailable) -> None:
        if error.store == "hot_store":
            self.hot_failures += 1
        log.warning("store did not answer", store=error.store, reason=str(error), hot_failures=self.hot_failures)


def _count_read(cache: str, copy: object | None) -> None:
    count("sona.cache", cache=cache, outcome="miss" if copy is None else "hit")
