"""A stand-in for an OpenTelemetry collector, and for Google's Telemetry API: OTLP over HTTP, decoded and kept."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What arrived. `url`: where; `token`: what its token endpoint gives out."""

    url: str
    token: str
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)

    def points(self, name: str) -> list[tuple[dict[str, str], Any]]:
        """(attributes, data point) of a metric, from the last export that had it."""
        found: list[tuple[dict[str, str], Any]] = []
        for request in self.metrics:
            for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
                if metric.name == name:
                    data = getattr(metric, metric.WhichOneof("data"))
                    found = [(texts(point.attributes), point) for point in data.data_points]
        return found

    def names(self) -> set[str]:
        every = [m for q in self.metrics for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {metric.name for metric in every}

    def spans(self) -> list[Any]:
        return [span for q in self.traces for r in q.resource_spans for s in r.scope_spans for span in s.spans]

    def resources(self) -> list[dict[str, str]]:
        return [texts(r.resource.attributes) for q in self.metrics for r in q.resource_metrics]

    def everything(self) -> str:
        return "\n".join(str(request) for request in (*self.metrics, *self.traces))


def texts(attributes: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in attributes}


@contextmanager
def collecting(token: str = "") -> Iterator[Collector]:
    collector = Collector("", token)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            data = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            answer: bytes = b""
            if self.path == "/v1/metrics":
                collector.metrics.append(ExportMetricsServiceRequest.FromString(data))
            elif self.path == "/v1/traces":
                collector.traces.append(ExportTraceServiceRequest.FromString(data))
            elif self.path == "/token":
                answer = json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).encode()
            if self.path != "/token":
                collector.authorized.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Content-Type", "application/json" if answer else "application/x-protobuf")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
