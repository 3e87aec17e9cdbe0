"""Every function on one port: the laptop's stand-in for the load balancer, before the functions' real entry points."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core.local.process import HOST, Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WORKERS = 2  # processes; one per core of a small machine
THREADS = 4  # per process: requests that wait for a store do not hold up the others
FUNCTIONS = Path(__file__).parents[2] / "functions"

# Which function answers which paths, as infra/functions.tf has them; there the load balancer leads to some of the
# functions only, and to the others within the network. The longest prefix wins.
PREFIXES = {
    "/api/v1/recommendations": "recommend",
    "/api/v1/personalization": "recommend",
    "/api/v1/search": "recommend",
    "/api/v1/interactions": "collect",
    "/api/v1/profile": "profiles",
    "/api/v1/adapter": "adapters",
    "/api/v1/lora": "adapters",
    "/api/v1/patterns": "patterns",
    "/api/v1/router": "router",
    "/api/v1/attention": "attention",
    "/api/v1/experiments": "experiments",
    "/api/v1/metrics": "experiments",
    "/push/ingest": "ingest",
    "/push/adapt": "adapt",
    "/health": "recommend",
}


DESCRIPTIONS = {"/openapi.json": "application/json", "/docs": "text/html; charset=utf-8"}


class GatewayServer(Server):
    """gunicorn with every function, as functions-framework runs one of them."""

    name: ClassVar[str] = "gateway"

    def __init__(self, folder: Path, port: int | None, config: Path) -> None:
        super().__init__(folder, port)
        self._config = config

    @property
    def url(self) -> str:
        """Where the functions' paths, `/docs` and the console are."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [
            sys.executable,
            *("-m", "gunicorn", "core.local.gateway:application()"),
            *("--bind", f"{HOST}:{self.port}", "--workers", str(WORKERS), "--threads", str(THREADS)),
            *("--worker-class", "gthread", "--timeout", "60", "--keep-alive", "30"),
            *("--worker-tmp-dir", str(self.folder)),
        ]

    def environment(self) -> dict[str, str] | None:
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return {**os.environ, **single, "SONA_CONFIG": str(self._config), "PYTHONUNBUFFERED": "1"}

    def answers(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/health", timeout=2.0) as answer:
            return answer.status == 200


def application() -> WSGIApplication:
    """One WSGI application that hands each request to the function that owns its path."""
    import functions_framework

    from core.local.console.application import PATH as CONSOLE
    from core.local.console.application import console

    apps = {
        name: functions_framework.create_app(name, str(FUNCTIONS / f"{name}.py")) for name in set(PREFIXES.values())
    }
    prefixes = sorted(PREFIXES, key=len, reverse=True)
    page = console()

    def dispatch(environ: WSGIEnvironment, start_response: StartResponse) -> object:
        path = environ.get("PATH_INFO", "")
        if path in DESCRIPTIONS:
            return describe(path, start_response)
        if path == "/" or path.startswith(CONSOLE):
            return page(environ, start_response)
        owner = next((PREFIXES[prefix] for prefix in prefixes if path.startswith(prefix)), "recommend")
        return apps[owner](environ, start_response)

    return dispatch  # type: ignore[return-value]


def describe(path: str, start_response: StartResponse) -> list[bytes]:
    """What the functions offer, for programs or for people."""
    from core.api.openapi import document, page

    text = json.dumps(document()) if path == "/openapi.json" else page()
    start_response("200 OK", [("Content-Type", DESCRIPTIONS[path])])
    return [text.encode()]
