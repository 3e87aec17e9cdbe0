"""The online metrics from real answers: shown by one function, reacted to through another, told by a third."""

import csv
import io
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from function_client import Function, Published, envelope, serving
from typer.testing import CliRunner

from core.api.routes import RECOMMEND_ROUTES
from core.flows.services import Services
from core.interaction import Interaction
from core.local.metrics_command import metrics_command

METRICS = "/api/v1/metrics"
ADMIN = ("admin",)


@pytest.fixture
def experiments(function: Any) -> Function:
    return function("experiments")


@pytest.fixture
def watched(ingest: Function, deployment: Services, push: Any, user: str) -> dict[str, Any]:
    """An answer whose impressions have arrived, and whose first title was liked."""
    sent = Published()
    recommend = serving(RECOMMEND_ROUTES, replace(deployment, publisher=sent))
    answer = recommend.ask("/api/v1/recommendations", {"limit": 5}, user)
    for number, data in enumerate(sent.messages):
        assert ingest.post("/push/ingest", envelope(data, f"{user}-i{number}"), None).status_code == 200
    first = {"content_id": answer["recommendations"][0]["content_id"], "request_id": answer["request_id"]}
    push(user, {"event_id": "l", "type": "like", "timestamp": time.time(), **first})
    return answer


def test_an_answers_impressions_say_place_strategy_and_time(
    watched: dict[str, Any], deployment: Services, user: str
) -> None:
    events = [item.event for item in deployment.log.events(user)]
    shown = [event for event in events if isinstance(event, Interaction) and event.type == "impression"]
    told = [(one["content_id"], one["recommendation_type"]) for one in watched["recommendations"]]
    assert [(event.content_id, event.strategy) for event in shown] == told
    assert [event.position for event in shown] == list(range(5))
    assert all(event.latency_ms is not None and 0 < event.latency_ms < 1000 for event in shown)
    assert {event.request_id for event in shown} == {watched["request_id"]}


def test_administrators_get_the_metrics_and_nobody_else(watched: dict[str, Any], experiments: Function) -> None:
    assert experiments.post(METRICS, {"since": "2026-01-01T00:00:00Z"}).status_code == 403
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    answer = experiments.post(METRICS, {"since": since}, roles=ADMIN)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    [every] = [one for one in answer.get_json()["metrics"] if (one["by"], one["day"]) == ("all", "")]
    assert every["impressions"] >= 5
    assert 0 < every["precision_at_1"] <= 1
    assert 0 < every["ctr"] <= every["precision_at_1"]
    strategies = {one["name"]: one for one in answer.get_json()["metrics"] if one["by"] == "strategy"}
    assert {one["recommendation_type"] for one in watched["recommendations"]} <= set(strategies)
    assert all(one["latency_p95_ms"] > 0 for one in strategies.values())


def test_a_period_that_ends_before_it_begins_is_refused(experiments: Function) -> None:
    body = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    assert experiments.post(METRICS, body, roles=ADMIN).status_code == 422


def test_the_command_prints_the_same_in_every_form(watched: dict[str, Any], deployment: Services) -> None:
    import typer

    app = typer.Typer()
    app.command()(metrics_command(lambda home: deployment.settings))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["--since", "1h", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    rows = json.loads(run("--format", "json"))["metrics"]
    table = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [one["name"] for one in table] == [one["name"] for one in rows]
    assert float(table[0]["ctr"]) == pytest.approx(rows[0]["ctr"])
    assert f'sona_online_ctr{{by="all",name=""}} {rows[0]["ctr"]:g}\n' in run("--format", "prometheus")
    assert "strategy" in run()
    assert CliRunner().invoke(app, ["--since", "soon"]).exit_code == 1
