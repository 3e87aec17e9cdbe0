"""Where the time of one request goes: CPU time of every stage, measured in one process without an HTTP server.

    SONA_CONFIG=... python -m tests.benchmarks.stages USERS.json COUNT [--profile]

The stages are functions of the request path that get a clock around them; what one stage calls is not counted in it
again. USERS.json lists the bearer tokens of users. Prints seconds by stage as JSON, or with --profile what cProfile
found.
"""

from __future__ import annotations

import cProfile
import importlib
import io
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Row, row
from tests.benchmarks.world import ROOT, World

# Stage -> functions of the request path, as (module, name). One that is gone is told on stderr; its time then belongs
# to the stage that calls what took its place.
STAGES = {
    "read and validate the body": [("core.api.http", "_read"), ("core.api.http", "_check_body")],
    "load the state": [("core.flows.recommend", "load_viewer")],
    "allowed rows": [("core.flows.recommend", "allowed_rows")],
    "view the history": [("core.flows.recommend", "view")],
    "fuse": [("core.flows.proposals", "fuse_logs")],
    "choose (MMR)": [("core.flows.recommend", "choose")],
    "explain and describe": [("core.flows.recommend", "describe")],
    "publish impressions": [("core.flows.recommend", "publish_impressions")],
    "serialise": [("core.api.http", "to_json")],
}
AUTH, ANSWER, HELLO, WHOLE = "authenticate", "rest of the flow", "hello", "whole"
BODY = json.dumps({"limit": 20, "context": {"device_type": "tv", "time_of_day": "evening"}}).encode()


class Clocks:
    """CPU seconds of this thread by stage, one list of samples each; nested stages are taken out of the outer one."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = {}
        self.running: dict[str, float] = {}
        self._inner = [0.0]

    def around(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            begin = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                taken = time.thread_time() - begin
                own = taken - self._inner.pop()
                self._inner[-1] += taken
                self.running[stage] = self.running.get(stage, 0.0) + own

        return clocked

    def finish(self) -> None:
        """End of one request: what its stages took becomes a sample of each."""
        for stage, taken in self.running.items():
            self.samples.setdefault(stage, []).append(taken)
        self.running = {}


def put_clocks(clocks: Clocks) -> None:
    for stage, places in STAGES.items():
        for module_name, name in places:
            module = importlib.import_module(module_name)
            if hasattr(module, name):
                setattr(module, name, clocks.around(stage, getattr(module, name)))
            else:
                print(f"stages: there is no {name} in {module_name} any more", file=sys.stderr)
    signals: dict[str, Any] = importlib.import_module("core.candidates.signals").SIGNALS
    for name, signal in list(signals.items()):
        signals[name] = clocks.around(f"signal {name}", signal)
    routes: Any = importlib.import_module("core.api.routes").RECOMMEND_ROUTES
    route = routes["/api/v1/recommendations"]["POST"]
    routes["/api/v1/recommendations"]["POST"] = replace(
        route, caller=clocks.around(AUTH, route.caller), answer=clocks.around(ANSWER, route.answer)
    )


def environ(token: str) -> dict[str, Any]:
    """What an HTTP server hands to the application."""
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/recommendations",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8080",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def caller(target: str, source: Path) -> Callable[[str], None]:
    """Calls a function of functions-framework as its HTTP server does; an answer other than 200 is an error."""
    import functions_framework

    app = functions_framework.create_app(target, str(source))

    def answered(status: str, headers: Any, error: Any = None) -> Callable[[bytes], object]:
        if not status.startswith("200"):
            raise SystemExit(f"{target} answered {status}")
        return lambda data: None

    def call(token: str) -> None:
        answer: Any = app.wsgi_app(environ(token), answered)
        b"".join(answer)
        answer.close()

    return call


def measure(tokens: list[str], count: int, profile: bool) -> dict[str, list[float]]:
    recommend = caller("recommend", ROOT / "functions" / "recommend.py")
    hello = caller("hello", ROOT / "tests" / "benchmarks" / "hello.py")
    following = cycle(tokens)
    for _ in range(2 * len(tokens)):
        recommend(next(following))
        hello(next(following))
    plain: dict[str, list[float]] = {WHOLE: [], HELLO: []}
    for _ in range(count):
        for name, call in ((WHOLE, recommend), (HELLO, hello)):
            begin = time.thread_time()
            call(next(following))
            plain[name].append(time.thread_time() - begin)
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(lambda: [recommend(next(following)) for _ in range(count)])
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
        return plain
    clocks = Clocks()
    put_clocks(clocks)
    for _ in range(count):
        recommend(next(following))
        clocks.finish()
    return plain | clocks.samples


def stage_rows(world: World, count: int) -> list[Row]:
    """CPU time per request of every stage, from a process of its own."""
    tokens = world.home / "tokens.json"
    tokens.write_text(json.dumps([world.token(user) for user in world.users[:64]]))
    command = [sys.executable, "-m", "tests.benchmarks.stages", str(tokens), str(count)]
    environment = {**os.environ, **world.environment()}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment)
    samples: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    whole, hello = samples.pop(WHOLE), samples.pop(HELLO)
    rows = [
        row("one request without HTTP server: CPU", whole, "us", 1300.0),
        row("  of which the framework (hello without HTTP server)", hello, "us"),
    ]
    return rows + [row(f"  {stage}", taken, "us") for stage, taken in samples.items()]


if __name__ == "__main__":
    found = measure(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), "--profile" in sys.argv)
    if "--profile" not in sys.argv:
        print(json.dumps(found))
