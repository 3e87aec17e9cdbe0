"""What every benchmark prints: rows of medians, with the target beside them where there is one."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]  # name, median, p99, best, unit, target, at_least, note, count; JSON as it is

FACTORS = {"us": 1e6, "ms": 1e3}
SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def row(
    name: str, samples: Sequence[float], unit: str, target: float | None = None, note: str = "", at_least: bool = False
) -> Row:
    """One line of the table, from samples in seconds for the units us, ms and s, or else in plain values.

    `target` bounds the median from above, with `at_least` from below. p99 is None for fewer than 20 samples, which
    say nothing about it.
    """
    values = FACTORS.get(unit, 1.0) * np.asarray(samples, float)
    return {
        "name": name,
        "median": float(np.median(values)),
        "p99": float(np.percentile(values, 99)) if len(values) >= 20 else None,
        "best": float(values.max() if at_least else values.min()),
        "unit": unit,
        "target": target,
        "at_least": at_least,
        "note": note,
        "count": len(values),
    }


def timed(call: Callable[[], object], repeats: int, inner: int = 1) -> list[float]:
    """Seconds of one call: `repeats` samples, each averaged over `inner` calls."""
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(inner):
            call()
        samples.append((time.perf_counter() - start) / inner)
    return samples


def met(found: Row) -> bool | None:
    """Whether the median keeps the target; None for a row without one."""
    if found["target"] is None:
        return None
    return bool(found["median"] >= found["target"] if found["at_least"] else found["median"] <= found["target"])


def figure(value: float | None) -> str:
    """Four significant digits, without an exponent."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"{'':58s} {'median':>9s} {'p99':>9s} {'best':>9s}")
    for r in rows:
        verdict = {None: "", True: "ok", False: "MISSED"}[met(r)]
        sign = ">=" if r["at_least"] else "<="
        target = "" if r["target"] is None else f"{verdict:6s} {sign} {r['target']:g}"
        figures = " ".join(f"{figure(r[name]):>9s}" for name in ("median", "p99", "best"))
        print(f"{r['name']:58s} {figures} {r['unit']:5s} {target:16s} {r['note']}".rstrip())


def machine() -> dict[str, Any]:
    """Where the figures come from: they mean little without it. `load` is what else ran when the run began."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
    }
