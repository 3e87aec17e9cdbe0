"""Every call that cannot be answered gets its status, a code and a reason; what is broken on our side is a 503."""

import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import jwt
import pytest
from function_client import SECRET, Function, envelope, serving
from werkzeug.test import TestResponse

from core.api.routes import COLLECT_ROUTES, INGEST_ROUTES, PROBE_AGAIN_S, PROFILE_ROUTES, RECOMMEND_ROUTES
from core.config import StoreSettings
from core.flows.services import Services
from core.stores.gcs import ensure_bucket
from core.stores.postgres.connect import ConnectionPool
from core.stores.pseudonyms import pseudonyms
from core.stores.valkey import ValkeyHotStates, client
from core.wiring import services_for

RECOMMENDATIONS = "/api/v1/recommendations"
SIMILAR = "/api/v1/recommendations/similar"
SCORE = "/api/v1/personalization/score"
INTERACTIONS = "/api/v1/interactions"
LIKE = {"content_id": "title-01", "type": "like"}


def assert_problem(answer: TestResponse, status: int, error: str) -> dict[str, Any]:
    body = answer.get_json()
    assert (answer.status_code, body["error"]) == (status, error), body
    assert answer.content_type == "application/json"
    assert isinstance(body["message"], str)
    assert set(body) <= {"error", "message", "details"}
    return dict(body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"limit": NaN}', b'{"diversity_threshold": Infinity}', b"[1,]"])
def test_what_is_not_json_is_a_400(recommend: Function, body: bytes) -> None:
    assert_problem(recommend.post(RECOMMENDATIONS, body), 400, "invalid_json")


def test_a_call_without_a_valid_token_is_a_401_that_says_how(recommend: Function) -> None:
    claims = {"iss": "sona-local", "aud": "sona", "sub": "ann", "exp": time.time() + 60}
    tokens = {
        "none": jwt.encode(claims, None, "none"),
        "wrong key": jwt.encode(claims, "x" * 32, "HS256"),
        "expired": jwt.encode(claims | {"exp": time.time() - 60}, SECRET, "HS256"),
    }
    for headers in ({}, *({"Authorization": f"Bearer {token}"} for token in tokens.values())):
        answer = recommend.post(RECOMMENDATIONS, {}, None, **headers)
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("recommend", RECOMMENDATIONS, {}),
        ("recommend", SCORE, {"content_id": "title-01"}),
        ("collect", INTERACTIONS, LIKE),
        ("collect", INTERACTIONS, {"interactions": [LIKE]}),
        ("profiles", "/api/v1/profile/onboarding", {"genres": ["drama"]}),
        (
            "profiles",
            "/api/v1/profile/update",
            {"viewing_events": [{"content_id": "a", "timestamp": "2025-01-01T00:00:00Z", "completion_rate": 1}]},
        ),
    ],
)
def test_another_users_id_is_a_403_unless_a_service_calls(
    function: Callable[[str], Function], name: str, path: str, body: dict[str, Any]
) -> None:
    named = body | {"user_id": "bob"}
    assert_problem(function(name).post(path, named, "ann"), 403, "forbidden")
    assert function(name).post(path, named, "bob").status_code in (200, 202)
    assert function(name).post(path, named, "batch", ("service",)).status_code in (200, 202)


def test_unknown_paths_and_titles_are_404(recommend: Function) -> None:
    assert_problem(recommend.post("/api/v1/nothing", {}), 404, "not_found")
    for path, body in ((SIMILAR, {"content_id": "no-such"}), (SCORE, {"content_ids": ["title-01", "no-such"]})):
        assert "no-such" in assert_problem(recommend.post(path, body), 404, "not_found")["message"]


def test_another_method_is_a_405_that_names_the_right_one(recommend: Function, collect: Function) -> None:
    for function, path in ((recommend, RECOMMENDATIONS), (collect, INTERACTIONS)):
        answer = function.client.get(path)
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "POST"
    assert recommend.client.delete("/health").headers["Allow"] == "GET"


def test_a_body_above_the_cap_is_a_413_announced_or_not(recommend: Function) -> None:
    body = b'{"exclude_ids": ["' + b"x" * 300_000 + b'"]}'
    assert_problem(recommend.post(RECOMMENDATIONS, body), 413, "payload_too_large")
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = recommend.client.post(
        RECOMMENDATIONS,
        input_stream=BytesIO(body),
        headers={"Authorization": f"Bearer {token()}", "Content-Type": "application/json"},
        environ_overrides=chunked,
    )
    assert_problem(answer, 413, "payload_too_large")


def token() -> str:
    claims = {"iss": "sona-local", "aud": "sona", "sub": "ann", "exp": time.time() + 60}
    return jwt.encode(claims, SECRET, "HS256")


def test_another_content_type_is_a_415(collect: Function) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert_problem(collect.post(INTERACTIONS, LIKE, Content_Type=kind), 415, "unsupported_media_type")
    assert collect.post(INTERACTIONS, LIKE, Content_Type="application/json; charset=utf-8").status_code == 202


def test_what_breaks_the_schema_is_a_422_that_names_the_field(recommend: Function, collect: Function) -> None:
    body = assert_problem(recommend.post(RECOMMENDATIONS, {"limit": 500, "colour": 1}), 422, "invalid_input")
    assert [item["field"] for item in body["details"]] == ["limit", "colour"]
    several = {"interactions": [LIKE, LIKE | {"progress": 2}]}
    body = assert_problem(collect.post(INTERACTIONS, several), 422, "invalid_input")
    assert body["details"][0]["field"] == "interactions.1.progress"
    assert "500" not in str(recommend.post(RECOMMENDATIONS, {"limit": 500}).get_json()["details"][0].get("input"))


def test_an_event_from_the_future_is_a_422_and_nothing_is_accepted(collect: Function) -> None:
    late = LIKE | {"timestamp": "2999-01-01T00:00:00Z"}
    answer = collect.post(INTERACTIONS, {"interactions": [LIKE, late]})
    assert "one day from now" in assert_problem(answer, 422, "invalid_input")["message"]


def cut_off(deployment: Services, **addresses: str) -> Function:
    """A client of all functions in an instance that cannot reach some of its stores."""
    stores: StoreSettings = replace(deployment.settings.stores, publish_timeout_s=0.3, **addresses)
    services = services_for(replace(deployment.settings, stores=stores))
    routes = {
        **RECOMMEND_ROUTES,
        **COLLECT_ROUTES,
        **PROFILE_ROUTES,
        "/health": RECOMMEND_ROUTES["/health"],
        "/push": INGEST_ROUTES["*"],
    }
    return serving(routes, services)


NOWHERE = "127.0.0.1:9"
NO_SQL = "host=127.0.0.1 port=9 dbname=none user=none"


def test_without_the_broker_nothing_is_accepted(deployment: Services) -> None:
    away = cut_off(deployment, pubsub_endpoint=NOWHERE)
    answer = away.post(INTERACTIONS, LIKE)
    assert "broker" in assert_problem(answer, 503, "unavailable")["message"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert_problem(away.post("/api/v1/profile/onboarding", {"genres": ["drama"]}), 503, "unavailable")
    assert len(away.ask(RECOMMENDATIONS, {"limit": 5})["recommendations"]) == 5


def test_without_the_event_log_a_message_is_not_acknowledged(deployment: Services) -> None:
    away = cut_off(deployment, sql_dsn=NO_SQL)
    delivery = envelope(b'{"user_id": "ann", "content_id": "title-01", "type": "like"}', "m")
    answer = away.post("/push", delivery, None)
    assert_problem(answer, 503, "unavailable")
    assert_problem(away.post("/push", envelope(b"poison", "m"), None), 503, "unavailable")


def test_without_the_hot_store_answers_are_right_and_say_so(deployment: Services, push: Any, user: str) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    away = cut_off(deployment, redis_url=f"redis://{NOWHERE}/0")
    answer = away.ask(RECOMMENDATIONS, {"limit": 30}, user)
    assert "hot_store" in answer["degraded"]
    assert "title-07" not in [row["content_id"] for row in answer["recommendations"]]


def test_without_any_state_store_the_answer_is_a_cold_start_that_says_so(deployment: Services) -> None:
    away = cut_off(deployment, redis_url=f"redis://{NOWHERE}/0", sql_dsn=NO_SQL)
    answer = away.ask(RECOMMENDATIONS, {"limit": 5})
    assert len(answer["recommendations"]) == 5
    assert "user_state" in answer["degraded"]


def test_without_a_snapshot_it_is_a_503_until_one_appears(deployment: Services, tmp_path: Any) -> None:
    stores = replace(deployment.settings.stores, snapshots_bucket=f"empty-{time.time_ns()}")
    ensure_bucket(stores)
    empty = services_for(replace(deployment.settings, stores=stores, cache_dir=str(tmp_path)))
    answer = serving(RECOMMEND_ROUTES, empty).post(RECOMMENDATIONS, {})
    assert_problem(answer, 503, "unavailable")
    assert "Retry-After" in answer.headers


def test_a_misconfiguration_is_a_503_that_tells_no_secrets(deployment: Services) -> None:
    auth = replace(deployment.settings.auth, local_secret_file="/nowhere/secret")
    services = replace(deployment, settings=replace(deployment.settings, auth=auth))
    answer = serving(RECOMMEND_ROUTES, services).post(RECOMMENDATIONS, {})
    assert "nowhere" not in assert_problem(answer, 503, "unavailable")["message"]


def test_pushes_are_refused_in_the_cloud_without_configuration(deployment: Services) -> None:
    services = replace(deployment, settings=replace(deployment.settings, edition="cloud"))
    delivery = envelope(b'{"user_id": "ann", "content_id": "title-01", "type": "like"}', "m")
    assert_problem(serving(INGEST_ROUTES, services).post("/push", delivery, None), 401, "unauthenticated")


@pytest.mark.parametrize("name", ["recommend", "collect", "profiles", "ingest"])
def test_every_function_tells_how_it_is_without_a_token(function: Callable[[str], Function], name: str) -> None:
    answer = function(name).client.get("/health")
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["status"], body["service"]) == ("ok", name)
    assert body["version"][0].isdigit()


def test_health_names_what_does_not_answer(deployment: Services) -> None:
    away = cut_off(deployment, sql_dsn=NO_SQL)
    body = away.client.get("/health").get_json()
    assert body["status"] == "degraded"
    assert (body["cold_store"], body["hot_store"]) == ("unavailable", "ok")
    assert body["snapshot"] not in ("unavailable", "")


class Asked:
    """Stores that answer what is small, and count how often they are asked."""

    def __init__(self) -> None:
        self.times = 0

    def load_state(self, user_id: str) -> None:
        self.times += 1

    def filled(self) -> bool:
        self.times += 1
        return False


def test_everybody_who_asks_for_health_together_asks_the_stores_once_and_for_little(deployment: Services) -> None:
    asked = Asked()
    instance = serving(RECOMMEND_ROUTES, replace(deployment, log=asked, popularity=asked))  # type: ignore[arg-type]
    answers = [instance.client.get("/health").get_json() for _ in range(5)]
    assert [answer["status"] for answer in answers] == ["ok"] * 5
    assert asked.times == 2
    time.sleep(PROBE_AGAIN_S)
    instance.client.get("/health")
    assert asked.times == 4


def test_a_corrupt_state_is_a_cold_start_that_says_so_until_the_next_event(
    deployment: Services, recommend: Function, push: Any, user: str, sql: ConnectionPool
) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    names = pseudonyms(deployment.settings.privacy.keys)
    ValkeyHotStates(client(deployment.settings.stores), 60, names).delete(user)
    answer = recommend.ask(RECOMMENDATIONS, {"limit": 5}, user)
    assert len(answer["recommendations"]) == 5
    assert answer["degraded"] == ["user_state"]
    push(user, {"content_id": "title-08", "type": "watch_complete"})
    answer = recommend.ask(RECOMMENDATIONS, {"limit": 40}, user)
    assert answer["degraded"] == []
    assert not {"title-07", "title-08"} & {row["content_id"] for row in answer["recommendations"]}
