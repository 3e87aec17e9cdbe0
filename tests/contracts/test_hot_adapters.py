"""HotStates' adapters on Valkey: read with the state in one round trip, never going back, never kept for ever."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from core.config import StoreSettings
from core.errors import CorruptData, InvalidInput
from core.stores.protocols import NO_ADAPTER, StoredAdapter, StoredState
from core.stores.valkey import ABSENCE_TTL_S, ValkeyHotStates, client, keys_of

TTL_S = 4 * ABSENCE_TTL_S


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    yield connected
    connected.close()


@pytest.fixture
def states(valkey: redis.Redis) -> ValkeyHotStates:
    return ValkeyHotStates(valkey, TTL_S)


def state(version: int) -> StoredState:
    return StoredState(b"state", version=version, seq=10 * version)


def adapter(version: int, blob: bytes = b"weights") -> StoredAdapter:
    return StoredAdapter(blob, version, 10 * version, "base-1.0.0", 1.7e9 + version)


def key_of(user: str) -> str:
    return keys_of(user).adapter


def test_each_copy_is_read_whether_or_not_the_other_is_there(states: ValkeyHotStates, user: str) -> None:
    assert states.get_with_adapter(user) == (None, None)
    states.put(user, state(1))
    assert states.get_with_adapter(user) == (state(1), None)
    states.put_adapter(user, adapter(1))
    assert states.get_with_adapter(user) == (state(1), adapter(1))
    other = f"{user}-other"
    states.put_adapter(other, adapter(2))
    assert states.get_with_adapter(other) == (None, adapter(2))


@pytest.mark.parametrize("blob", [b"", b"\0\xff" * 5000, b"\r\n$3\r\n"])
@pytest.mark.parametrize("generation", ["", "base-1.0.0", "ü漢" * 50])
def test_an_adapter_comes_back_as_it_was(states: ValkeyHotStates, user: str, blob: bytes, generation: str) -> None:
    kept = StoredAdapter(blob, 2**53 - 1, 2**62, generation, 1_700_000_000.123456)
    assert states.put_adapter(user, kept)
    assert states.get_with_adapter(user) == (None, kept)


@pytest.mark.parametrize(("older", "newer"), [(1, 2), (9, 10), (255, 256), (2**53 - 2, 2**53 - 1)])
def test_an_older_adapter_never_overwrites(states: ValkeyHotStates, user: str, older: int, newer: int) -> None:
    assert states.put_adapter(user, adapter(newer))
    assert states.put_adapter(user, adapter(older, b"old"))
    assert states.get_with_adapter(user) == (None, adapter(newer))


def test_the_first_adapter_replaces_the_record_that_there_is_none_and_not_the_other_way_round(
    states: ValkeyHotStates, valkey: redis.Redis, user: str
) -> None:
    states.put_adapter(user, NO_ADAPTER)
    assert states.get_with_adapter(user) == (None, NO_ADAPTER)
    states.put_adapter(user, adapter(1))
    states.put_adapter(user, NO_ADAPTER)
    assert valkey.ttl(key_of(user)) > ABSENCE_TTL_S, "nor does it shorten the life of one"
    assert states.get_with_adapter(user) == (None, adapter(1))


def test_versions_written_by_many_threads_only_grow(states: ValkeyHotStates, user: str) -> None:
    start = threading.Barrier(8)

    def write(seed: int) -> None:
        versions = list(range(60))
        random.Random(seed).shuffle(versions)
        start.wait()
        seen = 0
        for version in versions:
            states.put_adapter(user, adapter(version) if version else NO_ADAPTER)
            found = states.get_with_adapter(user)[1]
            assert found is not None
            assert found.version >= max(seen, version)
            seen = found.version

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert states.get_with_adapter(user) == (None, adapter(59))


def test_both_copies_live_longer_when_they_are_read(states: ValkeyHotStates, valkey: redis.Redis, user: str) -> None:
    states.put(user, state(1))
    states.put_adapter(user, adapter(1))
    keys = (keys_of(user).state, key_of(user))
    for key in keys:
        valkey.expire(key, 5)
    states.get_with_adapter(user)
    assert all(TTL_S - 5 < valkey.ttl(key) <= TTL_S for key in keys)


def test_that_there_is_no_adapter_is_asked_anew_however_often_it_is_read(
    states: ValkeyHotStates, valkey: redis.Redis, user: str
) -> None:
    states.put_adapter(user, NO_ADAPTER)
    assert 0 < valkey.ttl(key_of(user)) <= ABSENCE_TTL_S
    valkey.expire(key_of(user), 5)
    states.get_with_adapter(user)
    assert valkey.ttl(key_of(user)) <= 5


def test_no_copy_outlives_a_shorter_time_to_live(valkey: redis.Redis, user: str) -> None:
    ValkeyHotStates(valkey, 10).put_adapter(user, NO_ADAPTER)
    assert valkey.ttl(key_of(user)) <= 10


def test_both_copies_are_deleted(states: ValkeyHotStates, valkey: redis.Redis, user: str) -> None:
    states.put(user, state(5))
    states.put_adapter(user, adapter(5))
    states.delete(user)
    assert valkey.keys(f"*{user}*") == []
    assert states.put_adapter(user, adapter(4))


def test_an_erased_user_gets_no_adapter_back(states: ValkeyHotStates, valkey: redis.Redis, user: str) -> None:
    states.put(user, state(5))
    states.put_adapter(user, adapter(5))
    states.erase(user)
    assert not states.put_adapter(user, adapter(6))
    assert not states.put_adapter(user, NO_ADAPTER)
    assert states.get_with_adapter(user) == (None, None)
    valkey.set(key_of(user), b"a copy that an older release wrote", ex=TTL_S)
    assert states.get_with_adapter(user) == (None, None)


def test_users_do_not_see_each_others_adapters_whatever_their_ids(states: ValkeyHotStates, user: str) -> None:
    ids = [f"{user}{tail}" for tail in ("", ":lora_adapter", "}", "{", "}:state", "*", " ", "\r\nFLUSHALL", "漢")]
    for version, name in enumerate(ids, 1):
        states.put_adapter(name, adapter(version))
    assert [states.get_with_adapter(name)[1] for name in ids] == [adapter(version) for version in range(1, 10)]


def test_an_id_that_is_no_text_is_invalid(states: ValkeyHotStates) -> None:
    with pytest.raises(InvalidInput):
        states.get_with_adapter("\ud800")


@pytest.mark.parametrize("length", range(0, 36, 5))
def test_a_cut_adapter_is_corrupt(states: ValkeyHotStates, valkey: redis.Redis, user: str, length: int) -> None:
    states.put_adapter(user, adapter(3, blob=b""))
    whole = valkey.get(key_of(user))
    assert isinstance(whole, bytes)
    assert len(whole) == 36
    valkey.set(key_of(user), whole[:length], ex=TTL_S)
    with pytest.raises(CorruptData):
        states.get_with_adapter(user)


def test_a_generation_that_is_no_text_is_corrupt(states: ValkeyHotStates, valkey: redis.Redis, user: str) -> None:
    states.put_adapter(user, adapter(3, blob=b""))
    valkey.setrange(key_of(user), 26, b"\xff")
    with pytest.raises(CorruptData):
        states.get_with_adapter(user)


def test_a_server_that_forgot_its_scripts_is_taught_again(
    states: ValkeyHotStates, valkey: redis.Redis, user: str
) -> None:
    states.put_adapter(user, adapter(1))
    valkey.script_flush()
    assert states.get_with_adapter(user) == (None, adapter(1))


def test_state_and_adapter_cost_one_command(states: ValkeyHotStates, valkey: redis.Redis, user: str) -> None:
    states.put(user, state(1))
    states.put_adapter(user, adapter(1))
    states.get_with_adapter(user)
    before = valkey.info("stats")["total_reads_processed"]
    states.get_with_adapter(user)
    assert valkey.info("stats")["total_reads_processed"] - before == 2, "the read, and this question"
