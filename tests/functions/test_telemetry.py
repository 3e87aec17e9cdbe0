"""What is measured, traced and logged, on real requests; and that nothing is while nobody has asked."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from collector import collecting
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from function_client import Function, envelope, serving
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core import telemetry
from core.api.routes import RECOMMEND_ROUTES
from core.config import StoreSettings, TelemetrySettings
from core.errors import ConfigurationError
from core.exporting import POINTS_AT_ONCE, start_exporting
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
    *parts, whole = spans.get_finished_spans()
    assert whole.name == "answer_recommend"
    assert {part.name for part in parts} >= {"viewer", "rank", "impressions"}
    assert all(part.parent.span_id == whole.context.span_id for part in parts)
    stages = {point["attributes"]["stage"]: point["sum"] for point in points(metrics, "sona.stage.duration")}
    assert set(stages) == {part.name for part in parts}
    [whole_ms] = [p["sum"] for p in points(metrics, "sona.request.duration") if p["attributes"]["status"] == "200"]
    assert 0 < sum(stages.values()) < whole_ms
    assert user not in str([span.to_json() for span in spans.get_finished_spans()])


def test_answers_caches_and_the_snapshots_age_are_told(
    recommend: Function, push: Any, metrics: InMemoryMetricReader, user: str
) -> None:
    recommend.ask(RECOMMENDATIONS, {}, user)
    push(user, {"event_id": "e", "content_id": "title-01", "type": "like"})
    recommend.ask(RECOMMENDATIONS, {}, user)
    kinds = {point["attributes"]["kind"]: point["value"] for point in points(metrics, "sona.answers")}
    assert kinds == {"new_user": 1, "personal": 1}
    reads = {tuple(p["attributes"].values()): p["value"] for p in points(metrics, "sona.cache")}
    assert reads["states", "hit"] == 1  # ingest made the copy
    assert (reads["states", "miss"], reads["adapters", "miss"], reads["adapters", "hit"]) == (1, 1, 1)
    assert sum(point["value"] for point in points(metrics, "sona.patterns")) == 2
    [age] = points(metrics, "sona.snapshot.age")
    assert 0 <= age["value"] < 600


def test_feedback_says_what_viewers_made_of_what_they_were_shown(
    push: Any, metrics: InMemoryMetricReader, user: str
) -> None:
    shown = {"type": "impression", "content_id": "title-01", "request_id": "r"}
    like = {"type": "like", "content_id": "title-01", "request_id": "r"}
    skip = {"type": "skip_content", "content_id": "title-02"}
    for number, event in enumerate((shown, like, skip)):
        push(user, {"event_id": str(number), **event})
    push(user, {"event_id": "1", **like})  # once more: it is known
    counted = {tuple(p["attributes"].values()): p["value"] for p in points(metrics, "sona.feedback")}
    assert counted == {("shown", "yes"): 1, ("positive", "yes"): 1, ("negative", "no"): 1}


def test_the_age_of_messages_is_measured_from_their_publication(
    ingest: Function, metrics: InMemoryMetricReader, user: str
) -> None:
    delivery = envelope(json.dumps({"user_id": user, "events": []}).encode(), "m")
    delivery["message"]["publishTime"] = datetime.fromtimestamp(time.time() - 90, UTC).isoformat()
    assert ingest.post("/push/ingest", delivery, None).status_code == 200
    [point] = points(metrics, "sona.queue.age")
    assert (point["attributes"], point["count"]) == ({"queue": "interactions"}, 1)
    assert 90 <= point["sum"] < 100


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
    assert (line["snapshot"], line["route"], line["degraded"]) == (answer["snapshot"], "", [])
    assert line["titles"] == {one["content_id"]: one["score_parts"] for one in answer["recommendations"]}
    assert line["weights"] == pytest.approx(answer["weights"], abs=1e-4)
    assert line[telemetry.TRACE_FIELD] == f"projects/sona-local/traces/{TRACE}"
    assert user not in json.dumps(line)


def test_a_made_up_trace_reaches_no_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    with telemetry.correlated('x"}\n{', "y"):
        telemetry.logger("test").info("said")
    assert telemetry.TRACE_FIELD not in capsys.readouterr().out


def test_switched_off_nothing_of_opentelemetry_is_imported_for_it() -> None:
    program = "import sys; from core import telemetry; telemetry.count('a'); telemetry.measure('b', 1.0)\n"
    program += "with telemetry.span('c'), telemetry.stage('d'):\n"
    program += "    print(any(name.startswith('opentelemetry') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert start_exporting(TelemetrySettings(), "project") is None


@pytest.mark.parametrize(
    "told", [TelemetrySettings(exporter="carrier pigeon", endpoint="x"), TelemetrySettings(exporter="otlp")]
)
def test_an_exporter_that_cannot_be_is_a_configuration_error(told: TelemetrySettings) -> None:
    with pytest.raises(ConfigurationError):
        start_exporting(told, "project")


def test_everything_arrives_at_a_collector_by_its_name_and_without_users(
    recommend: Function, push: Any, capsys: pytest.CaptureFixture[str], user: str
) -> None:
    with collecting() as collector:
        told = TelemetrySettings(exporter="otlp", endpoint=collector.url, trace_share=1.0, service="sona-recommend")
        end = start_exporting(told, "sona-local")
        assert end is not None
        try:
            push(user, {"event_id": "e", "content_id": "title-01", "type": "like"})
            for sampled in ("01", "00"):
                parent = f"00-{TRACE}-b7ad6b7169203331-{sampled}"
                recommend.post(RECOMMENDATIONS, {"limit": 3}, user, traceparent=parent)
        finally:
            end()
    assert collector.names() >= {
        "sona.request.duration", "sona.stage.duration", "sona.strategy.duration", "sona.cache", "sona.answers",
        "sona.patterns", "sona.feedback", "sona.events", "sona.queue.age", "sona.snapshot.age",
    }  # fmt: skip
    assert collector.names() <= set(telemetry.METRICS)
    for name in collector.names():
        for attributes, _ in collector.points(name):
            assert set(attributes) == set(telemetry.METRICS[name].attributes), name
    requests = {tuple(labels.values()): point for labels, point in collector.points("sona.request.duration")}
    point = requests[RECOMMENDATIONS, "200"]
    assert point.count == 2
    assert tuple(point.explicit_bounds) == telemetry.METRICS["sona.request.duration"].buckets
    [resource] = {tuple(sorted(resource.items())) for resource in collector.resources()}
    assert ("service.name", "sona-recommend") in resource
    [whole] = [span for span in collector.spans() if span.name == "answer_recommend"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")  # the other: not sampled
    assert {span.name for span in collector.spans() if span.parent_span_id == whole.span_id} >= {"viewer", "rank"}
    assert user not in collector.everything()
    assert user not in capsys.readouterr().out


def test_lines_within_a_span_name_it(spans: InMemorySpanExporter, metrics: Any, capsys: Any) -> None:
    telemetry.configure(project="my-project")
    with telemetry.span("work"):
        telemetry.logger("test").info("said")
    [span] = spans.get_finished_spans()
    line = json.loads(capsys.readouterr().out)
    assert line[telemetry.TRACE_FIELD] == f"projects/my-project/traces/{span.context.trace_id:032x}"
    assert line[telemetry.SPAN_FIELD] == f"{span.context.span_id:016x}"
    assert line[telemetry.SAMPLED_FIELD] is True


def test_google_gets_project_region_and_the_workloads_own_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with collecting(token="issued") as collector:
        account = {"type": "service_account", "client_email": "sona-fn-recommend@p.iam.gserviceaccount.com"}
        account |= {"private_key": pem, "token_uri": f"{collector.url}/token", "project_id": "p"}
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
        told = TelemetrySettings(exporter="google", endpoint=collector.url, region="europe-west1")
        end = start_exporting(told, "my-project")
        assert end is not None
        telemetry.count("sona.bugs", path="other")
        end()
    assert set(collector.authorized) == {"Bearer issued"}
    [resource] = collector.resources()
    assert resource["service.instance.id"]
    assert (resource["gcp.project_id"], resource["cloud.region"]) == ("my-project", "europe-west1")
    assert [(labels, point.as_int) for labels, point in collector.points("sona.bugs")] == [({"path": "other"}, 1)]


def test_more_series_than_one_request_may_have_are_sent_in_several() -> None:
    with collecting() as collector:
        end = start_exporting(TelemetrySettings(exporter="otlp", endpoint=collector.url), "p")
        assert end is not None
        for number in range(2 * POINTS_AT_ONCE + 1):
            telemetry.count("sona.degraded", part=f"part-{number}")
        end()
    sizes = [
        sum(len(m.sum.data_points) for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics)
        for q in collector.metrics
    ]
    assert sizes == [POINTS_AT_ONCE, POINTS_AT_ONCE, 1]
