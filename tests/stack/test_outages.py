"""Stores and the broker die and hang under traffic: answers stay right, degrade by name or are a 503; none is lost."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import requests

from core.local.process import Server
from core.local.stack import Stack
from core.local.tokens import sign_local_token

USERS = [f"outage-{i}" for i in range(6)]
OUTAGE_S = 1.5


class Traffic:
    """Viewers who ask and interact without pause; remembers every answer and every accepted event."""

    def __init__(self, stack: Stack) -> None:
        self.url = stack.gateway.url
        secret = stack.secret_path.read_text()
        self.headers = {user: {"Authorization": f"Bearer {sign_local_token(secret, user)}"} for user in USERS}
        self.accepted: list[tuple[str, str]] = []
        self.answers: list[requests.Response] = []
        self.stopping = threading.Event()

    def run(self, user: str) -> None:
        session = requests.Session()
        session.headers.update(self.headers[user])
        while not self.stopping.is_set():
            answer = session.post(f"{self.url}/api/v1/recommendations", json={"limit": 10}, timeout=30)
            self.answers.append(answer)
            if answer.status_code == 200:
                event_id = uuid.uuid4().hex
                content_id = answer.json()["recommendations"][0]["content_id"]
                event = {"event_id": event_id, "content_id": content_id, "type": "watch_complete"}
                sent = session.post(f"{self.url}/api/v1/interactions", json=event, timeout=30)
                self.answers.append(sent)
                if sent.status_code == 202:
                    self.accepted.append((user, event_id))
            self.stopping.wait(0.02)

    def during(self, outage: Callable[[], None]) -> None:
        self.stopping.clear()
        with ThreadPoolExecutor(len(USERS)) as threads:
            runs = [threads.submit(self.run, user) for user in USERS]
            try:
                time.sleep(0.3)
                outage()
                time.sleep(0.5)
            finally:
                self.stopping.set()
            for run in runs:
                run.result()


def stored(stack: Stack) -> Counter:
    with psycopg.connect(stack.postgres.dsn) as connection:
        rows = connection.execute("SELECT user_id, event_id FROM interactions WHERE user_id LIKE 'outage-%'").fetchall()
    return Counter(rows)


def wait_until_stored(stack: Stack, accepted: list[tuple[str, str]]) -> Counter:
    deadline = time.monotonic() + 60
    while (rows := stored(stack)).keys() < set(accepted) or not set(accepted) <= rows.keys():
        assert time.monotonic() < deadline, (
            f"{len(set(accepted) - rows.keys())} of {len(accepted)} accepted events are missing"
        )
        time.sleep(0.2)
    return rows


def crash(server: Server) -> None:
    server.kill()
    time.sleep(OUTAGE_S)
    server.start()


def hang(server: Server) -> None:
    server.pause()
    time.sleep(OUTAGE_S)
    server.resume()


@pytest.mark.parametrize("fault", [crash, hang])
@pytest.mark.parametrize("name", ["valkey", "broker", "postgres"])
def test_an_outage_loses_nothing_and_every_answer_says_what_it_is(stack: Stack, name: str, fault: Callable) -> None:
    traffic = Traffic(stack)
    traffic.during(lambda: fault(getattr(stack, name)))
    for answer in traffic.answers:
        assert answer.status_code in (200, 202, 503), answer.text
        body = answer.json()
        if answer.status_code == 503:
            assert body["message"]
            assert int(answer.headers["Retry-After"]) >= 1
        elif answer.status_code == 200:
            ids = [row["content_id"] for row in body["recommendations"]]
            assert len(ids) == len(set(ids)) == 10
    assert traffic.accepted
    rows = wait_until_stored(stack, traffic.accepted)
    assert all(rows[event] == 1 for event in traffic.accepted)
    assert all(answer.status_code != 503 for answer in traffic.answers[-2:]), "the answers did not recover"


def recovered(ask: Callable[[], requests.Response]) -> None:
    deadline = time.monotonic() + 10
    while named := ask().json()["degraded"]:
        assert time.monotonic() < deadline, named
        time.sleep(0.1)


def test_a_dead_hot_store_is_named_and_its_copies_come_back(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {sign_local_token(stack.secret_path.read_text(), 'nadia')}"}
    ask = lambda: requests.post(f"{stack.gateway.url}/api/v1/recommendations", json={}, headers=headers, timeout=30)  # noqa: E731
    recovered(ask)
    stack.valkey.kill()
    during = ask().json()
    stack.valkey.start()
    assert "hot_store" in during["degraded"]
    assert during["recommendations"], "the cold store answers"
    recovered(ask)
