"""Traffic, mischief and the audit of the fault tests: who asks, what breaks, and what must be true afterwards."""

import json
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import psutil
import psycopg
import requests

from core.errors import SonaError
from core.flows.replay import replay_user
from core.local.gateway import WORKERS
from core.local.stack import Stack
from core.local.tokens import sign_local_token
from core.stores.pseudonyms import pseudonyms
from core.stores.pubsub import PubsubPublisher
from core.stores.valkey import ValkeyHotStates, client
from core.wiring import services_for

PATIENCE_S = 60.0
REQUEST_BUDGET_S = 30.0  # of every call in these tests; what is under way when a process dies fails at once


class Part(Protocol):
    """What can break. Every core.local.process.Server is one."""

    def kill(self) -> None: ...
    def start(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Worker:
    """One of the processes that answer. gunicorn replaces a killed one, as Cloud Run does."""

    def __init__(self, stack: Stack) -> None:
        self._gateway = stack.gateway
        self._victim: psutil.Process | None = None

    def kill(self) -> None:
        self._choose().kill()

    def start(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self._workers()) < WORKERS or not self._answers():
            assert time.monotonic() < deadline, "no worker was started in its place"
            time.sleep(0.05)

    def pause(self) -> None:
        self._choose().suspend()

    def resume(self) -> None:
        assert self._victim is not None
        self._victim.resume()

    def _choose(self) -> psutil.Process:
        self._victim = random.Random(len(self._workers())).choice(self._workers())
        return self._victim

    def _workers(self) -> list[psutil.Process]:
        master = self._gateway.process()
        living = master.children() if master else []
        return [child for child in living if child.status() != psutil.STATUS_ZOMBIE]

    def _answers(self) -> bool:
        with suppress(OSError):
            return self._gateway.answers()
        return False


def part(stack: Stack, name: str) -> Part:
    """valkey, broker, postgres, worker (one process) or gateway (all of them)."""
    return Worker(stack) if name == "worker" else getattr(stack, name)


def broken(parts: Sequence[tuple[Part, str]], outage_s: float) -> None:
    """Break all parts, each by "kill" or "pause", wait, and mend them in the same order."""
    for one, fault in parts:
        one.kill() if fault == "kill" else one.pause()
    time.sleep(outage_s)
    for one, fault in parts:
        one.start() if fault == "kill" else one.resume()


def insist(attempt: Callable[[], bool], what: str) -> None:
    """Try until it succeeds, as a client with a queue does."""
    deadline = time.monotonic() + PATIENCE_S
    while not attempt():
        assert time.monotonic() < deadline, f"{what} did not succeed"
        time.sleep(0.05)


class Traffic:
    """Viewers who ask and interact without pause, and send an event again until it is accepted; beside them mischief.

    answers: whatever came back; accepted: user -> ids of the events whose sender was told so; poison: marks of what
    arrived and is no event.
    """

    def __init__(self, stack: Stack, viewers: int = 6) -> None:
        self.stack = stack
        run = uuid.uuid4().hex[:8]
        self.users = [f"fault-{run}-{number}" for number in range(viewers)]
        self.accepted: dict[str, set[str]] = defaultdict(set)
        self.poison: list[str] = []
        self.answers: list[requests.Response] = []
        self.stopping = threading.Event()
        self._secret = stack.secret_path.read_text()
        self._publisher = PubsubPublisher(stack.settings().stores)

    def during(self, outage: Callable[[], None], before_s: float = 0.3, after_s: float = 0.5) -> None:
        """Run everybody while `outage` happens, and wait until each has what it began accepted."""
        with ThreadPoolExecutor(len(self.users) + 1) as threads:
            runs = [threads.submit(self._view, user) for user in self.users]
            runs.append(threads.submit(self._make_mischief))
            try:
                time.sleep(before_s)
                outage()
                time.sleep(after_s)
            finally:
                self.stopping.set()
            for run in runs:
                run.result()

    def session(self, user: str) -> requests.Session:
        opened = requests.Session()
        opened.headers["Authorization"] = f"Bearer {sign_local_token(self._secret, user)}"
        return opened

    def _view(self, user: str) -> None:
        with self.session(user) as session:
            while not self.stopping.is_set():
                answer = self._post(session, "/api/v1/recommendations", {"limit": 10})
                if answer is not None and answer.status_code == 200 and answer.json()["recommendations"]:
                    shown = answer.json()["recommendations"][0]["content_id"]
                    event = {"event_id": uuid.uuid4().hex, "content_id": shown, "type": "watch_complete"}
                    insist(lambda event=event: self._send(session, user, event), "an event")
                self.stopping.wait(0.02)

    def _send(self, session: requests.Session, user: str, event: dict[str, Any]) -> bool:
        answer = self._post(session, "/api/v1/interactions", event)
        if answer is None or answer.status_code != 202:
            return False
        self.accepted[user].add(event["event_id"])
        return True

    def _post(self, session: requests.Session, path: str, body: dict[str, Any]) -> requests.Response | None:
        """None when the process that had the request died; nobody can tell whether it was done."""
        try:
            answer = session.post(f"{self.stack.gateway.url}{path}", json=body, timeout=REQUEST_BUDGET_S)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            return None
        self.answers.append(answer)
        return answer

    def _make_mischief(self) -> None:
        """Corrupted, duplicated, reordered and delayed messages, without the ordering keys that would protect them."""
        rng = random.Random(7)
        late: list[tuple[str, dict[str, Any]]] = []
        while not self.stopping.is_set():
            user = rng.choice(self.users)
            self._corrupt(user, rng)
            for event_id in sorted(self.accepted[user])[-2:]:
                self._deliver(user, {"event_id": event_id, "content_id": "duplicate", "type": "dislike"})
            batch = [_event(rng, number) for number in range(4)]
            rng.shuffle(batch)
            late += [(user, batch.pop())]
            for event in batch:
                self._deliver(user, event)
            self.stopping.wait(0.1)
        for user, event in reversed(late):
            self._deliver(user, event)

    def _deliver(self, user: str, event: dict[str, Any]) -> None:
        self._publish({"user_id": user, "events": [event]})
        self.accepted[user].add(event["event_id"])

    def _corrupt(self, user: str, rng: random.Random) -> None:
        """Messages that are no events; where a good one is beside a bad one, the good one counts."""
        mark, good = uuid.uuid4().hex, _event(rng, 0)
        whole = json.dumps({"user_id": user, "events": [good], "mark": mark}).encode()
        self._publish(whole[: len(whole) // 2] + mark.encode())
        self._publish({"user_id": user, "events": [{"type": mark}, good, {**good, "rating": mark}]})
        self._publish(b"\xff\xfe" + mark.encode())
        self._publish({"events": [], "mark": mark})
        self.accepted[user].add(good["event_id"])
        self.poison.append(mark)

    def _publish(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        topic = self.stack.settings().stores.interactions_topic

        def attempt() -> bool:
            with suppress(SonaError):
                return bool(self._publisher.publish(topic, "", data, {}))
            return False

        insist(attempt, "a message")


def _event(rng: random.Random, number: int) -> dict[str, Any]:
    """Some event of some day of the last month."""
    kind = rng.choice(["like", "watch_start", "search_click", "skip_content"])
    at = time.time() - rng.uniform(0, 30 * 86_400)
    return {"event_id": uuid.uuid4().hex, "content_id": f"mischief-{number}", "type": kind, "occurred_at": at}


def audit(traffic: Traffic) -> None:
    """Nothing accepted is lost, nothing is applied twice, and state, log and hot copy agree for every user."""
    _wait_for_rows(traffic)
    services = services_for(traffic.stack.settings())
    settings = services.settings
    names = pseudonyms(settings.privacy.keys)
    hot = ValkeyHotStates(client(settings.stores), settings.stores.state_ttl_s, names)
    with psycopg.connect(traffic.stack.postgres.dsn, autocommit=True) as connection:
        _settle(connection, traffic.users)
        for user in traffic.users:
            rows = connection.execute("SELECT event_id, seq, type FROM interactions WHERE user_id = %s", (user,))
            found = rows.fetchall()
            stored = [event_id for event_id, _, kind in found if kind != "impression"]
            assert Counter(stored) == Counter(traffic.accepted[user])
            assert sorted(seq for _, seq, _ in found) == list(range(1, len(found) + 1))
            report = replay_user(services, user, time.time())
            assert report["equal"], report
            assert report["events"] == len(found)
            assert report["fast_tier"] != "different", report
            state = services.log.load_state(user)
            insist(
                lambda user=user, state=state: hot.get_with_adapter(user)[0] == state or _nudged(traffic, user),
                "the hot copy",
            )
        payloads = connection.execute("SELECT payload FROM rejected_events").fetchall()
    kept = b" ".join(payload for (payload,) in payloads)
    assert [mark for mark in traffic.poison if mark.encode() not in kept] == []


def _wait_for_rows(traffic: Traffic) -> None:
    query = "SELECT user_id, event_id FROM interactions WHERE user_id = ANY(%s)"
    expected = {(user, event_id) for user in traffic.users for event_id in traffic.accepted[user]}
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(traffic.stack.postgres.dsn, autocommit=True) as connection:
        while missing := expected - set(connection.execute(query, (traffic.users,)).fetchall()):
            assert time.monotonic() < deadline, f"{len(missing)} of {len(expected)} accepted events are missing"
            time.sleep(0.1)


def _settle(connection: psycopg.Connection, users: list[str]) -> None:
    """Wait until no more impressions come."""
    query, before = "SELECT sum(seq) FROM user_states WHERE user_id = ANY(%s)", None
    while (now := connection.execute(query, (users,)).fetchone()) != before:
        before = now
        time.sleep(0.4)


def _nudged(traffic: Traffic, user: str) -> bool:
    """A message known already: copies that could not be made are made by the messages that follow."""
    event_id = min(traffic.accepted[user])
    traffic._publish({"user_id": user, "events": [{"event_id": event_id, "content_id": "again", "type": "like"}]})
    return False
