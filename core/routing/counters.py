"""Counters about routing that all instances share: how often each route was taken, and how models did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from core.routing.routes import CLASSES


class RouteCounters(Protocol):
    """Named sums. They say how the deployment is used and are not part of the truth: lost ones begin again at zero."""

    def add(self, increments: Mapping[str, float], now: float) -> None:
        """Add to the sums, all or none. `now`, Unix seconds, becomes the beginning where there was none."""

    def read(self) -> tuple[dict[str, float], float | None]:
        """All sums, and since when they are counted (None: nothing is)."""


@dataclass(frozen=True, slots=True)
class RouteStatistics:
    """of one route: queries that led with it, their share of all, mean confidence and mean milliseconds to the
    decision (routing_ms) and to the answer (answer_ms; None: none was answered here)."""

    route: str
    queries: int
    share: float
    confidence: float | None
    routing_ms: float | None
    answer_ms: float | None


def routed_counts(route: str, confidence: float, routing_ms: float) -> dict[str, float]:
    """What one decision adds to the counters."""
    return {f"route:{route}:queries": 1.0, f"route:{route}:confidence": confidence, f"route:{route}:ms": routing_ms}


def answered_counts(route: str, answer_ms: float) -> dict[str, float]:
    """What one answered query adds."""
    return {f"route:{route}:answers": 1.0, f"route:{route}:answer_ms": answer_ms}


def statistics_of(counts: Mapping[str, float]) -> list[RouteStatistics]:
    """One entry per class, in their order."""
    total = sum(counts.get(f"route:{name}:queries", 0.0) for name in CLASSES)

    def mean(name: str, what: str, of: str) -> float | None:
        times = counts.get(f"route:{name}:{of}", 0.0)
        return counts.get(f"route:{name}:{what}", 0.0) / times if times else None

    return [
        RouteStatistics(
            name,
            int(counts.get(f"route:{name}:queries", 0.0)),
            counts.get(f"route:{name}:queries", 0.0) / total if total else 0.0,
            mean(name, "confidence", "queries"),
            mean(name, "ms", "queries"),
            mean(name, "answer_ms", "answers"),
        )
        for name in CLASSES
    ]
