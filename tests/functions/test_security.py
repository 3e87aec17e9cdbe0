"""The security checklist, item by item, over HTTPS on real stores: what is forged, foreign, oversized or broken."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from function_client import SECRET, Function, envelope

from core.api.openapi import document
from core.flows.services import Services
from core.stores.postgres.connect import ConnectionPool
from core.stores.pseudonyms import pseudonyms
from core.stores.valkey import client, keys_of

POSTS = sorted(
    (operation["post"]["tags"][0], path) for path, operation in document()["paths"].items() if "post" in operation
)
ROOT = Path(__file__).parents[2]
CLAIMS = {"iss": "sona-local", "aud": "sona", "sub": "ann", "roles": ["service", "admin"]}
QUOTED = "'; DROP TABLE interactions; --"


def claims(**changes: Any) -> dict[str, Any]:
    return CLAIMS | {"exp": time.time() + 60} | changes


FORGED = {
    "unsigned": lambda: jwt.encode(claims(), None, "none"),
    "another secret": lambda: jwt.encode(claims(), "x" * 32, "HS256"),
    "expired": lambda: jwt.encode(claims(exp=time.time() - 60), SECRET, "HS256"),
    "not yet valid": lambda: jwt.encode(claims(nbf=time.time() + 60), SECRET, "HS256"),
    "wrong audience": lambda: jwt.encode(claims(aud="other"), SECRET, "HS256"),
    "wrong issuer": lambda: jwt.encode(claims(iss="other"), SECRET, "HS256"),
    "no expiry": lambda: jwt.encode(dict(CLAIMS), SECRET, "HS256"),
    "no subject": lambda: jwt.encode({**claims(), "sub": ""}, SECRET, "HS256"),
    "changed after signing": lambda: _changed(jwt.encode(claims(sub="bob"), SECRET, "HS256")),
    "garbage": lambda: "a.b.c",
    "too long": lambda: "a" * 9000,
}


def _changed(token: str) -> str:
    header, _, signature = token.split(".")
    return ".".join((header, jwt.encode(claims(), "x" * 32, "HS256").split(".")[1], signature))


@pytest.mark.parametrize(("name", "path"), POSTS)
def test_no_route_accepts_a_forged_token(function: Callable[[str], Function], name: str, path: str) -> None:
    for why, make in FORGED.items():
        answer = function(name).post(path, {}, None, Authorization=f"Bearer {make()}")
        assert (answer.status_code, answer.get_json()["error"]) == (401, "unauthenticated"), why
    assert function(name).post(path, {}, None).status_code == 401


def _names_a_user(path: str) -> bool:
    """Whether a body of this path has a user_id at its top."""
    body = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    forms = [body, *body.get("oneOf", ()), *body.get("anyOf", ())]
    found = [document()["components"]["schemas"][form["$ref"].rpartition("/")[2]] for form in forms if "$ref" in form]
    return any("user_id" in form.get("properties", {}) for form in [*forms, *found])


@pytest.mark.parametrize(("name", "path"), [post for post in POSTS if _names_a_user(post[1])])
def test_no_route_answers_about_somebody_else(function: Callable[[str], Function], name: str, path: str) -> None:
    answer = function(name).post(path, {"user_id": "victim"}, "mallory")
    assert answer.status_code in (403, 422)  # what else the body lacks may be said first, and nothing about the victim
    assert "victim" not in answer.get_data(as_text=True)


BROKEN = {
    "too large": b'{"a": "' + b"x" * 300_000 + b'"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"context":' * 20_000,
    "closed deep lists": b"[" * 5_000 + b"]" * 5_000,
    "not a number": b'{"limit": NaN, "value": NaN, "base_embeddings": [NaN]}',
    "infinite": b'{"limit": Infinity, "value": -Infinity, "base_embeddings": [Infinity]}',
    "beyond a double": b'{"limit": 1e999, "value": 1e999, "base_embeddings": [1e999]}',
    "a huge integer": b'{"limit": ' + b"9" * 5_000 + b"}",
    "not UTF-8": b'{"user_id": "\xff\xfe"}',
    "half a surrogate": b'{"user_id": "\\ud800"}',
    "a NUL": b'{"user_id": "a\\u0000b", "content_id": "a\\u0000b"}',
    "a key twice": b'{"user_id": "ann", "user_id": "bob"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(10_000)) + b"}",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize(("name", "path"), POSTS)
def test_no_body_breaks_a_route(
    function: Callable[[str], Function], name: str, path: str, body: bytes, user: str
) -> None:
    answer = function(name).post(path, body, user, ("admin",))
    assert answer.status_code in (400, 403, 413, 422), answer.get_data(as_text=True)[:300]
    assert set(answer.get_json()) <= {"error", "message", "details"}
    assert len(answer.data) < 10_000


def test_sql_in_an_id_is_an_id(
    push: Callable[..., Any], recommend: Function, sql: ConnectionPool, deployment: Services
) -> None:
    push(QUOTED, {"event_id": QUOTED, "content_id": QUOTED, "type": "like", "device": QUOTED})
    assert len(recommend.ask("/api/v1/recommendations", {"exclude_ids": [QUOTED]}, QUOTED)["recommendations"]) == 20
    state = deployment.log.load_state(QUOTED)
    assert state is not None
    query = "SELECT count(*) FROM interactions WHERE user_id = %s AND content_id = %s"
    assert sql.run(lambda c: c.execute(query, (QUOTED, QUOTED)).fetchone()) == (1,)


@pytest.mark.parametrize("name", ["a} {b", "a{b}c", "*", "user:{x}:state", "a\\nb"])
def test_no_id_reaches_another_users_keys(
    push: Callable[..., Any], recommend: Function, deployment: Services, user: str, name: str
) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    push(f"{user}{name}", {"content_id": "title-08", "type": "watch_complete"})
    seen = {
        row["content_id"] for row in recommend.ask("/api/v1/recommendations", {"limit": 40}, user)["recommendations"]
    }
    assert "title-07" not in seen
    assert "title-08" in seen


def test_a_log_line_stays_one_line_whatever_is_asked_for(
    recommend: Function, capsys: pytest.CaptureFixture[str], ingest: Function
) -> None:
    forged = '"}\n{"severity": "CRITICAL", "message": "forged'
    recommend.post("/api/v1/recommendations/similar", {"content_id": forged.replace("\n", "")})
    recommend.client.get("/" + "%0A".join(("a", '{"severity":"CRITICAL"}')))
    ingest.post("/push", envelope(forged.encode(), "x"), None)
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["severity"] != "CRITICAL"


def test_logs_name_neither_users_nor_their_data(
    recommend: Function, push: Callable[..., Any], deployment: Services, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"}, {"type": "?", "user_id": user})
    valkey = client(deployment.settings.stores)
    valkey.set(keys_of(user, pseudonyms(deployment.settings.privacy.keys)).state, b"rubbish")
    recommend.ask("/api/v1/recommendations", {}, user)
    assert user not in capsys.readouterr().out


@pytest.mark.parametrize("blob", [b"", b"x", b"x" * 16, b"\x80\x04\x95pickle", b"\xff" * 4000])
@pytest.mark.parametrize("key", ["state", "lora_adapter"])
def test_a_corrupted_copy_is_replaced_or_left_out_and_never_obeyed(
    recommend: Function, push: Callable[..., Any], deployment: Services, user: str, key: str, blob: bytes
) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    expected = recommend.ask("/api/v1/recommendations", {"limit": 10}, user)["recommendations"]
    name = f"user:{{{keys_of(user, pseudonyms(deployment.settings.privacy.keys)).tag}}}:{key}"
    assert client(deployment.settings.stores).exists(name)
    client(deployment.settings.stores).set(name, blob)
    answer = recommend.ask("/api/v1/recommendations", {"limit": 10}, user)
    if set(answer["degraded"]) <= {"adapter", "lora_boost"}:
        assert answer["recommendations"] == expected
    else:
        assert len(answer["recommendations"]) == 10


def test_answers_and_refusals_tell_no_secrets(recommend: Function, deployment: Services) -> None:
    stores = deployment.settings.stores
    secrets = (SECRET, stores.sql_dsn, stores.redis_url, "Traceback", str(ROOT), "site-packages")
    for answer in (
        recommend.post("/api/v1/recommendations", {}),
        recommend.post("/api/v1/recommendations", b"{"),
        recommend.post("/nowhere", {}),
        recommend.client.get("/health"),
    ):
        assert not any(secret in answer.get_data(as_text=True) for secret in secrets)
