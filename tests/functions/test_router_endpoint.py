"""The router's function through its real entry point: routes, entities, models, feedback, statistics, refusals."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from function_client import Function

from core.embedding.encoder import Encoder
from core.embedding.model_store import publish_model
from core.flows.services import Services
from core.routing.routes import CLASSES
from core.stores.gcs import ensure_bucket


@pytest.fixture(scope="module")
def router(deployment: Services, function: Callable[[str], Function], encoder_folder: Path) -> Iterator[Function]:
    """The function in a deployment whose bucket holds the encoder."""
    ensure_bucket(deployment.settings.stores)
    publish_model(deployment.models, encoder_folder)
    return function("router")


def test_a_query_gets_its_route_its_handler_and_what_it_names(router: Function) -> None:
    answer = router.ask("/api/v1/router/route", {"query_text": "something like Title 12 on kinoplus"})
    assert answer["route_name"] == "gnn_similarity"
    assert answer["handler_endpoint"] == "/api/v1/recommendations/similar"
    assert 0.5 < answer["confidence"] <= 1
    assert answer["estimated_latency_ms"] > 0
    assert answer["routes"][0]["route_name"] == "gnn_similarity"
    assert {entry["route_name"] for entry in answer["routes"]} >= {"gnn_similarity", "availability_check"}
    assert answer["entities"]["titles"] == [{"mention": "title 12", "content_ids": ["title-12"]}]
    assert answer["entities"]["services"] == ["kinoplus"]
    assert answer["degraded"] == []


def test_what_is_no_query_for_titles_has_no_handler(router: Function) -> None:
    answer = router.ask("/api/v1/router/route", {"query_text": "set an alarm for seven in the morning"})
    assert (answer["route_name"], answer["handler_endpoint"], answer["routes"]) == ("out_of_domain", "", [])


def test_an_embedding_alone_is_routed(router: Function, encoder_folder: Path) -> None:
    embedding = Encoder.open(encoder_folder).embed(["what is new this week"])[0]
    answer = router.ask("/api/v1/router/route", {"query_embedding": embedding.astype(float).tolist()})
    assert answer["route_name"] == "catalog_freshness"
    assert answer["entities"]["titles"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query_text": ""},
        {"query_text": 7},
        {"query_embedding": [0.1, 0.2]},
        {"query_embedding": []},
        {"query_text": "new films", "unknown": 1},
    ],
)
def test_a_query_that_cannot_be_read_is_refused(router: Function, body: dict) -> None:
    answer = router.post("/api/v1/router/route", body)
    assert answer.status_code == 422
    assert answer.get_json()["error"] == "invalid_input"


def test_a_model_is_chosen_within_the_budget(router: Function) -> None:
    rich = router.ask("/api/v1/router/select-model", {"route_name": "vector_search", "complexity_score": 1.0})
    poor = router.ask(
        "/api/v1/router/select-model",
        {"route_name": "vector_search", "complexity_score": 1.0, "budget_remaining": 0.001},
    )
    broke = router.ask("/api/v1/router/select-model", {"route_name": "vector_search", "budget_remaining": 0})
    assert (rich["model_id"], poor["model_id"]) == ("large", "small")
    assert poor["estimated_cost"] <= 0.001
    assert rich["expected_accuracy"] > poor["expected_accuracy"]
    assert (broke["model_id"], broke["within_budget"]) == ("nano", False)
    assert router.post("/api/v1/router/select-model", {"route_name": "out_of_domain"}).status_code == 422


def test_feedback_of_a_service_changes_the_choice_of_its_route(router: Function) -> None:
    body = {
        "route_name": "mood_matching",
        "model_id": "large",
        "success": False,
        "latency_ms": 4000,
        "complexity_score": 1,
    }
    assert router.post("/api/v1/router/feedback", body).status_code == 403
    for _ in range(20):
        assert router.post("/api/v1/router/feedback", body, roles=("service",)).status_code == 202
    ask = {"route_name": "mood_matching", "complexity_score": 1}
    judged = router.ask("/api/v1/router/stats", {})["models"]
    assert [(entry["model_id"], entry["answers"], entry["accuracy"]) for entry in judged] == [("large", 20, 0.0)]
    assert router.ask("/api/v1/router/select-model", ask)["model_id"] == "medium"
    ask["route_name"] = "vector_search"
    assert router.ask("/api/v1/router/select-model", ask)["model_id"] == "large"


def test_statistics_count_every_decision(router: Function) -> None:
    before = {entry["route_name"]: entry["queries"] for entry in router.ask("/api/v1/router/stats", {})["routes"]}
    for _ in range(3):
        router.ask("/api/v1/router/route", {"query_text": "where can i watch title 3"})
    after = router.ask("/api/v1/router/stats", {})
    counted = {entry["route_name"]: entry["queries"] for entry in after["routes"]}
    assert list(counted) == list(CLASSES)
    assert counted["availability_check"] == before["availability_check"] + 3
    assert sum(counted.values()) == after["queries"]
    assert sum(entry["share"] for entry in after["routes"]) == pytest.approx(1, abs=1e-4)
    assert after["since"] is not None


def test_health_names_the_encoder(router: Function) -> None:
    answer = router.client.get("/health").get_json()
    assert answer["service"] == "router"
    assert answer["encoder"].startswith("all-minilm")


def test_a_token_is_needed(router: Function) -> None:
    assert router.post("/api/v1/router/route", {"query_text": "new films"}, user=None).status_code == 401
