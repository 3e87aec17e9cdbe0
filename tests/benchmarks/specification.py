"""The specification's tables of latency (10.2) and of memory (10.3) beside what this run measured, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.measure import FACTORS, Row, figure


@dataclass(frozen=True, slots=True)
class Line:
    """One row of table 10.2, in ms, and which of our rows answers it. None: the part is measured by no benchmark."""

    operation: str
    p50: float
    p99: float
    benchmark: str = ""
    row: str = ""


LATENCY = (
    Line("LoRA adapter load", 5.0, 15.0, "states", "load state + adapter, hot"),
    Line("Embedding adaptation", 3.0, 10.0, "states", "adapt a 512-d query: decode the adapter, both tiers"),
    Line("Semantic routing", 0.5, 2.0, "router", "route, from token vectors"),
    Line("Attention selection", 1.0, 5.0, "router", "select attention, from token vectors"),
    Line("Pattern search", 10.0, 30.0, "engine", "query patterns, 5 of 100"),
    Line("Full SONA pipeline", 20.0, 50.0, "requests", "1 worker, 8 threads: latency, 1 connection"),
)
ADAPTER, MILLION = "hot adapter of a user, 512-d, slow r8 int8 + fast r2 f16", 1e6
Found = dict[str, list[Row]]


def find(found: Found, benchmark: str, name: str) -> Row | None:
    return next((r for r in found.get(benchmark, ()) if r.get("name") == name), None)


def measured(line: Line, found: Found) -> tuple[float | None, float | None]:
    """Our p50 and p99 in ms; None for what this run did not measure."""
    ours = find(found, line.benchmark, line.row)
    if ours is None:
        return None, None
    scale = FACTORS["ms"] / FACTORS[ours["unit"]]
    return scale * ours["median"], None if ours["p99"] is None else scale * ours["p99"]


def show_specification(found: Found) -> None:
    """Print both tables; a part that this run did not measure stays empty."""
    print("\nthe specification's table 10.2, ms")
    print(f"{'':28s} {'its p50':>9s} {'ours':>9s} {'its p99':>9s} {'ours':>9s}")
    for line in LATENCY:
        p50, p99 = measured(line, found)
        figures = f"{line.p50:9g} {figure(p50):>9s} {line.p99:9g} {figure(p99):>9s}"
        print(f"{line.operation:28s} {figures}  {line.row}".rstrip())
    adapter = find(found, "states", ADAPTER)
    if adapter:
        print("\nthe specification's table 10.3")
        for name, theirs, ours in memory(adapter["median"]):
            print(f"{name:28s} {theirs:>14s} {ours:>14s}")


def memory(adapter_bytes: float) -> Sequence[tuple[str, str, str]]:
    """It gives an adapter 2 to 8 MB and a million of them 10 GB, which is 10 KB each."""
    return (
        ("", "its", "ours"),
        ("LoRA adapter of a user", "2-8 MB", f"{adapter_bytes / 1e3:.1f} KB"),
        ("hot adapters, 1 M users", "~10 GB", f"{adapter_bytes * MILLION / 1e9:.1f} GB"),
    )


def as_json(found: Found) -> list[dict[str, Any]]:
    """The latency table for the file."""
    return [
        {"operation": line.operation, "p50": line.p50, "p99": line.p99}
        | dict(zip(("our_p50", "our_p99"), measured(line, found), strict=True))
        for line in LATENCY
    ]
