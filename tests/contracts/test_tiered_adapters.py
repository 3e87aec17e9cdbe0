"""TieredStates' adapters over both real stores: one round trip, no SQL for who has none, and nothing stays behind."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import redis

from core.config import StoreSettings
from core.errors import CorruptData, StoreUnavailable
from core.interaction import Interaction, InteractionType
from core.local.postgres_server import PostgresServer
from core.local.valkey_server import ValkeyServer
from core.stores.postgres.adapters import PostgresAdapters
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.protocols import NO_ADAPTER, Adaptation, StoredAdapter, StoredState
from core.stores.tiered import REFRESH_EVERY_S, TieredStates
from core.stores.valkey import ValkeyHotStates, client, keys_of

NOW = 1.7e9


def shorter(blob: bytes) -> bytes:
    """Stands for the quantization: what the hot store holds is visibly not what the cold one does."""
    if blob == b"rubbish":
        raise CorruptData("no adapter")
    return blob.removeprefix(b"exact ")


@pytest.fixture
def cold(sql: ConnectionPool) -> PostgresEventLog:
    return PostgresEventLog(sql)


@pytest.fixture
def adapters(sql: ConnectionPool) -> PostgresAdapters:
    return PostgresAdapters(sql)


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    yield connected
    connected.close()


@pytest.fixture
def hot(valkey: redis.Redis) -> ValkeyHotStates:
    return ValkeyHotStates(valkey, 1000)


Build = Callable[[], TieredStates]


@pytest.fixture
def instance(hot: ValkeyHotStates, cold: PostgresEventLog, adapters: PostgresAdapters) -> Build:
    """Builds what another instance would have: the same stores and nothing remembered."""
    return lambda: TieredStates(hot, cold, adapters, shorter)


@pytest.fixture
def states(instance: Build) -> TieredStates:
    return instance()


def watch(cold: PostgresEventLog, user: str, event_id: str = "a") -> StoredState:
    event = Interaction(event_id, user, "heat-1995", InteractionType.WATCH_COMPLETE, NOW)
    appended = cold.append(user, [event], lambda before, new: (before.blob if before else b"") + event_id.encode())
    assert appended.state is not None
    return appended.state


def adapt(adapters: PostgresAdapters, user: str, version: int, blob: bytes = b"exact weights") -> StoredAdapter:
    saved = StoredAdapter(blob, version, version, "base", NOW + version)
    adapters.save(user, saved, Adaptation(user, NOW, version, version, "snapshot", "base", 0, "accepted", {}))
    return saved


def small(saved: StoredAdapter) -> StoredAdapter:
    return replace(saved, blob=b"weights")


def test_an_unknown_user_has_neither_and_nothing_is_degraded(states: TieredStates, user: str) -> None:
    assert states.load_with_adapter(user) == (None, None, ())


def test_hot_copies_are_served_without_the_cold_store(
    states: TieredStates, cold: PostgresEventLog, adapters: PostgresAdapters, postgres_server: PostgresServer, user: str
) -> None:
    state, saved = watch(cold, user), adapt(adapters, user, 1)
    states.save_hot(user, state)
    states.save_hot_adapter(user, saved)
    postgres_server.kill()
    try:
        assert states.load_with_adapter(user) == (state, small(saved), ())
    finally:
        postgres_server.start()


def test_a_user_without_an_adapter_asks_the_cold_store_once(
    states: TieredStates, instance: Build, cold: PostgresEventLog, postgres_server: PostgresServer, user: str
) -> None:
    state = watch(cold, user)
    states.save_hot(user, state)
    assert states.load_with_adapter(user) == (state, None, ())
    postgres_server.kill()
    try:
        assert states.load_with_adapter(user) == (state, None, ())
        assert instance().load_with_adapter(user) == (state, None, ())
    finally:
        postgres_server.start()


def test_the_first_adapter_is_seen_though_its_absence_was_remembered(
    states: TieredStates, instance: Build, cold: PostgresEventLog, adapters: PostgresAdapters, user: str
) -> None:
    state = watch(cold, user)
    assert states.load_with_adapter(user) == (state, None, ())
    saved = adapt(adapters, user, 1)
    states.save_hot_adapter(user, saved)
    assert instance().load_with_adapter(user) == (state, small(saved), ())


def test_an_absence_that_was_read_before_the_first_adapter_does_not_hide_it(
    states: TieredStates, hot: ValkeyHotStates, adapters: PostgresAdapters, user: str
) -> None:
    saved = adapt(adapters, user, 1)
    states.save_hot_adapter(user, saved)
    hot.put_adapter(user, NO_ADAPTER)  # by a request that asked the cold store before the save and writes after it
    assert states.load_with_adapter(user)[1] == small(saved)


@pytest.mark.parametrize("missing", ["state", "lora_adapter", "*"])
def test_whatever_the_hot_store_lost_comes_from_the_cold_one_and_is_kept(
    states: TieredStates,
    hot: ValkeyHotStates,
    cold: PostgresEventLog,
    adapters: PostgresAdapters,
    valkey: redis.Redis,
    user: str,
    missing: str,
) -> None:
    state, saved = watch(cold, user), adapt(adapters, user, 1)
    states.load_with_adapter(user)
    valkey.delete(*valkey.keys(f"user:{{{keys_of(user).tag}}}:{missing}"))
    assert states.load_with_adapter(user) == (state, small(saved), ())
    assert hot.get_with_adapter(user) == (state, small(saved))


def test_a_corrupt_hot_adapter_is_replaced_whatever_version_it_claims(
    states: TieredStates,
    hot: ValkeyHotStates,
    cold: PostgresEventLog,
    adapters: PostgresAdapters,
    valkey: redis.Redis,
    user: str,
) -> None:
    state, saved = watch(cold, user), adapt(adapters, user, 1)
    valkey.set(keys_of(user).adapter, b"\x0f" + b"\xff" * 19, ex=100)
    assert states.load_with_adapter(user) == (state, small(saved), ())
    assert hot.get_with_adapter(user) == (state, small(saved))


def test_an_adapter_that_is_unreadable_in_the_cold_store_is_handed_on_and_asked_for_once(
    states: TieredStates, cold: PostgresEventLog, adapters: PostgresAdapters, postgres_server: PostgresServer, user: str
) -> None:
    state, saved = watch(cold, user), adapt(adapters, user, 1, b"rubbish")
    assert states.load_with_adapter(user) == (state, saved, ())
    postgres_server.kill()
    try:
        assert states.load_with_adapter(user) == (state, saved, ())
    finally:
        postgres_server.start()


@pytest.mark.usefixtures("clean_tables")
@pytest.mark.parametrize("before", [None, 1], ids=["no adapter known", "an older copy"])
def test_a_process_that_dies_between_the_stores_leaves_a_mark_that_heals_the_copy(
    states: TieredStates,
    instance: Build,
    cold: PostgresEventLog,
    adapters: PostgresAdapters,
    user: str,
    before: int | None,
) -> None:
    state = watch(cold, user)
    if before:
        states.save_hot_adapter(user, adapt(adapters, user, before))
    states.load_with_adapter(user)
    saved = adapt(adapters, user, (before or 0) + 1)  # and save_hot_adapter is never reached
    assert instance().refresh_stale(NOW) == 1
    assert states.load_with_adapter(user) == (state, small(saved), ())
    assert instance().refresh_stale(NOW) == 0, "the mark is gone"


@pytest.mark.usefixtures("clean_tables")
def test_a_process_that_dies_between_the_stores_heals_by_a_load_where_there_is_no_copy(
    states: TieredStates, cold: PostgresEventLog, adapters: PostgresAdapters, user: str
) -> None:
    state, saved = watch(cold, user), adapt(adapters, user, 1)
    assert states.load_with_adapter(user) == (state, small(saved), ())


@pytest.mark.usefixtures("clean_tables")
def test_a_copy_that_was_made_leaves_no_mark(states: TieredStates, adapters: PostgresAdapters, user: str) -> None:
    states.save_hot_adapter(user, adapt(adapters, user, 1))
    states.save_hot_adapter(user, adapt(adapters, user, 2))
    assert adapters.stale_hot(10) == []
    assert states.refresh_stale(NOW) == 0


@pytest.mark.usefixtures("clean_tables")
def test_a_late_copy_of_an_older_adapter_neither_goes_back_nor_takes_the_newer_mark(
    states: TieredStates, adapters: PostgresAdapters, user: str
) -> None:
    older, newer = adapt(adapters, user, 1), adapt(adapters, user, 2)
    states.save_hot_adapter(user, older)
    assert adapters.stale_hot(10) == [(user, newer)]
    states.save_hot_adapter(user, newer)
    states.save_hot_adapter(user, older)
    assert states.load_with_adapter(user)[1] == small(newer)


@pytest.mark.usefixtures("clean_tables")
def test_an_old_adapter_that_survived_an_outage_is_replaced_afterwards(
    states: TieredStates, cold: PostgresEventLog, adapters: PostgresAdapters, valkey_server: ValkeyServer, user: str
) -> None:
    state = watch(cold, user)
    states.save_hot_adapter(user, adapt(adapters, user, 1))
    valkey_server.pause()
    try:
        saved = adapt(adapters, user, 2)
        states.save_hot_adapter(user, saved)
        assert states.load_with_adapter(user) == (state, small(saved), ("hot_store",))
        assert states.refresh_stale(NOW) == 0
    finally:
        valkey_server.resume()
    assert states.hot_failures == 3
    assert states.refresh_stale(NOW + REFRESH_EVERY_S) == 1
    assert states.load_with_adapter(user) == (state, small(saved), ())


@pytest.mark.usefixtures("clean_tables")
def test_states_and_adapters_share_the_bound_of_one_refresh(
    states: TieredStates, hot: ValkeyHotStates, cold: PostgresEventLog, adapters: PostgresAdapters
) -> None:
    users = [f"u{number}" for number in range(3)]
    for user in users:
        hot.delete(user)
        watch(cold, user)
        cold.mark_hot_stale(user)
        adapt(adapters, user, 1)
    assert [states.refresh_stale(NOW + turn * REFRESH_EVERY_S, limit=4) for turn in range(3)] == [4, 2, 0]
    assert all(None not in hot.get_with_adapter(user) for user in users)


@pytest.mark.usefixtures("clean_tables")
def test_an_erased_user_gets_no_copy_and_no_mark_for_ever(
    states: TieredStates, hot: ValkeyHotStates, adapters: PostgresAdapters, user: str
) -> None:
    saved = adapt(adapters, user, 1)
    hot.erase(user)
    states.save_hot_adapter(user, saved)
    assert hot.get_with_adapter(user) == (None, None)
    assert adapters.stale_hot(10) == []


def test_an_adapter_that_no_store_gives_is_left_out_and_named(
    states: TieredStates, cold: PostgresEventLog, postgres_server: PostgresServer, user: str
) -> None:
    state = watch(cold, user)
    states.save_hot(user, state)
    postgres_server.kill()
    try:
        assert states.load_with_adapter(user) == (state, None, ("cold_store",))
    finally:
        postgres_server.start()


def test_with_the_cold_store_away_a_missing_state_is_unavailable_not_an_unknown_user(
    states: TieredStates, adapters: PostgresAdapters, postgres_server: PostgresServer, user: str
) -> None:
    states.save_hot_adapter(user, adapt(adapters, user, 1))
    postgres_server.kill()
    try:
        with pytest.raises(StoreUnavailable) as raised:
            states.load_with_adapter(user)
        assert raised.value.store == "cold_store"
    finally:
        postgres_server.start()


@pytest.mark.usefixtures("clean_tables")
def test_a_copy_whose_mark_could_not_be_taken_away_is_only_made_again(
    states: TieredStates, hot: ValkeyHotStates, adapters: PostgresAdapters, postgres_server: PostgresServer, user: str
) -> None:
    saved = adapt(adapters, user, 1)
    postgres_server.kill()
    try:
        states.save_hot_adapter(user, saved)
        assert hot.get_with_adapter(user) == (None, small(saved))
    finally:
        postgres_server.start()
    assert states.refresh_stale(NOW) == 1
    assert adapters.stale_hot(10) == []
