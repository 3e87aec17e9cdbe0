"""What the console gives away beyond the public interface, and to whom: this machine's own browser, nobody else."""

from dataclasses import replace
from typing import Any

import jwt
import pytest
from function_client import SECRET
from werkzeug.test import Client, TestResponse

from core.flows.services import Services
from core.local.console.application import console
from core.local.gateway import application

HERE = "127.0.0.1:8080"
PATHS = ("/", "/console", "/console/app.js", "/console/about", "/console/titles?id=title-01")


@pytest.fixture(scope="module")
def gateway(deployment: Services) -> Client:
    return Client(application())


def token(client: Client, body: Any = None, **headers: str) -> TestResponse:
    sent = {"Host": HERE} | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/console/token", json={"user_id": "ann"} if body is None else body, headers=sent)


def test_a_token_speaks_for_the_chosen_viewer_for_an_hour_and_has_no_role(gateway: Client) -> None:
    answer = token(gateway, {"user_id": "Zoë"}, Origin=f"http://{HERE}", Sec_Fetch_Site="same-origin")
    claims = jwt.decode(answer.get_json()["token"], SECRET, ["HS256"], audience="sona")
    assert (claims["sub"], claims["roles"], claims["exp"] - claims["iat"]) == ("Zoë", [], 3600)
    assert answer.headers["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {answer.get_json()['token']}"}
    assert gateway.post("/api/v1/recommendations", json={}, headers=bearer).status_code == 200
    assert gateway.post("/api/v1/recommendations", json={"user_id": "ann"}, headers=bearer).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # a name that was rebound to the loopback
        {"Host": "127.0.0.1.evil.example:8080"},
        {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"},
        {"Host": "["},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9090"},  # another program of this machine
        {"Origin": "https://127.0.0.1:8080"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_no_stranger_gets_a_token(gateway: Client, headers: dict[str, str]) -> None:
    answer = token(gateway, **headers)
    assert answer.status_code in (400, 403)
    assert b"token" not in answer.data
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("host", [HERE, "localhost:8080", "[::1]:8080"])
def test_this_machine_has_three_names(gateway: Client, host: str) -> None:
    assert token(gateway, Host=host).status_code == 200


@pytest.mark.parametrize("body", [{}, [], {"user_id": ""}, {"user_id": 7}, {"user_id": "a" * 129}, {"user_id": "a\n"}])
def test_a_token_needs_a_usable_name(gateway: Client, body: Any) -> None:
    assert token(gateway, body).status_code == 422


def test_a_form_of_another_page_gets_no_token(gateway: Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        sent = {"Host": HERE, "Content-Type": kind}
        assert gateway.post("/console/token", data='{"user_id": "ann"}', headers=sent).status_code == 422
    assert gateway.get("/console/token?user_id=ann", headers={"Host": HERE}).status_code in (404, 405)


def test_an_instance_in_the_cloud_has_no_console(deployment: Services) -> None:
    cloud = replace(deployment, settings=replace(deployment.settings, edition="cloud"))
    client = Client(console(lambda: cloud))
    assert token(client).status_code == 404
    assert {client.get(path, headers={"Host": HERE}).status_code for path in PATHS} == {404}


@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_the_page_itself_may_load_run_or_frame(gateway: Client, path: str) -> None:
    answer = gateway.get(path, headers={"Host": HERE})
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert answer.status_code == 200
    assert {"default-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_outside_the_page_are_not_served(gateway: Client) -> None:
    for path in ("/console/../application.py", "/console/%2e%2e/application.py", "/console//etc/passwd"):
        assert gateway.get(path, headers={"Host": HERE}, follow_redirects=True).status_code == 404


def test_titles_are_told_by_id_and_unknown_ones_are_left_out(gateway: Client) -> None:
    found = gateway.get("/console/titles?id=title-01&id=nothing", headers={"Host": HERE}).get_json()["titles"]
    assert list(found) == ["title-01"]
    assert found["title-01"]["genres"] == ["comedy", "family"]
    assert found["title-01"]["makers"] == ["Ada Arkin"]


def test_only_viewers_with_a_history_are_offered(gateway: Client) -> None:
    about = gateway.get("/console/about", headers={"Host": HERE}).get_json()
    assert about["viewers"] == []
    assert set(about["genres"]) == {"drama", "comedy", "crime", "science fiction", "family"}
