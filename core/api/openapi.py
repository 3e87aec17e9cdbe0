"""The HTTPS interface described by itself: an OpenAPI 3.1 document made from the routes and their schemas.

Requests come from what validates them, answers from the return types of the functions that make them, so that neither
can be described differently from how it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.metadata import version
from inspect import getdoc
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from core.api.adapter_routes import ADAPTER_ROUTES
from core.api.attention_routes import ATTENTION_ROUTES
from core.api.experiment_routes import EXPERIMENT_ROUTES
from core.api.http import JSON_TYPE, Route, Routes, anyone
from core.api.pattern_routes import PATTERN_ROUTES
from core.api.privacy_routes import PRIVACY_ROUTES
from core.api.router_routes import ROUTER_ROUTES
from core.api.routes import COLLECT_ROUTES, PROFILE_ROUTES, RECOMMEND_ROUTES

# Function -> what callers may ask it; what Pub/Sub pushes is not for callers.
FUNCTIONS: Mapping[str, Routes] = {
    "recommend": RECOMMEND_ROUTES,
    "collect": COLLECT_ROUTES,
    "profiles": PROFILE_ROUTES | PRIVACY_ROUTES,
    "adapters": ADAPTER_ROUTES,
    "router": ROUTER_ROUTES,
    "attention": ATTENTION_ROUTES,
    "patterns": PATTERN_ROUTES,
    "experiments": EXPERIMENT_ROUTES,
}
REFERENCE = "#/components/schemas/{model}"
PROBLEMS = {
    400: "The body is not JSON, or there is too little to work with.",
    401: "No valid token.",
    403: "The token speaks for somebody else, or its role is missing.",
    404: "No such path, title or experiment.",
    405: "Another method; `Allow` names the right one.",
    409: "It exists already, or somebody else changed it first.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The body does not fit the schema; `details` name the fields.",
    429: "Too many calls; `Retry-After` says how long to wait.",
    503: "A store does not answer, or something needs repair; `Retry-After` says when to try again.",
}
WAITING = {429, 503}  # with Retry-After
PROBLEM = {
    "description": "Why there is no other answer.",
    "type": "object",
    "required": ["error", "message"],
    "additionalProperties": False,
    "properties": {
        "error": {"type": "string", "description": "A code for programs."},
        "message": {"type": "string", "description": "A sentence for people."},
        "details": {"description": "Which fields are wrong, or what else a program may want to know."},
    },
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of all functions."""
    routes = {
        (path, method): (function, route)
        for function, table in FUNCTIONS.items()
        for path, methods in table.items()
        for method, route in methods.items()
    }
    adapters = [(key, "validation", route.schema) for key, (_, route) in routes.items() if route.schema]
    adapters += [(key, "serialization", _answer_type(route)) for key, (_, route) in routes.items()]
    inputs: Any = adapters
    schemas, shared = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE)
    paths: dict[str, Any] = {}
    for (path, method), (function, route) in routes.items():
        asked, answered = schemas.get(((path, method), "validation")), schemas[(path, method), "serialization"]
        paths.setdefault(path, {})[method.lower()] = _operation(function, path, method, route, asked, answered)
    return {
        "openapi": "3.1.0",
        "info": {"title": "SONA", "version": version("sona"), "description": "Personalization for TV and film."},
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**shared.get("$defs", {}), "Problem": PROBLEM},
            "responses": {str(status): _problem(status) for status in PROBLEMS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _answer_type(route: Route) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(route.answer)["return"])


def _operation(
    function: str, path: str, method: str, route: Route, asked: Mapping[str, Any] | None, answered: Mapping[str, Any]
) -> dict[str, Any]:
    open_to_all = route.caller is anyone
    summary, more = _about(route)
    possible = (503,) if open_to_all else tuple(PROBLEMS)
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('-', '_')}",
        "tags": [function],
        "summary": summary,
        "description": more,
        "responses": {
            str(route.status): {"description": "Done.", "content": {JSON_TYPE: {"schema": dict(answered)}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in possible},
        },
    }
    if asked is not None:
        operation["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": dict(asked)}}}
    if open_to_all:
        operation["security"] = []
    return operation


def _about(route: Route) -> tuple[str, str]:
    """The first sentence of what the route's function says about itself, and all of it."""
    text = " ".join((getdoc(route.answer) or "").split())
    first, more, _ = text.partition(". ")
    return first + "." if more else first, text


def _problem(status: int) -> dict[str, Any]:
    reference = {"$ref": REFERENCE.format(model="Problem")}
    answer: dict[str, Any] = {"description": PROBLEMS[status], "content": {JSON_TYPE: {"schema": reference}}}
    if status in WAITING:
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}, "required": True}}
    return answer


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>SONA</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
code, pre {{ font: 14px/1.4 ui-monospace, monospace; }}
pre {{ overflow-x: auto; background: #f4f4f4; padding: .5rem; }}
details {{ margin: .3rem 0; }}
</style>
<h1>SONA</h1>
<p>Every call but <code>/health</code> carries <code>Authorization: Bearer &lt;token&gt;</code>. For programs:
<a href="/openapi.json">openapi.json</a>.</p>
{functions}
<h2>Shared schemas</h2>
{schemas}
</html>
"""


@cache
def page() -> str:
    """The document as one HTML page that needs nothing from anywhere else."""
    described = document()
    by_function: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            by_function.setdefault(operation["tags"][0], []).append(_described(path, method, operation))
    functions = "\n".join(f"<h2>{escape(name)}</h2>\n{''.join(parts)}" for name, parts in by_function.items())
    schemas = "".join(
        f"<details><summary>{escape(name)}</summary>{_json(schema)}</details>"
        for name, schema in described["components"]["schemas"].items()
    )
    return PAGE.format(functions=functions, schemas=schemas)


def _described(path: str, method: str, operation: Mapping[str, Any]) -> str:
    summary = f"<code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}"
    body = operation.get("requestBody", {}).get("content", {}).get(JSON_TYPE, {}).get("schema")
    done = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    told = operation["description"]
    about = f"<p>{escape(told)}</p>" if told != operation["summary"] else ""
    asked = f"<p>Body</p>{_json(body)}" if body else ""
    answered = f"<p>Answer</p>{_json(done['content'][JSON_TYPE]['schema'])}"
    return f"<details><summary>{summary}</summary>{about}{asked}{answered}</details>"


def _json(value: Any) -> str:
    from pydantic_core import to_json

    return f"<pre>{escape(to_json(value, indent=2).decode())}</pre>"
