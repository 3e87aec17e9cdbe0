"""Logs as Cloud Logging reads them, and traces and metrics over OpenTelemetry where an exporter is configured.

What is told never identifies a user: no user ids, no vectors, no tokens. Without an exporter a measurement costs one
comparison and OpenTelemetry is never imported.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from types import TracebackType
from typing import Any

import structlog

_SEVERITY = {"warn": "WARNING", "exception": "ERROR"}  # structlog's method names that are no severities
# The headers that carry a caller's trace: W3C's, and Google's older one with its span in decimal.
_W3C = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_GOOGLE = re.compile(r"([0-9a-f]{32})(?:/(\d{1,20}))?(?:;o=(\d))?")
# By these fields Cloud Logging ties a line to its request in Cloud Trace.
TRACE_FIELD = "logging.googleapis.com/trace"
SPAN_FIELD = "logging.googleapis.com/spanId"
SAMPLED_FIELD = "logging.googleapis.com/trace_sampled"


@dataclass(frozen=True, slots=True)
class Metric:
    """One measurement. kind: counter, histogram or gauge; buckets: upper bounds of a histogram's, in its unit."""

    kind: str
    unit: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# A whole answer takes 3 ms, a strategy tens of microseconds; what takes seconds is a store that is away.
_MS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4)
# From an event that is learned from at once to one that waited for a repair over a week-end.
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)

# Everything that is measured; infra/monitoring.tf shows and watches these and no others. Every value of an attribute
# is one of a few that the code names: never a user, a title or a path that a caller made up.
METRICS = {
    "sona.request.duration": Metric("histogram", "ms", ("path", "status"), _MS),
    "sona.stage.duration": Metric("histogram", "ms", ("stage",), _MS),  # parts of one answer, see `stage`
    "sona.strategy.duration": Metric("histogram", "ms", ("strategy",), _MS),
    "sona.cache": Metric("counter", "1", ("cache", "outcome")),  # outcome: hit or miss
    "sona.degraded": Metric("counter", "1", ("part",)),  # parts that an answer went without
    "sona.bugs": Metric("counter", "1", ("path",)),  # errors that nobody foresaw
    "sona.answers": Metric("counter", "1", ("kind",)),  # personal, new_user, or empty
    "sona.patterns": Metric("counter", "1", ("outcome",)),  # match, or none: requests that a pattern was about
    "sona.feedback": Metric("counter", "1", ("signal", "recommended")),  # shown, positive, negative, neutral
    "sona.events": Metric("counter", "1", ("outcome",)),  # stored, known, rejected; dropped: answers' impressions
    "sona.queue.age": Metric("histogram", "s", ("queue",), _SECONDS),  # of a message when it is worked on
    "sona.adaptations": Metric("counter", "1", ("verdict",)),  # accepted, rolled_back, ...
    "sona.snapshot.age": Metric("gauge", "s"),  # of the catalogue that an instance serves
}


def _severity(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["severity"] = _SEVERITY.get(method, method.upper())
    return event


def _span_ids(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Tie a line to the span that it is written in."""
    if _Exporting.tracer is None:
        return event
    from opentelemetry.trace import get_current_span

    here = get_current_span().get_span_context()
    if here.is_valid:
        event.setdefault(TRACE_FIELD, _trace_name(f"{here.trace_id:032x}"))
        event.update({SPAN_FIELD: f"{here.span_id:016x}", SAMPLED_FIELD: here.trace_flags.sampled})
    return event


def configure(level: str = "INFO", project: str = "") -> None:
    """Send every log event of this process to stdout. `level`: DEBUG, INFO, WARNING, ERROR; project: of traces."""
    _Exporting.project = project
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _span_ids,
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


def caller_trace(w3c: str, google: str) -> str:
    """The caller's trace and span in W3C's form, "" without both: from its header, or else from Google's."""
    if _W3C.fullmatch(w3c):
        return w3c
    found = _GOOGLE.match(google)
    if found is None or not 0 < int(found.group(2) or 0) < 1 << 64:
        return ""
    return f"00-{found.group(1)}-{int(found.group(2)):016x}-{'01' if found.group(3) == '1' else '00'}"


@contextmanager
def correlated(w3c: str, google: str) -> Iterator[None]:
    """Log lines within carry the caller's trace, by which Cloud Logging finds a request's lines."""
    found = _W3C.fullmatch(w3c) or _GOOGLE.match(google)
    if found is None:
        yield
        return
    with structlog.contextvars.bound_contextvars(**{TRACE_FIELD: _trace_name(found.group(1))}):
        yield


def _trace_name(trace_id: str) -> str:
    return f"projects/{_Exporting.project}/traces/{trace_id}"


class _Exporting:
    """OpenTelemetry's providers, once somebody has configured them, and the Google Cloud project of traces."""

    meter: Any = None
    tracer: Any = None
    counts: _Counts
    project: str = ""


class _Counts:
    """Sums of the counters of METRICS, asked for when they are exported: adding costs an eighth of OpenTelemetry's."""

    def __init__(self, meter: Any) -> None:
        self._sums: dict[tuple[str, ...], int] = {}
        self._lock = Lock()
        for name, metric in METRICS.items():
            if metric.kind == "counter":
                meter.create_observable_counter(name, [partial(self._observe, name)], metric.unit)

    def add(self, key: tuple[str, ...], amount: int) -> None:
        """key: the name, and the values of its attributes in their order."""
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + amount

    def _observe(self, name: str, options: Any) -> Iterator[Any]:
        from opentelemetry.metrics import Observation

        with self._lock:
            found = [(key[1:], total) for key, total in self._sums.items() if key[0] == name]
        for values, total in found:
            yield Observation(total, dict(zip(METRICS[name].attributes, values, strict=True)))


def exporting() -> bool:
    """Whether measurements go anywhere: ask before computing what only they need."""
    return _Exporting.meter is not None


def count(name: str, amount: int = 1, **attributes: str) -> None:
    """Add to a counter of METRICS."""
    if _Exporting.meter is not None and amount:
        _Exporting.counts.add((name, *[attributes[one] for one in METRICS[name].attributes]), amount)


def measure(name: str, value: float, **attributes: str) -> None:
    """Add to a histogram of METRICS, in its unit."""
    if _Exporting.meter is not None:
        _instrument(name).record(value, attributes)


def level(name: str, value: float, **attributes: str) -> None:
    """Set a gauge of METRICS, in its unit."""
    if _Exporting.meter is not None:
        _instrument(name).set(value, attributes)


@contextmanager
def span(name: str, parent: str = "", **attributes: str) -> Iterator[None]:
    """A part of a trace. parent: the caller's trace and span in W3C's form; "" where the caller is this process.

    A trace that the caller does not keep costs nothing here either.
    """
    if _Exporting.tracer is None or parent.endswith("-00"):
        yield
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    with _Exporting.tracer.start_as_current_span(name, context=context, attributes=attributes):
        yield


class stage:
    """A named part of an answer, `with stage("viewer"): ...`: its duration is measured, and it is a span."""

    __slots__ = ("_began", "_name", "_span")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _Exporting.meter is not None:
            self._span = span(self._name) if _recording() else nullcontext()
            self._span.__enter__()
            self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if _Exporting.meter is not None and hasattr(self, "_began"):  # exporting may have begun in between
            measure("sona.stage.duration", (time.perf_counter() - self._began) * 1e3, stage=self._name)
            self._span.__exit__(kind, error, at)


def _recording() -> bool:
    """Whether this is part of a trace that is kept."""
    if _Exporting.tracer is None:
        return False
    from opentelemetry.trace import get_current_span

    return bool(get_current_span().is_recording())


@cache
def _instrument(name: str) -> Any:
    metric, meter = METRICS[name], _Exporting.meter
    if metric.kind == "histogram":
        return meter.create_histogram(name, metric.unit, explicit_bucket_boundaries_advisory=metric.buckets)
    return getattr(meter, f"create_{metric.kind}")(name, metric.unit)


def export_with(tracer_provider: Any, meter_provider: Any) -> None:
    """Send spans and measurements to these providers of OpenTelemetry; None ends it."""
    _instrument.cache_clear()
    _Exporting.tracer = tracer_provider.get_tracer("sona") if tracer_provider is not None else None
    _Exporting.meter = meter_provider.get_meter("sona") if meter_provider is not None else None
    if _Exporting.meter is not None:
        _Exporting.counts = _Counts(_Exporting.meter)
