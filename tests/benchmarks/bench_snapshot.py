"""A snapshot's life: build, publish, download, open, and the swap in an instance that serves requests meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]

from core.flows.recommend import rank
from core.flows.viewers import load_viewer
from core.ranking.query import Query
from core.snapshot.manifest import MANIFEST, read_manifest, to_bytes, verify
from core.snapshot.publish import SnapshotHolder, activate, publish
from core.snapshot.snapshot import Snapshot
from tests.benchmarks.bench_requests import DEPLOYED
from tests.benchmarks.measure import Row, row, timed
from tests.benchmarks.server import Form, FunctionServer, load
from tests.benchmarks.world import World, build_snapshot

LIVE_FORM = Form("swap", "hello", "recommend", DEPLOYED, threads=8)
LOADED_S = 4.0  # of requests around a swap


def run(world: World, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    rows = building(world, quick, progress)
    progress("snapshot: open and swap")
    with TemporaryDirectory(dir=world.home) as folder:
        return rows + opening(world, Path(folder)) + swapping(world, Path(folder))


def building(world: World, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    """Build times by part: of a new build, with --quick those of the build when the world was prepared."""
    seconds, note = dict(world.prepared["seconds"]), "when the world was prepared"
    if not quick:
        with TemporaryDirectory(dir=world.home) as folder:
            seconds, note = build_snapshot(world.audience, Path(folder), progress)[1], ""
    items, size = len(world.audience.titles), float(world.prepared["bytes"])
    return [
        row(f"build, {items} titles", [sum(seconds.values())], "s", None, note),
        *(row(f"  {part}", [taken], "s") for part, taken in seconds.items()),
        row("snapshot on disk", [size / 1e6], "MB", 300.0),
        row("snapshot on disk, per title", [size / items], "B"),
    ]


def another_version(world: World, folder: Path, number: int) -> str:
    """Publish the same snapshot under another version, and return that."""
    copy = folder / f"version-{number}"
    shutil.copytree(world.snapshot_folder, copy)
    manifest = replace(read_manifest(copy), version=f"copy-{time.time_ns()}")
    (copy / MANIFEST).write_bytes(to_bytes(manifest))
    return publish(copy, world.services.bucket)


def opening(world: World, folder: Path) -> list[Row]:
    """What an instance does with a snapshot once."""
    begin = psutil.Process().memory_info().rss
    opened = Snapshot.open(world.snapshot_folder)
    used = psutil.Process().memory_info().rss - begin
    state, _, _ = load_viewer(world.services, Query(world.users[0]))
    settings, now = world.services.settings.ranking, time.time()

    def ask(snapshot: Snapshot) -> None:
        rank(snapshot, state, snapshot.popularity, Query(world.users[0]), settings, now)

    first = [seconds for _ in range(5) for seconds in timed(lambda: ask(Snapshot.open(world.snapshot_folder)), 1)]
    return [
        row("check the sha256 of every file", timed(lambda: verify(world.snapshot_folder), 5), "ms"),
        row("open (map the files)", timed(lambda: Snapshot.open(world.snapshot_folder), 20), "ms"),
        row("open and rank for the first time", first, "ms"),
        row("resident after open, before anything is read", [used / 1e6], "MB"),
        row("rank once more: wall time", timed(lambda: ask(opened), 50), "ms"),
        row("swap: look, download, check, open", [swap_once(world, folder, number) for number in range(2)], "ms"),
    ]


def swap_once(world: World, folder: Path, number: int) -> float:
    """Seconds of the one request that finds a new version active; all others go on with the old one."""
    holder = SnapshotHolder(world.services.bucket, folder / f"cache-{number}", 0.0)
    holder.current(time.time())
    activate(world.services.bucket, another_version(world, folder, number))
    begin = time.perf_counter()
    holder.current(time.time() + 1)
    taken = time.perf_counter() - begin
    if holder.failure:
        raise SystemExit(f"the swap failed: {holder.failure}")
    return taken


def swapping(world: World, folder: Path) -> list[Row]:
    """Requests of four connections while another version becomes active in the middle."""
    settings = {"CACHE_DIR": str(folder / "live"), "SNAPSHOT_MAX_AGE_S": "0.1"}
    version = another_version(world, folder, 9)
    with FunctionServer(world.home / "functions" / "swap", LIVE_FORM, world, settings=settings) as server:
        requests = [world.request(user, server.port) for user in world.users[:64]]
        load(server.port, requests, 1.0, 4)
        swap = threading.Timer(LOADED_S / 2, activate, (world.services.bucket, version))
        swap.start()
        found = load(server.port, requests, LOADED_S, 4)
        swap.join()
        served = (folder / "live" / version).is_dir()
    activate(world.services.bucket, str(world.prepared["version"]))
    if not served:
        raise SystemExit("the instance did not take over the new version")
    failed = len(found["latencies_s"]) - found["statuses"].get("200", 0) + found["broken"]
    return [
        row("requests around a swap, 4 connections", found["latencies_s"], "ms"),
        row("  the slowest of them, which swapped", [max(found["latencies_s"])], "ms"),
        row("  failed", [failed], "", 0.0),
    ]
