"""Mixed traffic at a steady pace against a running laptop edition, and the memory of everything that serves it.

Viewers ask for recommendations, look at similar titles, search, watch and say what they like, in the shares of MIX. The
pace is kept as well as it can be: a late answer delays its own connection only.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from core.local.process import HOST, Server
from core.local.stack import Stack

CONNECTIONS = 8
SHOWN = 50  # results of a search that are put in the user's order
WARM_UP = 1 / 3  # of the time, before memory must be flat: caches fill, connections open, the heap finds its size
KINDS = ("watch_start", "watch_complete", "like", "skip_content", "search_click")

Body = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """latencies_s and statuses by kind of request; memory: process -> [(second, MB resident)]; broken: connections
    that ended without an answer."""

    latencies_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    broken: int = 0
    seconds: float = 0.0

    @property
    def refused(self) -> int:
        """Answers that are neither a success nor a limit's."""
        wrong = sum(n for found in self.statuses.values() for status, n in found.items() if status not in GOOD)
        return wrong + self.broken

    def growth_mb(self, process: str) -> tuple[float, float]:
        """(growth over the time after the warm-up by the Theil-Sen slope, median) of one process, in MB."""
        settled = [(at, used) for at, used in self.memory[process] if at >= WARM_UP * self.seconds]
        at, used = np.array(settled).T
        i, j = np.triu_indices(len(at), 1)
        slope = np.median((used[j] - used[i]) / (at[j] - at[i])) if len(i) else 0.0
        return float(slope * (at[-1] - at[0])), float(np.median(used))


GOOD = (200, 202, 429)


def mix(titles: Sequence[str]) -> list[tuple[str, float, str, Callable[[random.Random], Body]]]:
    """(kind, share, path, body) of what viewers send."""
    return [
        ("recommend", 0.45, "/api/v1/recommendations", lambda rng: {"limit": 20, "context": {"device_type": "tv"}}),
        ("similar", 0.10, "/api/v1/recommendations/similar", lambda rng: {"content_id": rng.choice(titles)}),
        ("search", 0.15, "/api/v1/search/personalize", lambda rng: {"results": _results(rng, titles)}),
        ("collect", 0.25, "/api/v1/interactions", lambda rng: _event(rng, titles)),
        ("profile", 0.05, "/api/v1/profile/onboarding", lambda rng: {"genres": rng.sample(GENRES, 2)}),
    ]


GENRES = ["drama", "comedy", "crime", "science fiction", "family"]


def _results(rng: random.Random, titles: Sequence[str]) -> list[Body]:
    found = rng.sample(list(titles), min(SHOWN, len(titles)))
    return [{"content_id": title, "score": 1.0 - place / SHOWN} for place, title in enumerate(found)]


def _event(rng: random.Random, titles: Sequence[str]) -> Body:
    return {"content_id": rng.choice(titles), "type": rng.choice(KINDS)}


class Viewer:
    """One connection that carries the requests of many users."""

    def __init__(self, port: int, seen: Seen, lock: threading.Lock) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=30.0)
        self._seen, self._lock = seen, lock

    def send(self, kind: str, path: str, token: str, body: Body) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        began = time.perf_counter()
        try:
            self._connection.request("POST", path, json.dumps(body), headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            with self._lock:
                self._seen.broken += 1
            return
        took_s = time.perf_counter() - began
        with self._lock:
            self._seen.latencies_s[kind].append(took_s)
            self._seen.statuses[kind][answer.status] += 1


def drive(
    stack: Stack, tokens: Sequence[str], titles: Sequence[str], seconds: float, per_second: float, every_s: float
) -> Seen:
    """Send `per_second` requests for `seconds`, and look at every process's memory every `every_s`."""
    seen, lock = Seen(seconds=seconds), threading.Lock()
    kinds = mix(titles)
    began = time.monotonic()

    def connection(number: int) -> None:
        rng, viewer = random.Random(number), Viewer(stack.gateway.port, seen, lock)
        due = began + number / per_second
        while (now := time.monotonic()) < began + seconds:
            if now < due:
                time.sleep(due - now)
            kind, _, path, body = rng.choices(kinds, [share for _, share, _, _ in kinds])[0]
            viewer.send(kind, path, rng.choice(tokens), body(rng))
            due = max(due + CONNECTIONS / per_second, time.monotonic() - 1.0)  # what was missed is not made up for

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        runs = [threads.submit(connection, number) for number in range(CONNECTIONS)]
        while (passed := time.monotonic() - began) < seconds:
            _weigh(stack.servers, seen, passed)
            time.sleep(min(every_s, max(seconds - (time.monotonic() - began), 0.01)))
        for run in runs:
            run.result()
    return seen


def _weigh(servers: Sequence[Server], seen: Seen, at: float) -> None:
    """PostgreSQL's processes share most of what they map, so only what each has of its own is added up."""
    for server in servers:
        process = server.process()
        if process is None:
            continue
        with suppress(psutil.NoSuchProcess):
            children = process.children()
            if server.name == "gateway":
                for number, child in enumerate(sorted(children, key=lambda one: one.pid)):
                    seen.memory[f"function worker {number}"].append((at, child.memory_info().rss / 1e6))
            elif server.name == "postgres":
                own = sum(one.memory_full_info().uss for one in [process, *children])
                seen.memory["postgres, own"].append((at, own / 1e6))
            else:
                seen.memory[server.name].append((at, process.memory_info().rss / 1e6))
