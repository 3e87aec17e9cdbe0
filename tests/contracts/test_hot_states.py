"""HotStates on Valkey: a copy never goes back, an erased user stays away, every key ends."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from core.config import StoreSettings
from core.errors import ConfigurationError, CorruptData, InvalidInput, StoreUnavailable
from core.local.valkey_server import ValkeyServer
from core.stores.protocols import NO_ADAPTER, StoredAdapter, StoredState
from core.stores.valkey import ValkeyHotStates, client, keys_of

TTL_S = 1000


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    yield connected
    connected.close()


@pytest.fixture
def states(valkey: redis.Redis) -> ValkeyHotStates:
    return ValkeyHotStates(valkey, TTL_S)


def state(version: int, blob: bytes = b"blob") -> StoredState:
    return StoredState(blob, version=version, seq=10 * version)


def adapter(version: int, blob: bytes = b"weights") -> StoredAdapter:
    return StoredAdapter(blob, version, 10 * version, "base-1.0.0", 1.7e9 + version)


def test_an_unknown_user_has_no_copy(states: ValkeyHotStates, user: str) -> None:
    assert states.get_with_adapter(user)[0] is None


@pytest.mark.parametrize("blob", [b"", b"\0\xff" * 5000, b"\r\n$3\r\n"])
def test_a_copy_comes_back_as_it_was(states: ValkeyHotStates, user: str, blob: bytes) -> None:
    kept = StoredState(blob, version=2**53 - 1, seq=2**63)
    assert states.put(user, kept)
    assert states.get_with_adapter(user)[0] == kept


@pytest.mark.parametrize(("older", "newer"), [(1, 2), (9, 10), (255, 256), (2**40 - 1, 2**40), (2**53 - 2, 2**53 - 1)])
def test_an_older_version_never_overwrites(states: ValkeyHotStates, user: str, older: int, newer: int) -> None:
    assert states.put(user, state(newer))
    assert states.put(user, state(older, b"old")), "the copy has a newer version, which is all the caller wants"
    assert states.get_with_adapter(user)[0] == state(newer)


def test_the_same_version_may_be_written_again(states: ValkeyHotStates, user: str) -> None:
    states.put(user, state(3, b"damaged"))
    states.put(user, state(3, b"good"))
    assert states.get_with_adapter(user)[0] == state(3, b"good")


def test_versions_written_by_many_threads_only_grow(states: ValkeyHotStates, user: str) -> None:
    start = threading.Barrier(8)

    def write(seed: int) -> None:
        versions = list(range(1, 60))
        random.Random(seed).shuffle(versions)
        start.wait()
        seen = 0
        for version in versions:
            states.put(user, state(version))
            found = states.get_with_adapter(user)[0]
            assert found is not None
            assert found.version >= max(seen, version)
            seen = found.version

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert states.get_with_adapter(user)[0] == state(59)


def test_a_deleted_copy_may_be_written_again(states: ValkeyHotStates, user: str) -> None:
    states.put(user, state(5))
    states.delete(user)
    assert states.get_with_adapter(user)[0] is None
    assert states.put(user, state(4))


def test_an_erased_user_stays_erased(states: ValkeyHotStates, user: str) -> None:
    states.put(user, state(5))
    states.erase(user)
    assert not states.put(user, state(6))
    assert states.get_with_adapter(user)[0] is None


def test_users_do_not_see_each_other_whatever_their_ids(states: ValkeyHotStates, user: str) -> None:
    ids = [f"{user}{tail}" for tail in ("", ":state", "}", "{", "}:state", "*", "?", " ", "\r\nFLUSHALL", "漢")]
    for version, name in enumerate(ids, 1):
        states.put(name, state(version))
    assert [states.get_with_adapter(name)[0] for name in ids] == [state(version) for version in range(1, len(ids) + 1)]


def test_an_id_that_is_no_text_is_invalid(states: ValkeyHotStates) -> None:
    with pytest.raises(InvalidInput):
        states.get_with_adapter("\ud800")[0]


def test_every_key_ends_and_a_copy_lives_longer_when_it_is_used(
    states: ValkeyHotStates, valkey: redis.Redis, user: str
) -> None:
    valkey.flushall()
    states.put(user, state(1))
    states.put(f"{user}-erased", state(1))
    states.erase(f"{user}-erased")
    states.put_adapter(user, NO_ADAPTER)
    states.put_adapter(f"{user}-adapted", adapter(1))
    keys = list(valkey.scan_iter())
    assert len(keys) == 4
    assert all(0 < valkey.ttl(key) <= TTL_S for key in keys)
    (key,) = (key for key in keys if b":state" in key)
    for use in (
        lambda: states.get_with_adapter(user)[0],
        lambda: states.put(user, state(1)),
        lambda: states.put(user, state(0)),
    ):
        valkey.expire(key, 5)
        use()
        assert valkey.ttl(key) > TTL_S - 5


def test_what_is_no_state_is_corrupt_and_is_overwritten(
    states: ValkeyHotStates, valkey: redis.Redis, user: str
) -> None:
    valkey.set(keys_of(user).state, b"\xff" * 15, ex=TTL_S)
    with pytest.raises(CorruptData):
        states.get_with_adapter(user)[0]
    states.put(user, state(1))
    assert states.get_with_adapter(user)[0] == state(1)


def test_a_server_that_forgot_its_scripts_is_taught_again(
    states: ValkeyHotStates, valkey: redis.Redis, user: str
) -> None:
    states.put(user, state(1))
    valkey.script_flush()
    assert states.put(user, state(2))
    assert states.get_with_adapter(user)[0] == state(2)


def test_a_killed_server_is_reported_at_once_and_a_restarted_one_serves_the_first_call(
    states: ValkeyHotStates, valkey_server: ValkeyServer, user: str
) -> None:
    states.put(user, state(1))
    valkey_server.kill()
    try:
        for attempt in (
            lambda: states.put(user, state(2)),
            lambda: states.delete(user),
            lambda: states.get_with_adapter(user),
            lambda: states.put_adapter(user, adapter(1)),
        ):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable) as raised:
                attempt()
            assert raised.value.store == "hot_store"
            assert time.monotonic() - started < 0.5
    finally:
        valkey_server.start()
    assert states.get_with_adapter(user)[0] is None
    assert states.put(user, state(3))
    valkey_server.stop()
    valkey_server.start()
    assert states.put(user, state(4)), "a kept connection that a restart broke is replaced within the call"


def test_a_hung_server_is_reported_within_the_timeout(
    states: ValkeyHotStates, valkey_server: ValkeyServer, user: str
) -> None:
    states.put(user, state(1))
    valkey_server.pause()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            states.get_with_adapter(user)[0]
        assert time.monotonic() - started < 1.0  # the timeout is 0.25 s, and is not tried again
    finally:
        valkey_server.resume()
    assert states.get_with_adapter(user)[0] == state(1)


def test_without_a_server_configured_the_setting_is_named() -> None:
    for url in ("", "not a url"):
        with pytest.raises(ConfigurationError, match="SONA_STORES_REDIS_URL"):
            client(StoreSettings(redis_url=url))
