"""RouteCounters on Valkey: sums that concurrent instances add to, a beginning, an end, and outages that are told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from core.config import StoreSettings
from core.errors import StoreUnavailable
from core.flows.routing_memory import RoutingMemory
from core.stores.valkey import client
from core.stores.valkey_routing import KEY, TTL_S, ValkeyRouteCounters

NOW = 1.8e9


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    connected.delete(KEY)
    yield connected
    connected.close()


def test_sums_grow_by_what_is_added_and_remember_since_when(valkey: redis.Redis) -> None:
    counters = ValkeyRouteCounters(valkey)
    assert counters.read() == ({}, None)
    counters.add({"a": 1.0, "b": 0.25}, NOW)
    counters.add({"a": 2.0}, NOW + 60)
    assert counters.read() == ({"a": 3.0, "b": 0.25}, NOW)


def test_instances_that_add_at_once_lose_nothing(valkey: redis.Redis) -> None:
    counters = ValkeyRouteCounters(valkey)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: counters.add({"a": 1.0, "b": -0.5}, NOW), range(200)))
    assert counters.read()[0] == {"a": 200.0, "b": -100.0}


def test_unused_counters_end(valkey: redis.Redis) -> None:
    ValkeyRouteCounters(valkey).add({"a": 1.0}, NOW)
    assert 0 < valkey.ttl(KEY) <= TTL_S


def test_an_outage_is_told() -> None:
    counters = ValkeyRouteCounters(client(StoreSettings(redis_url="redis://127.0.0.1:1")))
    with pytest.raises(StoreUnavailable):
        counters.add({"a": 1.0}, NOW)
    with pytest.raises(StoreUnavailable):
        counters.read()


def test_an_instance_counts_at_once_and_shares_within_seconds(valkey: redis.Redis) -> None:
    ours, theirs = (RoutingMemory(ValkeyRouteCounters(valkey), (), 30.0) for _ in range(2))
    ours.count({"a": 1.0}, NOW)
    ours.count({"a": 1.0}, NOW + 1)
    assert ours.learned(NOW + 1, fresh=True)[0] == {"a": 2.0}
    assert theirs.learned(NOW + 1)[0] == {"a": 1.0}
    ours.count({"a": 1.0}, NOW + 6)
    assert theirs.learned(NOW + 10)[0] == {"a": 1.0}
    assert theirs.learned(NOW + 32)[0] == {"a": 3.0}


def test_counts_wait_out_an_outage(valkey: redis.Redis) -> None:
    memory = RoutingMemory(ValkeyRouteCounters(client(StoreSettings(redis_url="redis://127.0.0.1:1"))), (), 30.0)
    memory.count({"a": 1.0}, NOW)
    counts, _, degraded = memory.learned(NOW)
    assert (counts, degraded) == ({"a": 1.0}, ("routing_counters",))
    memory.counters = ValkeyRouteCounters(valkey)
    memory.flush(NOW + 10)
    assert ValkeyRouteCounters(valkey).read()[0] == {"a": 1.0}
