"""PopularityCounters on Valkey: decayed sums that agree with the log, and a loss that is noticed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config import StoreSettings
from core.errors import StoreUnavailable
from core.interaction import Interaction, InteractionType
from core.local.valkey_server import ValkeyServer
from core.stores.postgres.connect import ConnectionPool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.valkey import ValkeyPopularity, client

HALF_LIFE_S = 100.0
NOW = 1.7e9


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    connected = client(StoreSettings(redis_url=valkey_url))
    connected.flushall()
    yield connected
    connected.close()


@pytest.fixture
def counters(valkey: redis.Redis) -> ValkeyPopularity:
    """Counters that were filled once, with nothing."""
    filled = ValkeyPopularity(valkey, HALF_LIFE_S)
    filled.replace({}, NOW)
    return filled


def test_a_weight_counts_in_full_when_added_and_halves_every_half_life(counters: ValkeyPopularity) -> None:
    counters.add({"heat-1995": 2.0}, NOW)
    for half_lives, expected in ((0, 2.0), (1, 1.0), (2, 0.5), (10, 2.0**-9)):
        assert counters.read(NOW + half_lives * HALF_LIFE_S) == pytest.approx({"heat-1995": expected})


@given(
    added=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.01, 10.0), st.floats(0.0, 50 * HALF_LIFE_S)), max_size=8
    )
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_adding_does_not_matter(counters: ValkeyPopularity, added: list[tuple[str, float, float]]) -> None:
    counters.replace({}, NOW)
    end = NOW + 50 * HALF_LIFE_S
    expected: dict[str, float] = {}
    for content_id, weight, age in added:
        counters.add({content_id: weight}, end - age)
        expected[content_id] = expected.get(content_id, 0.0) + weight * 2 ** (-age / HALF_LIFE_S)
    assert counters.read(end) == pytest.approx(expected, rel=1e-9)


def test_no_increment_of_many_threads_is_lost(counters: ValkeyPopularity) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: counters.add({"a": 1.0, "b": 0.5}, NOW), range(200)))
    assert counters.read(NOW) == {"a": 200.0, "b": 100.0}


def test_counts_survive_years_of_moving_the_landmark(counters: ValkeyPopularity) -> None:
    now = NOW
    counters.add({"forgotten": 1.0}, now)
    for _ in range(20):  # 20 x 61 half lives: 2^1220 would overflow a double
        now += 61 * HALF_LIFE_S
        counters.add({"steady": 1.0, "other": 3.0}, now)
        assert counters.read(now) == pytest.approx({"steady": 1.0, "other": 3.0}, rel=1e-9)
    assert "forgotten" not in counters.read(now), "what has decayed to nothing takes no room"


def test_lost_counters_say_so_until_they_are_refilled(counters: ValkeyPopularity, valkey: redis.Redis) -> None:
    counters.add({"a": 5.0}, NOW)
    valkey.flushall()
    assert counters.read(NOW) == {}
    counters.add({"a": 1.0}, NOW)
    assert counters.read(NOW) == {}, "a part of the count must not pass for the whole"
    counters.replace({"a": 6.0, "b": 2.0}, NOW)
    counters.add({"a": 1.0}, NOW)
    assert counters.read(NOW) == {"a": 7.0, "b": 2.0}


def test_lost_counters_are_refilled_by_one_at_a_time_and_whoever_has_time_is_not_kept_out(
    counters: ValkeyPopularity, valkey: redis.Redis
) -> None:
    assert counters.filled()
    valkey.flushall()
    assert not counters.filled()
    assert not counters.add({"a": 1.0}, NOW)
    assert [counters.claim(False, 30.0) for _ in range(2)] == [True, False]
    assert [counters.claim(True, 30.0) for _ in range(2)] == [True, False]
    assert all(29_000 < valkey.pttl(key) <= 30_000 for key in valkey.scan_iter())
    counters.replace({"a": 1.0}, NOW)
    assert counters.add({"a": 1.0}, NOW)
    valkey.delete(f"popularity:{{{HALF_LIFE_S:g}}}")
    assert counters.claim(False, 0.01), "a loss after the refill is another one"
    time.sleep(0.02)
    assert counters.claim(False, 30.0), "whoever has claimed it may have died"


def test_a_refill_takes_the_place_of_everything(counters: ValkeyPopularity) -> None:
    counters.add({"gone": 1.0}, NOW)
    counters.replace({"a": 1.0}, NOW + HALF_LIFE_S)
    assert counters.read(NOW + HALF_LIFE_S) == {"a": 1.0}


def test_counters_of_another_half_life_are_others(counters: ValkeyPopularity, valkey: redis.Redis) -> None:
    counters.add({"a": 1.0}, NOW)
    assert ValkeyPopularity(valkey, 2 * HALF_LIFE_S).read(NOW) == {}


def test_every_key_ends(counters: ValkeyPopularity, valkey: redis.Redis) -> None:
    ValkeyPopularity(valkey, 2 * HALF_LIFE_S).add({"lost": 1.0}, NOW)
    keys = list(valkey.scan_iter())
    assert len(keys) == 1
    for use in (lambda: counters.add({"a": 1.0}, NOW), lambda: counters.replace({"a": 1.0}, NOW)):
        valkey.persist(keys[0])
        use()
        assert valkey.ttl(keys[0]) > 0
    valkey.persist(keys[0])
    counters.add({"a": 1.0}, NOW + 1000 * HALF_LIFE_S)  # moves the landmark
    assert valkey.ttl(keys[0]) > 0


@pytest.mark.parametrize("content_id", ["'; DROP", "漢", " ", "a b\r\n", "%s"])
def test_any_id_is_only_a_string(counters: ValkeyPopularity, content_id: str) -> None:
    counters.add({content_id: 1.0}, NOW)
    assert counters.read(NOW) == {content_id: 1.0}


@pytest.mark.usefixtures("clean_tables")
def test_counters_fed_event_by_event_equal_the_count_from_the_log(
    counters: ValkeyPopularity, sql: ConnectionPool
) -> None:
    log = PostgresEventLog(sql)
    for number in range(30):
        at = NOW + 7.0 * number
        user = f"user-{number}"
        event = Interaction(f"{number}", user, f"title-{number % 4}", InteractionType.LIKE, at)
        log.append(user, [event], lambda before, new: b"")
        counters.add({event.content_id: 1.0}, at)
    end = NOW + 300.0
    assert counters.read(end) == pytest.approx(log.popularity(0.0, HALF_LIFE_S, end), rel=1e-9)


def test_a_dead_server_is_unavailable(counters: ValkeyPopularity, valkey_server: ValkeyServer) -> None:
    valkey_server.kill()
    try:
        for attempt in (
            lambda: counters.read(NOW),
            lambda: counters.add({"a": 1.0}, NOW),
            lambda: counters.replace({"a": 1.0}, NOW),
        ):
            with pytest.raises(StoreUnavailable):
                attempt()
    finally:
        valkey_server.start()
    assert counters.read(NOW) == {}
