"""infra/smoke.py against a plain HTTP server in the deployment's place: what it asks, finds, and says it left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from terraform_files import INFRA, entries, strings

NAMES = ["recommend", "collect", "profiles", "patterns", "adapters", "experiments", "ingest", "adapt"]
PERSON = "Invalid account type for `--audiences`. Requires valid service account."

# A stand-in for the gcloud program. A service account's token says for whom it is; a person's cannot.
GCLOUD = """#!{python}
import sys
audience = [word for word in sys.argv if word.startswith("--audiences=")]
if audience and {person}:
    sys.exit({refusal!r})
print("of-a-person" if {person} else audience[0])
"""


class Deployment:
    """One server for the functions and the load balancer. `answers`: path -> status and body, 404 for any other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, str]]()  # path, token
        self.answers = dict[str, tuple[int, object]]()
        deployment = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                deployment.asked.append((self.path, self.headers.get("X-Serverless-Authorization", "")))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = deployment.answers.get(self.path, (404, {}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def signed_in(self, person: bool) -> None:
        program = self.folder / "gcloud"
        program.write_text(GCLOUD.format(python=sys.executable, person=person, refusal=PERSON))
        program.chmod(0o755)

    def smoke(self, load_balancer: bool) -> tuple[int, str]:
        """Exit status and what was said."""
        functions = {name: f"{self.url}/{name}" for name in NAMES}
        outputs = {"functions": {"value": functions}, "api": {"value": self.url if load_balancer else None}}
        path = self.folder / "outputs.json"
        path.write_text(json.dumps(outputs))
        done = subprocess.run(
            [sys.executable, str(INFRA / "smoke.py"), str(path)],
            env=os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def healthy(deployment: Deployment) -> None:
    deployment.answers = {f"/{name}/health": (200, {"snapshot": "unavailable", "hot_store": "ok"}) for name in NAMES}


@pytest.mark.parametrize("person", [False, True])
def test_every_callable_function_is_asked_with_a_token_of_whoever_is_signed_in(
    deployment: Deployment, person: bool
) -> None:
    healthy(deployment)
    deployment.signed_in(person)
    status, said = deployment.smoke(load_balancer=False)
    assert (status, said) == (0, "6 functions were asked and all is well; nobody can ask from here: ingest, adapt\n")
    tokens = dict(deployment.asked)
    assert set(tokens) == {f"/{name}/health" for name in NAMES[:6]}
    named = f"Bearer --audiences={deployment.url}/collect"
    assert tokens["/collect/health"] == ("Bearer of-a-person" if person else named)


def test_a_function_that_misses_a_store_is_a_problem_and_a_missing_snapshot_is_none(deployment: Deployment) -> None:
    healthy(deployment)
    deployment.signed_in(person=False)
    deployment.answers["/patterns/health"] = (200, {"cold_store": "unavailable"})
    deployment.answers["/collect/health"] = (503, {})
    status, said = deployment.smoke(load_balancer=False)
    assert status == 1
    assert said == "collect: status 503, missing []\npatterns: status 200, missing ['cold_store']\n"


def behind_load_balancer() -> dict[str, str]:
    """Function -> the route that is asked, as infra/smoke.py has them."""
    sys.path.insert(0, str(INFRA))
    try:
        import smoke
    finally:
        sys.path.remove(str(INFRA))
    return dict(smoke.BEHIND_LOAD_BALANCER)


def test_with_a_load_balancer_every_function_behind_it_must_refuse_an_unknown_caller(deployment: Deployment) -> None:
    routes = behind_load_balancer()
    deployment.answers = dict.fromkeys(routes.values(), (401, {}))
    deployment.answers["/health"] = (200, {})
    status, said = deployment.smoke(load_balancer=True)
    assert status == 0, said
    assert said == "5 functions were asked and all is well; nobody can ask from here: patterns, ingest, adapt\n"
    deployment.answers[routes["profiles"]] = (403, {})
    deployment.answers["/health"] = (503, {})
    status, said = deployment.smoke(load_balancer=True)
    assert status == 1
    assert said == f"{deployment.url}/health: status 503\nprofiles: a caller without a token gets 403 instead of 401\n"


def test_the_routes_asked_are_those_of_the_functions_behind_the_load_balancer() -> None:
    deployed = entries("functions.tf", "functions")
    routes = behind_load_balancer()
    assert set(routes) == {name for name, body in deployed.items() if "edge        = true" in body}
    for name, route in routes.items():
        assert any(route.startswith(path) for path in strings(deployed[name], "paths")), name


def test_the_routes_asked_refuse_who_has_no_token() -> None:
    from core.api.adapter_routes import ADAPTER_ROUTES
    from core.api.auth import authenticate
    from core.api.experiment_routes import EXPERIMENT_ROUTES
    from core.api.http import Route
    from core.api.routes import COLLECT_ROUTES, PROFILE_ROUTES, RECOMMEND_ROUTES

    served: dict[str, dict[str, Route]] = {}
    for routes in (RECOMMEND_ROUTES, COLLECT_ROUTES, PROFILE_ROUTES, ADAPTER_ROUTES, EXPERIMENT_ROUTES):
        served |= {path: dict(methods) for path, methods in routes.items()}
    for route in behind_load_balancer().values():
        assert served[route]["POST"].caller.__name__ in (authenticate.__name__, "administrator"), route
