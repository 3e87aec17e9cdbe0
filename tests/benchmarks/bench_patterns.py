"""The reasoning bank with 10 000 patterns: search in memory and in pgvector, reading it, laying it out, maintaining it.

Patterns are made of random titles of the demo catalogue; their queries are those of viewers with neighbouring likes.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from core.config import StoreSettings
from core.local.demo import demo_titles
from core.local.postgres_server import PostgresServer
from core.numeric.vectors import top_k
from core.patterns.circumstances import circumstances, counted
from core.patterns.index import PatternIndex, lay_out
from core.patterns.known import KnownPattern, content_space, embed
from core.patterns.maintain import Rules, extract, fade_unused, merge_alike, prune
from core.patterns.store import Changes
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot
from core.stores.postgres.connect import pool
from core.stores.postgres.migrate import migrate
from core.stores.postgres.patterns import PostgresPatterns
from tests.benchmarks.measure import Row, row, timed

PATTERNS = 10_000
NOW = 1_790_000_000.0
DEVICES = ("tv", "mobile", "tablet", "desktop")
WRITTEN_AT_ONCE = 1000


def made_patterns(snapshot: Snapshot, count: int, rng: np.random.Generator, kind: str = "c") -> list[KnownPattern]:
    """Patterns whose anchors are one title's neighbourhood, as tastes are."""
    space, found = content_space(snapshot), []
    names = [snapshot.content_id(place) for place in range(len(snapshot))]
    for number in range(count):
        centre = int(rng.integers(len(names)))
        near = snapshot.content.index[centre]
        chosen = [centre, *rng.choice(near, 9).tolist()]
        anchors = {names[place]: 0.8**age for age, place in enumerate(chosen)}
        vector = embed(snapshot, anchors)
        length = float(np.linalg.norm(vector)) or 1.0
        at = NOW - float(rng.uniform(0, 6 * 86_400.0))
        results = {names[int(place)]: 1.0 for place in rng.choice(near, 8)}
        found.append(
            KnownPattern(
                f"{kind}-{number:05d}", space, vector / np.float32(length),
                {name: weight / length for name, weight in anchors.items()},
                counted(circumstances(at, DEVICES[number % 4])), results, 0.8, 0.8, 6, at, at,
            )
        )  # fmt: skip
    return found


def queries(patterns: list[KnownPattern], count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Queries near patterns: two of them mixed."""
    pairs = rng.integers(len(patterns), size=(count, 2))
    mixed = [0.7 * patterns[a].embedding + 0.3 * patterns[b].embedding for a, b in pairs]
    return [np.asarray(vector / np.linalg.norm(vector), np.float32) for vector in mixed]


def run(quick: bool) -> list[Row]:
    rng = np.random.default_rng(0)
    with ExitStack() as things:
        folder = Path(things.enter_context(TemporaryDirectory()))
        snapshot = Snapshot.open(build(demo_titles(), collect_interactions([]), NOW, folder / "snapshots"))
        patterns = made_patterns(snapshot, PATTERNS, rng)
        asked = queries(patterns, 200 if quick else 1000, rng)
        rows, index = in_memory(snapshot, patterns, asked)
        server = things.enter_context(PostgresServer(folder / "postgres", fsync=False))
        stores = StoreSettings(sql_dsn=server.dsn)
        migrate(stores)
        connections = pool(stores)
        try:
            rows += in_database(PostgresPatterns(connections), patterns, asked[: 100 if quick else 400], index)
        finally:
            connections.close()
    return rows + maintaining(snapshot, patterns, rng)


def in_memory(
    snapshot: Snapshot, patterns: list[KnownPattern], asked: list[np.ndarray]
) -> tuple[list[Row], PatternIndex]:
    index = lay_out(patterns, snapshot)
    wanted = circumstances(NOW, "tv")
    samples, busy = [], []
    for query in asked:
        begin, own = time.perf_counter(), time.thread_time()
        index.search(query, wanted, 8)
        samples.append(time.perf_counter() - begin)
        busy.append(time.thread_time() - own)
    laid_out = timed(lambda: lay_out(patterns, snapshot), 3)
    return [
        row("search 10 000 patterns in memory, 32-d", samples, "ms", 1.0),
        row("search 10 000 patterns in memory: CPU time", busy, "ms", 1.0),
        row("lay 10 000 patterns out over a snapshot", laid_out, "ms"),
    ], index


def in_database(
    store: PostgresPatterns, patterns: list[KnownPattern], asked: list[np.ndarray], index: PatternIndex
) -> list[Row]:
    began = time.perf_counter()
    with store.maintenance("daily", NOW, False) as work:
        for first in range(0, len(patterns), WRITTEN_AT_ONCE):
            part = patterns[first : first + WRITTEN_AT_ONCE]
            work.step(f"write {first}", lambda view, part=part: Changes(part))  # type: ignore[misc]
    written_s = time.perf_counter() - began
    samples, found = [], 0
    for query in asked:
        begin = time.perf_counter()
        near = store.nearest(index.space, query, 10)
        samples.append(time.perf_counter() - begin)
        exact = {index.patterns[place].pattern_id for place in top_k(index.directions @ query, 10)}
        found += len(exact & {one.pattern_id for one in near})
    recall = found / (10 * len(asked))
    version = store.changes(0).version
    return [
        row("search 10 000 patterns in pgvector (HNSW), 32-d", samples, "ms", 10.0, f"recall@10 {recall:.3f}"),
        row("read a bank of 10 000 patterns", timed(lambda: store.changes(0), 3), "ms"),
        row("look for changes, none", timed(lambda: store.changes(version), 20), "ms"),
        row("write 10 000 patterns with their results", [written_s], "s"),
    ]


def maintaining(snapshot: Snapshot, patterns: list[KnownPattern], rng: np.random.Generator) -> list[Row]:
    """The nightly steps' own work, on a full bank and a day's 2 000 sessions."""
    sessions = made_patterns(snapshot, 2000, rng, "s")
    bank, rules, steps = [*patterns, *sessions], Rules(), {}
    for name, step in {
        "gather 2 000 sessions": lambda: extract(bank, NOW + 86_400.0, rules),
        "merge what is alike among 10 000": lambda: merge_alike(patterns, rules),
        "fade and prune 10 000": lambda: (fade_unused(patterns, NOW), prune(patterns, rules)),
    }.items():
        steps[name] = timed(step, 1)
    return [row(f"maintenance: {name}", samples, "s") for name, samples in steps.items()]


if __name__ == "__main__":
    from tests.benchmarks.measure import show

    show(run(quick=True))
