"""Transitions on Valkey: read once, in order, the oldest forgotten, a loss harmless."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from core.config import StoreSettings
from core.errors import StoreUnavailable
from core.stores.protocols import Succession
from core.stores.valkey import client
from core.stores.valkey_transitions import KEY, TTL_S, ValkeyTransitions

LARGEST = 2**64 - 1
FIRST = Succession((1, LARGEST), 7, 1.7e9 + 0.25)
SECOND = Succession((LARGEST,), 1, -3.0)


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    connected.delete(KEY)
    yield connected
    connected.delete(KEY)
    connected.close()


@pytest.fixture
def store(valkey: redis.Redis) -> ValkeyTransitions:
    return ValkeyTransitions(valkey)


def test_what_was_added_is_read_once_and_in_order(store: ValkeyTransitions) -> None:
    store.add([FIRST, SECOND])
    found, place = store.read(0.0, 10)
    assert found == [FIRST, SECOND]
    assert store.read(place, 10) == ([], place)
    store.add([SECOND])
    assert store.read(place, 10)[0] == [SECOND]


def test_it_is_read_in_pieces(store: ValkeyTransitions) -> None:
    store.add([FIRST, SECOND, FIRST])
    first, place = store.read(0.0, 2)
    rest, _ = store.read(place, 2)
    assert (first, rest) == ([FIRST, SECOND], [FIRST])


def test_reading_begins_at_a_time_of_adding(store: ValkeyTransitions) -> None:
    store.add([FIRST])
    assert store.read(time.time() - 60, 10)[0] == [FIRST]
    found, place = store.read(time.time() + 60, 10)
    assert found == []
    assert store.read(place, 10)[0] == []  # a clock ahead waits


def test_the_oldest_are_forgotten_and_the_stream_ends_by_itself(valkey: redis.Redis) -> None:
    store = ValkeyTransitions(valkey, most=200)
    for number in range(30):
        store.add([Succession((number,), number, float(number))] * 50)
    kept = store.read(0.0, 5000)[0]
    assert 200 <= len(kept) < 500  # trimmed by whole nodes
    assert kept[-1].key == 29
    assert 0 < valkey.ttl(KEY) <= TTL_S


def test_after_a_loss_a_reader_goes_on_with_what_is_new(store: ValkeyTransitions, valkey: redis.Redis) -> None:
    store.add([FIRST])
    _, place = store.read(0.0, 10)
    valkey.delete(KEY)
    assert store.read(place, 10) == ([], place)
    time.sleep(0.002)  # a stream begins anew at the server's milliseconds
    store.add([SECOND])
    assert store.read(place, 10)[0] == [SECOND]


def test_an_entry_that_cannot_be_read_is_left_out(store: ValkeyTransitions, valkey: redis.Redis) -> None:
    for fields in ({"t": b"short"}, {"t": b"x" * 25}, {"other": b"x" * 24}):
        valkey.xadd(KEY, fields)  # type: ignore[arg-type]
    store.add([FIRST])
    assert store.read(0.0, 10)[0] == [FIRST]


def test_nobody_is_named(store: ValkeyTransitions, valkey: redis.Redis) -> None:
    store.add([FIRST])
    stored: Any = valkey.xrange(KEY)
    [(_, fields)] = stored
    assert {name: len(value) for name, value in fields.items()} == {b"t": 8 * 4}  # a time and three titles


def test_a_store_that_is_away_is_said_to_be() -> None:
    away = ValkeyTransitions(client(StoreSettings(redis_url="redis://127.0.0.1:9/0")))
    with pytest.raises(StoreUnavailable):
        away.read(0.0, 10)
    with pytest.raises(StoreUnavailable):
        away.add([FIRST])
