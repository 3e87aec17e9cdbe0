"""From an HTTPS request to a flow and back: find the route, prove the caller, read the body, answer, name the error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from flask import Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from core.api.auth import Headers, Identity, acting_for, authenticate, is_service
from core.config import Settings
from core.errors import Conflict, Forbidden, InvalidInput, NotFound, SonaError, StoreUnavailable, Unauthenticated
from core.flows.services import Services
from core.interaction import Event, Interaction
from core.telemetry import caller_trace, correlated, count, exporting, logger, measure, span

log = logger("http")

JSON_TYPE = "application/json"
ANY_PATH = "*"
MAX_PROBLEMS = 20  # of an invalid body that are described
BRANCHES = {"one", "several", "float", "datetime"}  # of unions: in a problem's place, but not in the body
REPAIR_S = 30  # Retry-After for what somebody on our side must repair


@dataclass(frozen=True, slots=True)
class Call:
    """A proven, parsed request on its way into a flow. `body` is what the route's schema made of it, or raw bytes."""

    services: Services
    identity: Identity
    body: Any
    now: float

    def user(self) -> str:
        """The user the call is about. Raises Forbidden when the body names somebody else."""
        return acting_for(self.identity, self.body.user_id, self.services.settings.auth)

    def heard(self, event: Event) -> Event:
        """The event as this caller may tell it: what proposed a title, and in which time, is known to services alone,
        and by it is counted what becomes of answers, for everybody's."""
        if isinstance(event, Interaction) and not is_service(self.identity, self.services.settings.auth):
            return replace(event, strategy=None, latency_ms=None)
        return event


ANYBODY = Identity("")


def anyone(headers: Headers, settings: Settings) -> Identity:
    """The caller of what everybody may know."""
    return ANYBODY


@dataclass(frozen=True, slots=True)
class Route:
    """`answer` gets the call and returns what becomes the JSON body.

    A route without schema gets the raw body, uncapped: Pub/Sub's messages are larger than what callers may send.
    limit: which rate of core.config.LimitSettings holds for callers: read, write or train.
    """

    answer: Callable[[Call], Mapping[str, Any]]
    schema: TypeAdapter[Any] | None = None
    status: int = 200
    caller: Callable[[Headers, Settings], Identity] = authenticate
    limit: str = "read"


Routes = Mapping[str, Mapping[str, Route]]  # path -> method -> route


class Refused(Exception):
    """A request that HTTP itself rules out, before any flow."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, details: Any = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers, self.details = status, code, dict(headers or {}), details


class _Edge:
    """Where a bug ends, the only place of its kind: it is logged with its traceback, and the caller gets a 503, so that
    a client tries again and a message is delivered again."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, bug: BaseException | None, at: TracebackType | None) -> bool:
        if not isinstance(bug, Exception):
            return False  # all went well, or the process is being stopped
        log.error("unexpected error", path=self._request.path, exc_info=bug)
        return True


def dispatch(request: Request, routes: Routes, services: Callable[[], Services]) -> Response:
    """Answer one request; whatever happens, the answer is JSON, and an error is {error, message, details?}."""
    began, response = time.perf_counter(), None
    with correlated(*_caller_traces(request)):
        with _Edge(request):
            response = _answer(request, routes, services)
        if response is None:
            count("sona.bugs", path=_known(request, routes))
            response = _repair()
    if exporting():
        spent_ms, status = (time.perf_counter() - began) * 1e3, str(response.status_code)
        measure("sona.request.duration", spent_ms, path=_known(request, routes), status=status)
    return response


def _caller_traces(request: Request) -> tuple[str, str]:
    return request.headers.get("traceparent", ""), request.headers.get("X-Cloud-Trace-Context", "")


def _known(request: Request, routes: Routes) -> str:
    """The request's path if it is one of ours: an attribute must not have as many values as there are callers."""
    path = request.path.rstrip("/") or "/"
    return path if path in routes else "push" if ANY_PATH in routes else "other"


def _answer(request: Request, routes: Routes, services: Callable[[], Services]) -> Response:
    """Everything SONA raises on purpose becomes its status."""
    try:
        route = _find(routes, request)
        built = services()
        if route.schema is not None:
            _check_body(request, built.settings.max_body_bytes)
        identity = route.caller(request.headers, built.settings)
        _limit(built, identity, route, _known(request, routes))
        body = _read(request, route, built.settings.max_body_bytes)
        payload = _told(request, route, Call(built, identity, body, time.time()))
        response = Response(to_json(payload), route.status, content_type=JSON_TYPE)
        if built.limits.failing:
            response.headers["Sona-Degraded"] = "rate_limits"
        return response
    except Refused as refused:
        return _problem(refused.status, refused.code, str(refused), refused.details, refused.headers)
    except ValidationError as error:
        return _invalid(error, request)
    except SonaError as error:
        return _failed(error, request)


def _find(routes: Routes, request: Request) -> Route:
    methods = routes.get(request.path.rstrip("/") or "/") or routes.get(ANY_PATH)
    if methods is None:
        raise Refused(404, "not_found", "no such path")
    route = methods.get(request.method)
    if route is None:
        allowed = ", ".join(sorted(methods))
        raise Refused(405, "method_not_allowed", f"this path answers {allowed}", {"Allow": allowed})
    return route


def _told(request: Request, route: Route, call: Call) -> Mapping[str, Any]:
    """The route's answer in a span of the caller's trace, and what is degraded counted."""
    with span(route.answer.__name__, caller_trace(*_caller_traces(request))):
        payload = route.answer(call)
    for part in payload.get("degraded", ()) if exporting() else ():
        count("sona.degraded", part=part)
    return payload


def _limit(built: Services, identity: Identity, route: Route, path: str) -> None:
    """Refuse a caller who calls this route too often; the unknown ones are the load balancer's to limit."""
    limits = built.settings.limits
    if not limits.enabled or not identity.user_id:
        return
    per_minute, burst = {
        "read": (limits.read_per_minute, limits.read_burst),
        "write": (limits.write_per_minute, limits.write_burst),
        "train": (limits.train_per_minute, limits.train_burst),
    }[route.limit]
    factor = limits.service_factor if is_service(identity, built.settings.auth) else 1.0
    wait_s = built.limits.take(identity.user_id, path, per_minute * factor / 60.0, round(burst * factor), 1)
    if wait_s > 0:
        seconds = {"Retry-After": str(math.ceil(wait_s))}
        raise Refused(429, "too_many_requests", "too many calls, try again later", seconds)


def _check_body(request: Request, max_bytes: int) -> None:
    if not request.is_json:
        raise Refused(415, "unsupported_media_type", f"the body must be {JSON_TYPE}")
    if (request.content_length or 0) > max_bytes:
        raise Refused(413, "payload_too_large", f"the body may have {max_bytes} bytes")
    request.max_content_length = max_bytes + 1  # a chunked body announces no length and is cut off here


def _read(request: Request, route: Route, max_bytes: int) -> Any:
    data = request.get_data()
    if route.schema is None:
        return data
    if len(data) > max_bytes:
        raise Refused(413, "payload_too_large", f"the body may have {max_bytes} bytes")
    return route.schema.validate_json(data)


_STATUS: dict[type[SonaError], tuple[int, str]] = {
    InvalidInput: (422, "invalid_input"),
    Unauthenticated: (401, "unauthenticated"),
    Forbidden: (403, "forbidden"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
}


def _failed(error: SonaError, request: Request) -> Response:
    if type(error) in _STATUS:
        status, code = _STATUS[type(error)]
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return _problem(status, code, str(error), headers=headers)
    log.error("request failed", path=request.path, reason=str(error), kind=type(error).__name__)
    if isinstance(error, StoreUnavailable):
        return _problem(503, "unavailable", str(error), headers={"Retry-After": str(error.retry_after_s)})
    return _repair()


def _repair() -> Response:
    """For bugs, corrupt data and impossible settings: ours to repair, and nobody else's business what exactly it is."""
    return _problem(503, "unavailable", "the service needs repair", headers={"Retry-After": str(REPAIR_S)})


def _invalid(error: ValidationError, request: Request) -> Response:
    try:
        from_json(request.get_data(), allow_inf_nan=False)  # stricter than the schemas' reader: NaN is no JSON
    except ValueError:
        return _problem(400, "invalid_json", "the body is not JSON")
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_PROBLEMS]
    details = [
        {"field": ".".join(str(part) for part in problem["loc"] if part not in BRANCHES), "problem": problem["msg"]}
        for problem in problems
    ]
    return _problem(422, "invalid_input", f"{details[0]['field'] or 'body'}: {details[0]['problem']}", details)


def _problem(
    status: int, code: str, message: str, details: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    body = {"error": code, "message": message} | ({"details": details} if details else {})
    data: Any = to_json(body)
    # Streamed, because the framework reads the rest of the request before an answer of known length.
    response = Response(iter([data]) if status == 413 else data, status, content_type=JSON_TYPE)
    response.headers.extend(headers or {})
    return response
