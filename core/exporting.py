"""Sending what is measured and traced to a collector, or to Google's Telemetry API: OTLP over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from core.config import TelemetrySettings
from core.errors import ConfigurationError
from core.telemetry import export_with

POINTS_AT_ONCE = 200  # that Google's Telemetry API takes in one request


def start_exporting(told: TelemetrySettings, project: str) -> Callable[[], None] | None:
    """Export as configured; returns what sends the rest at the end, None if nothing is exported.

    Measurements are sums since the start of the process, so an export that failed loses nothing. A thread sends them;
    where an instance is throttled between requests, it goes on with the next one. Raises ConfigurationError for what
    cannot be.
    """
    if not told.exporter:
        return None
    if told.exporter not in ("otlp", "google"):
        raise ConfigurationError("SONA_TELEMETRY_EXPORTER is otlp, google or nothing")
    if not told.endpoint:
        raise ConfigurationError("SONA_TELEMETRY_EXPORTER needs SONA_TELEMETRY_ENDPOINT")
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource, session = Resource.create(_resource(told, project)), _session(told)
    traces = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(told.trace_share)))
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{told.endpoint}/v1/traces", session=session)))
    sink = OTLPMetricExporter(f"{told.endpoint}/v1/metrics", session=session, max_export_batch_size=POINTS_AT_ONCE)
    reader = PeriodicExportingMetricReader(sink, told.interval_s * 1e3)
    meters = MeterProvider([reader], resource, exemplar_filter=AlwaysOffExemplarFilter())  # nobody looks at them
    export_with(traces, meters)

    def end() -> None:
        export_with(None, None)
        traces.shutdown()
        meters.shutdown()

    return end


def _resource(told: TelemetrySettings, project: str) -> dict[str, str]:
    """Who measures. Google's Telemetry API refuses points without project, region and an instance of their own: two
    instances that count in one series would contradict each other."""
    known = {"service.name": told.service, "service.instance.id": uuid.uuid4().hex, "cloud.region": told.region}
    if told.exporter == "google":
        known |= {"gcp.project_id": project, "cloud.provider": "gcp", "cloud.platform": "gcp_cloud_run"}
    return {name: value for name, value in known.items() if value}


def _session(told: TelemetrySettings) -> Any:
    """A session that proves who we are to Google with the workload's own identity; None for a collector of ours."""
    if told.exporter != "google":
        return None
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError as error:
        raise ConfigurationError(f"SONA_TELEMETRY_EXPORTER=google needs Google credentials: {error}") from error
    return AuthorizedSession(credentials)
