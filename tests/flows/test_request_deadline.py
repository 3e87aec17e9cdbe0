"""A store that hangs holds an answer no longer than the request may last, and the answer says what it is missing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.catalog import Title
from core.config import Settings, StoreSettings
from core.errors import StoreUnavailable
from core.flows.recommend import recommend
from core.flows.score import score
from core.flows.services import Services
from core.local.postgres_server import PostgresServer
from core.local.process import Server
from core.local.valkey_server import ValkeyServer
from core.ranking.query import Query
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.publish import activate, publish
from core.stores.breaker import Breaker
from core.stores.deadline import remaining_s, within
from core.stores.gcs import ensure_bucket
from core.wiring import services_for

DEADLINE_S = 0.8
MARGIN_S = 1.2  # the last wait may begin just before the end, and the machine may be busy
PATIENCE_S = 10.0  # of the database's own timeouts: without the deadline, every call would wait so long
TITLES = [Title(f"title-{number}", f"Title {number}", "movie", 2000, genres=("drama",)) for number in range(12)]


@pytest.fixture
def serving(
    postgres_dsn: str, valkey_url: str, gcs_endpoint: str, pubsub_endpoint: str, tmp_path: Path, user: str
) -> Services:
    """An instance that has answered once: it is connected, and its shared memories are fresh."""
    stores = StoreSettings(
        sql_dsn=postgres_dsn,
        sql_timeout_s=PATIENCE_S,
        sql_prompt_timeout_s=PATIENCE_S,
        redis_url=valkey_url,
        storage_endpoint=gcs_endpoint,
        pubsub_endpoint=pubsub_endpoint,
        snapshots_bucket=f"snapshots-{user}",
    )
    settings = Settings(
        "laptop", cache_dir=str(tmp_path / "cache"), request_deadline_s=DEADLINE_S, impressions=False, stores=stores
    )
    ensure_bucket(stores)
    services, now = services_for(settings), time.time()
    activate(
        services.bucket, publish(build(TITLES, collect_interactions([]), now, tmp_path / "built"), services.bucket)
    )
    recommend(services, Query(user), now)
    return services


@contextmanager
def hanging(*servers: Server) -> Iterator[None]:
    for server in servers:
        server.pause()
    try:
        yield
    finally:
        for server in servers:
            server.resume()


def timed(call: Callable[[], tuple[str, ...]]) -> tuple[tuple[str, ...], float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def test_a_database_that_hangs_is_given_up_on_and_the_viewer_is_a_cold_start(
    serving: Services, postgres_server: PostgresServer, user: str
) -> None:
    stranger = Query(f"stranger-of-{user}")  # of whom no copy is hot
    with hanging(postgres_server):
        degraded, spent_s = timed(lambda: recommend(serving, stranger, time.time()).degraded)
        again, at_once_s = timed(lambda: recommend(serving, stranger, time.time()).degraded)
    assert "user_state" in degraded
    assert DEADLINE_S / 2 < spent_s < DEADLINE_S + MARGIN_S
    assert "user_state" in again
    assert at_once_s < DEADLINE_S / 2, "the breaker remembers"


def test_a_hot_store_that_hangs_costs_its_timeout_and_is_named(
    serving: Services, valkey_server: ValkeyServer, user: str
) -> None:
    with hanging(valkey_server):
        degraded, spent_s = timed(lambda: recommend(serving, Query(user), time.time()).degraded)
    assert "hot_store" in degraded
    assert spent_s < DEADLINE_S + MARGIN_S


def test_both_stores_may_hang_and_the_answer_still_comes_in_time(
    serving: Services, postgres_server: PostgresServer, valkey_server: ValkeyServer, user: str
) -> None:
    much_later = time.time() + 3600  # everything that is kept for a while is read anew
    with hanging(postgres_server, valkey_server):
        answer, spent_s = timed(lambda: recommend(serving, Query(user), much_later).degraded)
        scored, score_s = timed(lambda: score(serving, Query(user), ("title-1",), much_later + 60)[1])
    assert {"user_state", "popularity"} <= set(answer)
    assert "user_state" in scored
    assert max(spent_s, score_s) < DEADLINE_S + MARGIN_S


def test_a_request_whose_time_is_up_asks_no_store_any_more() -> None:
    asked: list[int] = []
    with within(0.0), pytest.raises(StoreUnavailable, match="time of the request"):
        Breaker("cold_store").call(asked.append, 1)
    assert asked == []
    with within(0.0):
        Breaker("bucket", patient=True).call(asked.append, 1)
    assert asked == [1], "what takes longer than a request may, and serves all later ones, is fetched all the same"


def test_a_longer_time_within_a_shorter_one_changes_nothing() -> None:
    with within(0.1):
        with within(10.0):
            assert 0.0 < remaining_s() <= 0.1
        with within(0.01):
            assert remaining_s() <= 0.01
        assert 0.01 < remaining_s() <= 0.1
    assert remaining_s() == float("inf")
