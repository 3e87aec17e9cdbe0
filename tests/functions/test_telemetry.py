"""What is measured, traced and logged, on real requests; and that nothing is while nobody has asked."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from function_client import Function, serving
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core import telemetry
from core.api.routes import RECOMMEND_ROUTES
from core.config import StoreSettings
from core.errors import ConfigurationError
from core.flows.services import Services
from core.wiring import services_for

RECOMMENDATIONS = "/api/v1/recommendations"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def metrics(spans: InMemorySpanExporter) -> Iterator[InMemoryMetricReader]:
    reader, traces = InMemoryMetricReader(), TracerProvider()
    traces.add_span_processor(SimpleSpanProcessor(spans))
    telemetry.export_with(traces, MeterProvider([reader]))
    yield reader
    telemetry.export_with(None, None)


def points(reader: InMemoryMetricReader, name: str) -> list[dict[str, Any]]:
    data = json.loads(reader.get_metrics_data().to_json())
    found = [m for r in data["resource_metrics"] for s in r["scope_metrics"] for m in s["metrics"] if m["name"] == name]
    return [point for metric in found for point in metric["data"]["data_points"]]


def test_a_request_is_measured_as_a_whole_and_by_strategy(
    recommend: Function, metrics: InMemoryMetricReader, spans: InMemorySpanExporter, user: str
) -> None:
    recommend.ask(RECOMMENDATIONS, {}, user)
    recommend.post("/nowhere/42", {})
    durations = {
        (p["attributes"]["path"], p["attributes"]["status"]): p["count"]
        for p in points(metrics, "sona.request.duration")
    }
    assert durations == {(RECOMMENDATIONS, "200"): 1, ("other", "404"): 1}
    strategies = {point["attributes"]["strategy"] for point in points(metrics, "sona.strategy.duration")}
    assert {"context", "cold_start"} <= strategies
    assert [span.name for span in spans.get_finished_spans()] == ["answer_recommend"]
    assert user not in str([span.to_json() for span in spans.get_finished_spans()])


def test_what_is_degraded_is_counted_by_name(deployment: Services, metrics: InMemoryMetricReader, user: str) -> None:
    stores: StoreSettings = replace(deployment.settings.stores, redis_url="redis://127.0.0.1:9/0")
    away = services_for(replace(deployment.settings, stores=stores))
    serving(RECOMMEND_ROUTES, away).ask(RECOMMENDATIONS, {}, user)
    counted = {point["attributes"]["part"]: point["value"] for point in points(metrics, "sona.degraded")}
    assert counted["hot_store"] == 1


def test_events_are_counted_by_what_became_of_them(push: Any, metrics: InMemoryMetricReader, user: str) -> None:
    like = {"event_id": "e", "content_id": "title-01", "type": "like"}
    push(user, like, {"type": "?"})
    push(user, like)
    counted = {point["attributes"]["outcome"]: point["value"] for point in points(metrics, "sona.events")}
    assert counted == {"stored": 1, "known": 1, "rejected": 1}


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "header", [{"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, {"X_Cloud_Trace_Context": f"{TRACE}/1;o=1"}]
)
def test_a_decision_is_logged_with_the_callers_trace_and_without_the_user(
    deployment: Services, capsys: pytest.CaptureFixture[str], user: str, header: dict[str, str]
) -> None:
    told = replace(deployment.settings.telemetry, decisions=True)
    own = replace(deployment, settings=replace(deployment.settings, telemetry=told))
    answer = serving(RECOMMEND_ROUTES, own).post(RECOMMENDATIONS, {"limit": 3}, user, **header).get_json()
    [line] = [
        entry for entry in map(json.loads, capsys.readouterr().out.splitlines()) if entry["message"] == "decision"
    ]
    assert line["request_id"] == answer["request_id"]
    assert (line["snapshot"], line["titles"], line["degraded"]) == (answer["snapshot"], 3, [])
    assert line[telemetry.TRACE_FIELD] == f"projects/sona-local/traces/{TRACE}"
    assert user not in json.dumps(line)


def test_a_made_up_trace_reaches_no_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    with telemetry.correlated('x"}\n{', "y", "p"):
        telemetry.logger("test").info("said")
    assert telemetry.TRACE_FIELD not in capsys.readouterr().out


def test_switched_off_nothing_of_opentelemetry_is_imported_for_it() -> None:
    program = "import sys; from core import telemetry; telemetry.count('a'); telemetry.measure('b', 1.0)\n"
    program += "with telemetry.span('c'): print(any(name.startswith('opentelemetry') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert telemetry.start_exporting("", "", 1.0) is None


@pytest.mark.parametrize(("exporter", "endpoint"), [("carrier pigeon", "x"), ("otlp", "")])
def test_an_exporter_that_cannot_be_is_a_configuration_error(exporter: str, endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        telemetry.start_exporting(exporter, endpoint, 1.0)
