"""What hangs costs one request its timeout, once; then everybody is answered at once, by what is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from function_client import Function, serving

from core.api.routes import COLLECT_ROUTES, RECOMMEND_ROUTES
from core.flows.services import Services
from core.local.broker.server import BrokerServer
from core.local.gcs_server import GcsServer
from core.local.postgres_server import PostgresServer
from core.local.process import Server
from core.local.valkey_server import ValkeyServer
from core.stores.breaker import LONGEST_REST_S
from core.wiring import services_for

RECOMMENDATIONS, INTERACTIONS = "/api/v1/recommendations", "/api/v1/interactions"
AT_ONCE_S = 0.15  # most answers take a few milliseconds...
BUSY_S = 0.5  # ...and one may be held up, because this machine is busy


@pytest.fixture
def instance(deployment: Services) -> Function:
    """An instance of its own, whose stores have all answered once."""
    settings = replace(deployment.settings, limits=replace(deployment.settings.limits, read_burst=10_000))
    fresh = serving({**RECOMMEND_ROUTES, **COLLECT_ROUTES}, services_for(settings))
    fresh.ask(RECOMMENDATIONS, {"limit": 5}, "somebody new")
    fresh.ask(INTERACTIONS, {"content_id": "title-01", "type": "like"}, "somebody new")
    return fresh


@contextmanager
def paused(server: Server) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = call()
    return time.perf_counter() - began, answer


def test_a_hung_hot_store_costs_one_timeout(
    instance: Function, push: Callable[..., Any], user: str, valkey_server: ValkeyServer, deployment: Services
) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    timeout_s = deployment.settings.stores.redis_timeout_s
    with paused(valkey_server):
        first_s, answer = timed(lambda: instance.ask(RECOMMENDATIONS, {"limit": 40}, user))
        assert first_s < timeout_s + BUSY_S
        assert "hot_store" in answer["degraded"]
        assert "title-07" not in [row["content_id"] for row in answer["recommendations"]]  # from the cold store
        took = sorted(timed(lambda: instance.ask(RECOMMENDATIONS, {}, user))[0] for _ in range(20))
        assert took[10] < AT_ONCE_S
        assert took[-1] < timeout_s + BUSY_S  # at most the one that looks whether it is back


def test_a_hung_cold_store_costs_one_timeout_and_known_viewers_nothing(
    instance: Function, push: Callable[..., Any], user: str, postgres_server: PostgresServer, deployment: Services
) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    instance.ask(RECOMMENDATIONS, {}, user)  # an adapter's absence is remembered in the hot store
    timeout_s = deployment.settings.stores.sql_prompt_timeout_s
    with paused(postgres_server):
        known_s, answer = timed(lambda: instance.ask(RECOMMENDATIONS, {}, user))
        assert known_s < BUSY_S
        assert answer["degraded"] == []
        strangers = iter(f"{user}-{number}" for number in range(100))
        first_s, answer = timed(lambda: instance.ask(RECOMMENDATIONS, {"limit": 5}, next(strangers)))
        assert first_s < timeout_s + BUSY_S
        assert "user_state" in answer["degraded"]
        assert len(answer["recommendations"]) == 5  # what is popular
        took = [timed(lambda: instance.ask(RECOMMENDATIONS, {}, next(strangers)))[0] for _ in range(20)]
        assert max(took) < BUSY_S
    time.sleep(LONGEST_REST_S)
    assert instance.ask(RECOMMENDATIONS, {}, next(strangers))["degraded"] == []


def test_with_everything_hung_popularity_is_left_and_costs_the_timeouts_once(
    instance: Function, user: str, postgres_server: PostgresServer, valkey_server: ValkeyServer, deployment: Services
) -> None:
    stores = deployment.settings.stores
    with paused(postgres_server), paused(valkey_server):
        first_s, answer = timed(lambda: instance.ask(RECOMMENDATIONS, {"limit": 10}, user))
        assert first_s < stores.redis_timeout_s + stores.sql_prompt_timeout_s + BUSY_S
        assert "user_state" in answer["degraded"]
        assert len(answer["recommendations"]) == 10
        took = sorted(timed(lambda: instance.ask(RECOMMENDATIONS, {}, user))[0] for _ in range(20))
        assert took[10] < AT_ONCE_S
        assert took[-1] < stores.redis_timeout_s + BUSY_S  # the one that looks whether a store is back


def test_a_hung_broker_costs_one_timeout_and_is_then_refused_at_once(
    instance: Function, user: str, pubsub_server: BrokerServer, deployment: Services
) -> None:
    like = {"content_id": "title-01", "type": "like"}
    with paused(pubsub_server):
        first_s, answer = timed(lambda: instance.post(INTERACTIONS, like, user))
        assert answer.status_code == 503
        assert first_s < deployment.settings.stores.publish_timeout_s + BUSY_S
        took = [timed(lambda: instance.post(INTERACTIONS, like, user)) for _ in range(10)]
        assert {answer.status_code for _, answer in took} == {503}
        assert max(seconds for seconds, _ in took) < BUSY_S
        assert timed(lambda: instance.ask(RECOMMENDATIONS, {}, user))[0] < BUSY_S  # impressions wait for nobody
    time.sleep(LONGEST_REST_S)
    assert instance.post(INTERACTIONS, like, user).status_code == 202


def test_a_hung_bucket_costs_one_look_and_the_snapshot_in_hand_serves(
    deployment: Services, user: str, gcs_server: GcsServer, tmp_path: Any
) -> None:
    eager = replace(deployment.settings, snapshot_max_age_s=0.2, cache_dir=str(tmp_path))
    instance = serving(RECOMMEND_ROUTES, services_for(eager))
    instance.ask(RECOMMENDATIONS, {}, user)
    time.sleep(0.3)
    with paused(gcs_server):
        first_s, answer = timed(lambda: instance.ask(RECOMMENDATIONS, {}, user))
        assert first_s < 2.0 + 1.0 + BUSY_S  # core.stores.gcs: silence, and once more
        assert "snapshot" in answer["degraded"]
        time.sleep(0.3)
        assert timed(lambda: instance.ask(RECOMMENDATIONS, {}, user))[0] < BUSY_S


@pytest.mark.parametrize("fusion", ["logs", "rrf", "scores"])
def test_when_every_strategy_is_late_what_is_popular_is_shown(deployment: Services, user: str, fusion: str) -> None:
    """A machine that stands still for a moment must not show anybody an empty page."""
    ranking = replace(deployment.settings.ranking, strategy_deadline_ms=-1.0, fusion=fusion)
    late = serving(RECOMMEND_ROUTES, replace(deployment, settings=replace(deployment.settings, ranking=ranking)))
    answer = late.ask(RECOMMENDATIONS, {"limit": 10}, user)
    assert len(answer["recommendations"]) == 10
    assert {"collaborative", "content"} <= set(answer["degraded"])
