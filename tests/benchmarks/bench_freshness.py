"""Freshness: from the moment an event is accepted to the first answer that knows of it, on the whole laptop stack.

HTTPS -> collect -> Pub/Sub -> push -> ingest -> PostgreSQL and Valkey -> recommend, through the gateway. A viewer
finishes the title that heads the answer, and asks again until that title is gone.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.local.process import HOST
from tests.benchmarks.measure import Row, row
from tests.benchmarks.world import World

PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Viewer:
    """One viewer's persistent connection to the gateway."""

    connection: http.client.HTTPConnection
    token: str

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request("POST", path, json.dumps(body).encode(), headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def titles(self) -> list[str]:
        """Content ids of the answer, best first."""
        status, answer = self.post("/api/v1/recommendations", {"limit": 10})
        if status != 200:
            raise SystemExit(f"recommendations answered {status}: {answer}")
        return [item["content_id"] for item in answer["recommendations"]]


def run(world: World, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    connection = http.client.HTTPConnection(HOST, world.stack.gateway.port, timeout=PATIENCE_S)
    users = [f"fresh-{time.time_ns()}-{i}" for i in range(4)] + world.users[:4]
    viewers = [Viewer(connection, world.token(user)) for user in users]
    accepting, changing, asking = [], [], []
    for viewer in viewers:
        viewer.titles()
    for number in range(40 if quick else 200):
        progress(f"freshness: {number}")
        accepted, changed, answer = once(viewers[number % len(viewers)])
        accepting.append(accepted)
        changing.append(changed)
        asking.append(answer)
    connection.close()
    return [
        row("an event is accepted: POST /api/v1/interactions", accepting, "ms"),
        row("accepted -> the next answer has changed", changing, "ms", 100.0),
        row("  of which the answer that shows it", asking, "ms"),
    ]


def once(viewer: Viewer) -> tuple[float, float, float]:
    """Seconds until the event was accepted, from then until the answer had changed, and of that last answer."""
    head = viewer.titles()[0]
    begin = time.perf_counter()
    status, answer = viewer.post("/api/v1/interactions", {"content_id": head, "type": "watch_complete"})
    accepted = time.perf_counter()
    if status != 202:
        raise SystemExit(f"interactions answered {status}: {answer}")
    while True:
        asked = time.perf_counter()
        known = head not in viewer.titles()
        now = time.perf_counter()
        if known:
            return accepted - begin, now - accepted, now - asked
        if now - accepted > PATIENCE_S:
            raise SystemExit(f"an accepted event did not change the answer within {PATIENCE_S:g} s")
