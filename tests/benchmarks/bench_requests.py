"""Requests: throughput, latency and CPU time of /api/v1/recommendations next to a hello-world function.

Both run under the same functions-framework in the same form and take turns, so that a slow spell of the machine hits
both. 16 connections in a closed loop; the generator is a process of its own, on the same cores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.benchmarks.measure import Row, figure, row
from tests.benchmarks.server import Form, FunctionServer, load
from tests.benchmarks.stages import stage_rows
from tests.benchmarks.world import ROOT, World

DEPLOYED = ROOT / "functions" / "recommend.py"
EXPERIMENT = ROOT / "tests" / "benchmarks" / "asgi_recommend.py"
FORMS = (
    Form("1 worker, 1 thread", "hello", "recommend", DEPLOYED),
    Form("1 worker, 8 threads", "hello", "recommend", DEPLOYED, threads=8),
    Form("2 workers, 1 thread", "hello", "recommend", DEPLOYED, 2),
    Form("2 workers, 4 threads", "hello", "recommend", DEPLOYED, 2, 4),
    Form("ASGI, 1 worker", "hello_async", "recommend", EXPERIMENT, asgi=True),
    Form("ASGI, 2 workers", "hello_async", "recommend", EXPERIMENT, 2, asgi=True),
    Form("ASGI in threads, 1 worker", "hello_async", "recommend_threads", EXPERIMENT, asgi=True),
)
QUICK = {"1 worker, 8 threads", "2 workers, 4 threads", "ASGI, 2 workers"}
CONNECTIONS = 16
USERS = 256  # whose requests go round
CORES = 2  # of the machine that the target for requests/s means

Seen = dict[str, Any]


def run(world: World, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    """Every form, or three of them; then where the time of one request goes."""
    rows: list[Row] = []
    for form in FORMS:
        if not quick or form.name in QUICK:
            progress(f"requests: {form.name}")
            rows += compare(world, form, rounds=3 if quick else 6, seconds=0.8 if quick else 2.0)
    progress("requests: where the time goes")
    return rows + stage_rows(world, 300 if quick else 1500)


def compare(world: World, form: Form, rounds: int, seconds: float) -> list[Row]:
    """The rows of one form: hello and recommendations in turns."""
    folder = world.home / "functions"
    with (
        FunctionServer(folder / "hello", form, world, hello=True) as hello,
        FunctionServer(folder / "recommend", form, world) as ours,
    ):
        servers = (hello, ours)
        requests = [[world.request(user, server.port) for user in world.users[:USERS]] for server in servers]
        for server, prepared in zip(servers, requests, strict=True):
            load(server.port, prepared, 1.0, CONNECTIONS)  # connects the stores and touches the snapshot's pages
        seen: list[list[Seen]] = [[], []]
        for _ in range(rounds):
            for i, server in enumerate(servers):
                began = server.cpu_s()
                found = load(server.port, requests[i], seconds, CONNECTIONS)
                seen[i].append({**found, "cpu_s": server.cpu_s() - began, "seconds": seconds})
        alone = [load(server.port, requests[i], seconds, 1) for i, server in enumerate(servers)]
        return loaded(form, *seen) + unloaded(form, *alone) + occupied(form, ours.workers())


def loaded(form: Form, hello: list[Seen], ours: list[Seen]) -> list[Row]:
    """At 16 connections."""
    per_second = [[len(found["latencies_s"]) / found["seconds"] for found in seen] for seen in (hello, ours)]
    cpu = [[found["cpu_s"] / max(len(found["latencies_s"]), 1) for found in seen] for seen in (hello, ours)]
    base = row("", pooled(hello), "ms")
    mine = row(f"{form.name}: latency, {CONNECTIONS} connections", pooled(ours), "ms")
    mine["note"] = f"hello {figure(base['median'])}, p99 {figure(base['p99'])}"
    p99s = [row("", found["latencies_s"], "ms")["p99"] for found in ours]
    failed = sum(len(found["latencies_s"]) - found["statuses"].get("200", 0) + found["broken"] for found in ours)
    target = 1500.0 if form.workers == CORES else None
    return [
        row(
            f"{form.name}: requests/s",
            per_second[1],
            "1/s",
            target,
            f"hello {figure(row('', per_second[0], '')['median'])}",
            at_least=True,
        ),
        mine,
        row(f"{form.name}: p50 / hello's p50", [mine["median"] / base["median"]], "x", 4.0),
        row(f"{form.name}: p99 of a round", [p99 for p99 in p99s if p99 is not None], "", 20.0, "ms"),
        row(
            f"{form.name}: CPU per request",
            cpu[1],
            "ms",
            1.3,
            f"hello {figure(row('', cpu[0], 'ms')['median'])}; the server's processes, all threads",
        ),
        row(
            f"{form.name}: CPU / hello's CPU",
            [mine_s / base_s for base_s, mine_s in zip(*cpu, strict=True) if base_s],
            "x",
            None,
            "says more than ms on a busy machine",
        ),
        row(f"{form.name}: answers other than 200", [failed], "", 0.0),
    ]


def unloaded(form: Form, hello: Seen, ours: Seen) -> list[Row]:
    """At one connection: what a single caller sees."""
    base = row("", hello["latencies_s"], "ms")
    note = f"hello {figure(base['median'])}, p99 {figure(base['p99'])}"
    return [row(f"{form.name}: latency, 1 connection", ours["latencies_s"], "ms", None, note)]


def pooled(seen: list[Seen]) -> list[float]:
    return [latency for found in seen for latency in found["latencies_s"]]


def occupied(form: Form, workers: list[psutil.Process]) -> list[Row]:
    """Memory of one worker: what it maps and shares included, and what is its own."""
    memory = [process.memory_full_info() for process in workers]
    return [
        row(f"{form.name}: memory of a worker, resident", [used.rss / 1e6 for used in memory], "MB"),
        row(f"{form.name}: memory of a worker, its own", [used.uss / 1e6 for used in memory], "MB"),
    ]
