"""Microseconds per mechanism next to a float32 NumPy dot product and the figures of the original.

    python -m tests.benchmarks attention

For every mechanism: d 64/256/512 x 16/64/256 keys, one query and 64 queries in one call, through `attend` with its
validation. Medians of repeated calls. The floor is softmax(q k^T / sqrt d) v in plain NumPy on the same arrays, timed
in turn with the mechanism. The original's figures are for one query through its Node binding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.attention import attend, describe, names

DIMS, LENGTHS, QUERIES = (64, 256, 512), (16, 64, 256), (1, 64)
UPSTREAM_COLUMNS = (
    *("dot_product", "multi_head", "flash", "linear", "hyperbolic"),
    *("local_global", "moe", "graph_rope", "dual_space"),
)
UPSTREAM_US = {
    (64, 16): (12.7, 24.7, 12.6, 103, 264, 12.8, 13.6, 14.1, 95),
    (64, 256): (178, 411, 180, 2992, 7680, 168, 213, 201, 1450),
    (256, 64): (68, 132, 66, 1491, 7571, 58, 96, 72, 8915),
    (256, 256): (329, 602, 334, 9946, 22018, 281, 438, 367, 36700),
    (512, 16): (22.5, 42, 22.7, 775, 2001, 21.9, 31, 25, 10000),
    (512, 256): (449, 735, 449, 24150, 59033, 358, 729, 552, 188750),
}


def upstream_us(name: str, d: int, n: int) -> float | None:
    """The original's median for one query, None where it has no figure."""
    if name == "performer":
        return upstream_us("linear", d, n)  # its "linear, 64 features" are random features
    if (d, n) not in UPSTREAM_US or name not in UPSTREAM_COLUMNS:
        return None
    return UPSTREAM_US[d, n][UPSTREAM_COLUMNS.index(name)]


def arguments(name: str, n_q: int, n: int, d: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Random unit rows, values short enough for the Poincare ball, and the data that the mechanism needs."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(m, d)) for m in (n_q, n, n)]
    q, k, v = ((0.9 * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in rows)
    transition = rng.random((n, n)).astype(np.float32)
    data = {
        "hops": rng.integers(0, 6, (n_q, n)),
        "positions": np.arange(n),
        "timestamps": 1.7e9 + np.arange(n) * 3600.0,
        "adjacency": rng.random((n_q, n)) < 0.3,
        "transition": transition / transition.sum(axis=1, keepdims=True),
        "groups": rng.integers(0, 6, n),
        "edge_features": rng.normal(size=(n_q, n, 8)).astype(np.float32),
    }
    side: dict[str, Any] = {need: data[need] for need in describe(name).needs}
    return [q, k, v], side


def floor(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """What any attention costs at least in NumPy: two matrix products and a softmax, without validation."""
    z = q @ k.T
    z *= np.float32(q.shape[1] ** -0.5)
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z @ v


def alternating_medians_us(calls: list[Callable[[], object]], budget_s: float) -> list[float]:
    """Median time of each call; the calls take turns, so that a slow spell of the machine hits all of them."""
    for call in calls:
        call()
    found: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end or len(found[0]) < 5:
        for call, times in zip(calls, found, strict=True):
            start = time.perf_counter_ns()
            call()
            times.append((time.perf_counter_ns() - start) / 1e3)
    return [median(times) for times in found]


def measure(name: str, d: int, n: int, n_q: int, budget_s: float) -> dict[str, Any]:
    (q, k, v), side = arguments(name, n_q, n, d)
    ours, base = alternating_medians_us([lambda: attend(name, q, k, v, **side), lambda: floor(q, k, v)], budget_s)
    theirs = upstream_us(name, d, n) if n_q == 1 else None
    return {"name": name, "d": d, "n": n, "n_q": n_q, "us": ours, "floor_us": base, "upstream_us": theirs}


def print_table(results: list[dict[str, Any]], n_q: int) -> None:
    grid = [(d, n) for d in DIMS for n in LENGTHS]
    cells = {(r["name"], r["d"], r["n"]): r for r in results if r["n_q"] == n_q}
    print(f"\nmicroseconds, {n_q} quer{'y' if n_q == 1 else 'ies in one call'}, columns d x keys")
    print(f"{'':24}" + "".join(f"{f'{d}x{n}':>9}" for d, n in grid))
    lines = [("NumPy floor", [median(cells[name, *at]["floor_us"] for name in names()) for at in grid])]
    for name in names():
        lines.append((name, [cells[name, *at]["us"] for at in grid]))
        if n_q == 1 and upstream_us(name, 64, 16):
            lines.append(("  original", [cells[name, *at]["upstream_us"] for at in grid]))
    for label, row in lines:
        print(
            f"{label:24}" + "".join(f"{'-' if x is None else f'{x:.1f}' if x < 1000 else f'{x:.0f}':>9}" for x in row)
        )


def run(quick: bool) -> list[dict[str, Any]]:
    """Every mechanism at every size; `quick` takes a tenth of the repetitions."""
    budget_s = 0.005 if quick else 0.05
    with threadpool_limits(limits=1):
        return [
            measure(name, d, n, n_q, budget_s) for name in names() for d in DIMS for n in LENGTHS for n_q in QUERIES
        ]


def show(results: list[dict[str, Any]]) -> None:
    for n_q in QUERIES:
        print_table(results, n_q)
