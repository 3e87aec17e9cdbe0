"""The engine and adaptation: microseconds of every call, beside what the original claims and does.

    python -m tests.benchmarks engine

One BLAS thread; k-means runs beside scikit-learn's in the same process. On a busy machine the medians are too high:
look at the best sample and at the ratios.
"""

from __future__ import annotations

import gc
import time
import tracemalloc

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.adaptation.codec import UserAdapter, decode, encode
from core.adaptation.ewc import Ewc
from core.adaptation.instant import reinforce_output
from core.adaptation.lora import fresh
from core.adaptation.train import Preferences, train_adapter
from core.engine import SonaConfig, SonaEngine
from core.numeric.kmeans import kmeans
from core.numeric.vectors import unit, unit_rows
from tests.benchmarks.measure import Row, row, timed

DIM = 256


def taught_engine(rng: np.random.Generator) -> SonaEngine:
    """An engine whose tiers all have weights."""
    engine = SonaEngine(SonaConfig(trajectory_buffer_size=1_000_000))
    feed(engine, rng, 200)
    engine.run_background_cycle()
    return engine


def feed(engine: SonaEngine, rng: np.random.Generator, n: int, centres: int = 64) -> None:
    """n ended trajectories around `centres` kinds of query."""
    middle = rng.standard_normal((centres, DIM))
    queries = (middle[rng.integers(centres, size=n)] + 0.5 * rng.standard_normal((n, DIM))).astype(np.float32)
    for query, quality in zip(queries, rng.random(n), strict=True):
        id = engine.start_trajectory(query)
        engine.record_step(id, 1, 0.5, 100)
        engine.end_trajectory(id, float(quality))
    engine.run_instant_cycle()


def recording(engine: SonaEngine, rng: np.random.Generator) -> list[Row]:
    """Record a step; a whole trajectory of one and of four steps."""
    query = rng.standard_normal(DIM).astype(np.float32)
    long = SonaEngine(SonaConfig(max_trajectory_steps=10**9))
    id = long.start_trajectory(query)
    bare = timed(lambda: long.record_step(id, 7, 0.5, 120), 25, 2000)
    full = timed(lambda: long.record_step(id, 7, 0.5, 120, query), 25, 500)

    def whole(steps: int) -> None:
        id = engine.start_trajectory(query)
        for step in range(steps):
            engine.record_step(id, step, 0.5, 120)
        engine.end_trajectory(id, 0.5)
        engine._loops.pending.clear()  # the instant cycle has its own row

    return [
        row("record step, no activation", bare, "us", 1.0, "claim 0.112; original through Node 0.59"),
        row("record step, 256-d activation", full, "us", 3.0, "original through Node 17.4"),
        row("whole trajectory, 1 step", timed(lambda: whole(1), 25, 200), "us", None, "original 35.2 Node"),
        row("whole trajectory, 4 steps", timed(lambda: whole(4), 25, 200), "us", None, "3.07 native Rust"),
    ]


def forward(engine: SonaEngine, rng: np.random.Generator) -> list[Row]:
    """The tiers applied to one query and to 1 000, validation included."""
    one, many = (rng.standard_normal(shape).astype(np.float32) for shape in (DIM, (1000, DIM)))
    rows = []
    for name, apply, target, note in (
        ("fast tier r2", engine.apply_micro_lora, 4.0, "original 40.5 Node, 0.815 native Rust"),
        ("base tier r16", engine.apply_base_lora, None, "original 44.3 Node, 4.74 native Rust"),
        ("both tiers fused r18", engine.apply_lora, None, ""),
    ):
        single = timed(lambda apply=apply: apply(one), 25, 2000)  # type: ignore[misc]
        batched = [t / 1000 for t in timed(lambda apply=apply: apply(many), 25, 5)]  # type: ignore[misc]
        rows.append(row(f"{name}, one 256-d query", single, "us", target, note))
        rows.append(row(f"{name}, per query of 1 000", batched, "us", 0.815 if target else None, ""))
    return rows


def instant(engine: SonaEngine, rng: np.random.Generator) -> list[Row]:
    """One outcome into the fast tier: the engine's cycle, and the serving step on a fixed A."""
    queries = rng.standard_normal((64, DIM)).astype(np.float32)
    samples = []
    for i in range(600):
        id = engine.start_trajectory(queries[i % 64])
        engine.record_step(id, 1, 0.5, 100)
        engine.end_trajectory(id, float(i % 2))
        start = time.perf_counter()
        engine.run_instant_cycle()
        samples.append(time.perf_counter() - start)
    lora = fresh(512, 2, 1.0, rng)
    q, pull = (unit(rng.standard_normal(512).astype(np.float32)) for _ in range(2))
    serving = timed(lambda: reinforce_output(lora, q, pull), 25, 200)
    return [
        row("instant cycle, one outcome", samples, "us", 100.0, "claim 34; 17.5 Node"),
        row("serving step on a fixed A, 512-d r2", serving, "us", 100.0),
    ]


def background(rng: np.random.Generator, quick: bool) -> list[Row]:
    """Whole background cycles, and k-means++ beside scikit-learn's."""
    rows = []
    originals = {(1000, 32): "151", (1000, 100): "1098", (10_000, 32): "1446", (10_000, 100): "12 626"}
    for n in (1000,) if quick else (1000, 10_000):
        for k in (32, 100):
            samples = []
            for _ in range(3):
                engine = SonaEngine(SonaConfig(pattern_clusters=k))
                feed(engine, rng, n)
                start = time.perf_counter()
                engine.run_background_cycle()
                samples.append(time.perf_counter() - start)
            note = f"original {originals[n, k]} Node"
            rows.append(row(f"background cycle, {n} x 256, k={k}", samples, "ms", None, note))
            rows += clustering(rng, n, k)
    return rows


def clustering(rng: np.random.Generator, n: int, k: int) -> list[Row]:
    """k-means++ on clustered unit vectors: time, time ratio and inertia ratio to scikit-learn (one start, same
    data)."""
    from sklearn.cluster import KMeans

    middle = rng.standard_normal((64, DIM))
    points = unit_rows((middle[rng.integers(64, size=n)] + rng.standard_normal((n, DIM))).astype(np.float32))
    ours, theirs, inertias, references = [], [], [], []
    for seed in range(3):
        start = time.perf_counter()
        inertias.append(kmeans(points, k, np.random.default_rng(seed))[2])
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        references.append(KMeans(k, n_init=1, random_state=seed).fit(points).inertia_)
        theirs.append(time.perf_counter() - start)
    ratio = float(np.median(inertias) / np.median(references))
    target = 100.0 if (n, k) == (10_000, 32) else None
    note = f"scikit-learn {1e3 * float(np.median(theirs)):.0f} ms"
    return [
        row(f"k-means++, {n} x 256, k={k}", ours, "ms", target, note),
        row(f"k-means++, {n} x 256, k={k}: inertia / scikit-learn's", [ratio], "x", 1.02),
    ]


def adapters(rng: np.random.Generator) -> list[Row]:
    """A user's adaptation, and the hot codec."""
    lora = fresh(512, 8, 16.0, rng)
    n, m = 50, 4
    parts = [unit_rows(rng.standard_normal((count, 512)).astype(np.float32)) for count in (n, n, n * m, 10, 10, 40)]
    examples = Preferences.of_positives(parts[0], parts[1], parts[2].reshape(n, m, 512))
    held_back = Preferences.of_positives(parts[3], parts[4], parts[5].reshape(10, 4, 512))
    ewc = Ewc(lora.B.size)
    ewc.observe(rng.standard_normal(lora.B.size))
    ewc.finish_task(lora.B.ravel())
    update = timed(lambda: train_adapter(lora, examples, held_back, ewc, 50), 60)
    slow, fast = (rng.standard_normal((512, r)).astype(np.float32) for r in (8, 2))
    blob = encode(UserAdapter(slow, fast, "base-1", "encoder-1"))
    return [
        row("adapter update, 512-d r8, 5 passes, 50 x 5", update, "ms", 5.0, "claim < 100"),
        row("hot adapter: load", timed(lambda: decode(blob), 25, 100), "us"),
        row("hot adapter: size, slow r8 int8 + fast r2 f16", [len(blob)], "B", 10_240.0, "original 40 960"),
    ]


def patterns(rng: np.random.Generator) -> list[Row]:
    """Searching the engine's own patterns: each call timed by itself, because the specification names a p99."""
    engine = SonaEngine(SonaConfig(pattern_clusters=100, pattern_quality_threshold=0.0))
    feed(engine, rng, 1000)
    engine.run_background_cycle()
    query = rng.standard_normal(DIM).astype(np.float32)
    samples = timed(lambda: engine.query_patterns(query, 5), 1000)
    return [row("query patterns, 5 of 100", samples, "us", None, "claim 1300; original 197 Node, 38.8 native Rust")]


def memory(rng: np.random.Generator) -> list[Row]:
    """Bytes that a buffered trajectory takes."""
    engine = SonaEngine()

    def fill(n: int) -> None:
        for _ in range(n):
            id = engine.start_trajectory(rng.standard_normal(DIM))
            for step in range(4):
                engine.record_step(id, 1000 + step, 0.5, 100.0 + step)
            engine.end_trajectory(id, float(rng.random()))
        engine.run_instant_cycle()
        engine._ended.clear()

    fill(100)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fill(1000)
    gc.collect()
    used = (tracemalloc.get_traced_memory()[0] - before) / 1000
    tracemalloc.stop()
    return [row("buffered trajectory, 256-d, 4 steps", [used], "B", 1500.0, "claim 800; original 2 700-5 300")]


def run(quick: bool) -> list[Row]:
    """Everything; `quick` leaves out the 10 000 x 256 rows of the background cycle."""
    with threadpool_limits(limits=1):
        rng = np.random.default_rng(0)
        engine = taught_engine(rng)
        rows = recording(engine, rng) + forward(engine, rng) + instant(engine, rng)
        return rows + adapters(rng) + patterns(rng) + memory(rng) + background(rng, quick)
