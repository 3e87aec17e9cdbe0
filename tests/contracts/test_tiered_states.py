"""TieredStates over both real stores: a lost hot store is refilled, an absent one is named, nothing older wins."""

from collections.abc import Iterator

import pytest
import redis

from core.config import StoreSettings
from core.errors import StoreUnavailable
from core.interaction import Interaction, InteractionType
from core.local.postgres_server import PostgresServer
from core.local.valkey_server import ValkeyServer
from core.stores.postgres.adapters import PostgresAdapters
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.protocols import StoredState
from core.stores.tiered import REFRESH_EVERY_S, TieredStates
from core.stores.valkey import ValkeyHotStates, client, keys_of

NOW = 1.7e9


@pytest.fixture
def cold(sql: ConnectionPool) -> PostgresEventLog:
    return PostgresEventLog(sql)


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    yield connected
    connected.close()


@pytest.fixture
def hot(valkey: redis.Redis) -> ValkeyHotStates:
    return ValkeyHotStates(valkey, 1000)


@pytest.fixture
def states(hot: ValkeyHotStates, cold: PostgresEventLog, sql: ConnectionPool) -> TieredStates:
    return TieredStates(hot, cold, PostgresAdapters(sql))


def watch(cold: PostgresEventLog, user: str, event_id: str) -> StoredState:
    event = Interaction(event_id, user, "heat-1995", InteractionType.WATCH_COMPLETE, NOW)
    appended = cold.append(user, [event], lambda before, new: (before.blob if before else b"") + event_id.encode())
    assert appended.state is not None
    return appended.state


def load(states: TieredStates, user: str) -> tuple[StoredState | None, tuple[str, ...]]:
    """The state and the stores that did not answer; of adapters another suite tells."""
    state, _, degraded = states.load_with_adapter(user)
    return state, degraded


def test_an_unknown_user_has_no_state_and_nothing_is_degraded(states: TieredStates, user: str) -> None:
    assert load(states, user) == (None, ())


def test_a_hot_copy_is_served_without_the_cold_store(
    states: TieredStates, cold: PostgresEventLog, postgres_server: PostgresServer, user: str
) -> None:
    state = watch(cold, user, "a")
    states.save_hot(user, state)
    assert load(states, user) == (state, ()), "and that there is no adapter is known from here on"
    postgres_server.kill()
    try:
        assert load(states, user) == (state, ())
    finally:
        postgres_server.start()


def test_a_lost_hot_store_is_refilled_from_the_cold_one(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog, valkey_server: ValkeyServer, user: str
) -> None:
    state = watch(cold, user, "a")
    states.save_hot(user, state)
    valkey_server.kill()
    valkey_server.start()
    assert hot.get_with_adapter(user)[0] is None
    assert load(states, user) == (state, ())
    assert hot.get_with_adapter(user)[0] == state


def test_a_corrupt_hot_copy_is_replaced_by_the_truth(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog, valkey: redis.Redis, user: str
) -> None:
    state = watch(cold, user, "a")
    valkey.set(keys_of(user).state, b"short", ex=100)
    assert load(states, user) == (state, ())
    assert hot.get_with_adapter(user)[0] == state


@pytest.mark.usefixtures("clean_tables")
def test_while_the_hot_store_is_away_it_is_named_and_its_copies_are_made_afterwards(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog, valkey_server: ValkeyServer, user: str
) -> None:
    states.save_hot(user, watch(cold, user, "a"))
    valkey_server.kill()
    try:
        state = watch(cold, user, "b")
        states.save_hot(user, state)
        assert load(states, user) == (state, ("hot_store",))
        assert states.hot_failures == 2
        assert states.refresh_stale(NOW) == 0
        assert [name for name, _ in cold.stale_hot(10)] == [user]
    finally:
        valkey_server.start()
    assert states.refresh_stale(NOW + REFRESH_EVERY_S) == 1
    assert hot.get_with_adapter(user)[0] == state
    assert cold.stale_hot(10) == []


@pytest.mark.usefixtures("clean_tables")
def test_an_old_copy_that_survived_an_outage_is_replaced(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog, valkey_server: ValkeyServer, user: str
) -> None:
    states.save_hot(user, watch(cold, user, "a"))
    valkey_server.pause()
    try:
        state = watch(cold, user, "b")
        states.save_hot(user, state)
        assert load(states, user) == (state, ("hot_store",))
    finally:
        valkey_server.resume()
    assert states.refresh_stale(NOW) == 1
    assert load(states, user) == (state, ())


@pytest.mark.usefixtures("clean_tables")
def test_asking_for_stale_copies_rides_on_requests_and_is_bounded(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog
) -> None:
    for number in range(5):
        watch(cold, f"u{number}", "a")
        hot.delete(f"u{number}")
        cold.mark_hot_stale(f"u{number}")
    assert states.refresh_stale(NOW, limit=3) == 3
    assert states.refresh_stale(NOW + REFRESH_EVERY_S / 2) == 0, "not at every request"
    assert states.refresh_stale(NOW + REFRESH_EVERY_S) == 2
    assert all(hot.get_with_adapter(f"u{number}")[0] for number in range(5))


def test_a_late_copy_of_an_older_state_does_not_go_back(
    states: TieredStates, cold: PostgresEventLog, user: str
) -> None:
    older, newer = watch(cold, user, "a"), watch(cold, user, "b")
    states.save_hot(user, newer)
    states.save_hot(user, older)
    assert load(states, user) == (newer, ())


@pytest.mark.usefixtures("clean_tables")
def test_an_erased_user_gets_no_copy_and_no_mark_for_ever(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog, user: str
) -> None:
    state = watch(cold, user, "a")
    cold.mark_hot_stale(user)
    hot.erase(user)
    states.save_hot(user, state)
    assert states.refresh_stale(NOW) == 1
    assert hot.get_with_adapter(user)[0] is None
    assert cold.stale_hot(10) == []


def test_with_both_stores_away_every_call_says_so(
    states: TieredStates,
    cold: PostgresEventLog,
    postgres_server: PostgresServer,
    valkey_server: ValkeyServer,
    user: str,
) -> None:
    state = watch(cold, user, "a")
    valkey_server.kill()
    postgres_server.kill()
    try:
        with pytest.raises(StoreUnavailable):
            load(states, user)
        with pytest.raises(StoreUnavailable):
            states.save_hot(user, state)
        assert states.refresh_stale(NOW) == 0, "it rides on requests and must not fail them"
    finally:
        postgres_server.start()
        valkey_server.start()
    assert load(states, user) == (state, ())


def test_a_missing_copy_without_the_cold_store_is_unavailable_not_an_unknown_user(
    states: TieredStates, postgres_server: PostgresServer, user: str
) -> None:
    postgres_server.kill()
    try:
        with pytest.raises(StoreUnavailable) as raised:
            load(states, user)
        assert raised.value.store == "cold_store"
    finally:
        postgres_server.start()
