"""Logs as Cloud Logging reads them, and traces and metrics over OpenTelemetry where an exporter is configured.

What is told never identifies a user: no user ids, no vectors, no tokens. Without an exporter a measurement costs one
comparison and OpenTelemetry is never imported.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import structlog

from core.errors import ConfigurationError

_SEVERITY = {"warn": "WARNING", "exception": "ERROR"}  # structlog's method names that are no severities
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
TRACE_FIELD = "logging.googleapis.com/trace"  # by which Cloud Logging finds a request's lines


def _severity(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["severity"] = _SEVERITY.get(method, method.upper())
    return event


def configure(level: str = "INFO") -> None:
    """Send every log event of this process to stdout. `level`: DEBUG, INFO, WARNING, ERROR."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _severity,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(),  # no file: the stdout of the moment
    )


def logger(component: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that names its component; nothing is bound before the first event, so configuring later is fine."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=component)
    return bound


@contextmanager
def correlated(traceparent: str, cloud_trace: str, project: str) -> Iterator[None]:
    """Log lines within carry the caller's trace, from the W3C header or else Google's."""
    found = _TRACE_ID.search(traceparent) or _TRACE_ID.match(cloud_trace)
    if found is None:
        yield
        return
    with structlog.contextvars.bound_contextvars(**{TRACE_FIELD: f"projects/{project}/traces/{found.group()}"}):
        yield


class _Exporting:
    """OpenTelemetry's providers, once somebody has configured them."""

    meter: Any = None
    tracer: Any = None


def exporting() -> bool:
    """Whether measurements go anywhere: ask before computing what only they need."""
    return _Exporting.meter is not None


def count(name: str, amount: int = 1, **attributes: str) -> None:
    """Add to a counter."""
    if _Exporting.meter is not None and amount:
        _instrument("create_counter", name, "1").add(amount, attributes)


def measure(name: str, milliseconds: float, **attributes: str) -> None:
    """Add to a histogram of durations."""
    if _Exporting.meter is not None:
        _instrument("create_histogram", name, "ms").record(milliseconds, attributes)


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """A part of a trace."""
    if _Exporting.tracer is None:
        yield
        return
    with _Exporting.tracer.start_as_current_span(name, attributes=attributes):
        yield


@cache
def _instrument(kind: str, name: str, unit: str) -> Any:
    return getattr(_Exporting.meter, kind)(name, unit=unit)


def export_with(tracer_provider: Any, meter_provider: Any) -> None:
    """Send spans and measurements to these providers of OpenTelemetry; None ends it."""
    _instrument.cache_clear()
    _Exporting.tracer = tracer_provider.get_tracer("sona") if tracer_provider is not None else None
    _Exporting.meter = meter_provider.get_meter("sona") if meter_provider is not None else None


def start_exporting(exporter: str, endpoint: str, share: float) -> Callable[[], None] | None:
    """Export as configured; returns what sends the rest at the end, None if nothing is exported.

    exporter: "" (off) or otlp; endpoint: of a collector, OTLP over HTTP; share: of traces that are kept. Raises
    ConfigurationError for another exporter, or when the extra `telemetry` is not installed.
    """
    if not exporter:
        return None
    if exporter != "otlp" or not endpoint:
        raise ConfigurationError("SONA_TELEMETRY_EXPORTER is otlp or nothing, and otlp needs SONA_TELEMETRY_ENDPOINT")
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise ConfigurationError("SONA_TELEMETRY_EXPORTER needs the extra `telemetry`") from error
    resource = Resource.create({"service.name": "sona"})
    traces = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(share)))
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))
    meters = MeterProvider([reader], resource=resource)
    export_with(traces, meters)

    def end() -> None:
        traces.shutdown()
        meters.shutdown()

    return end
