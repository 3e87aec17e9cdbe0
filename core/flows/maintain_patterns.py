"""The story of the bank's maintenance: every night it is counted, gathered, merged, faded and pruned; every week kinds
of viewers get patterns of their own, and what works for all is found.

Each step is one transaction that reads the bank and writes what shall change, so a run may be killed anywhere and the
next one goes on; two at once take turns, and the second finds nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.config import PatternSettings
from core.errors import InvalidInput
from core.flows.services import Services
from core.patterns import maintain, segments
from core.patterns.known import KnownPattern
from core.patterns.maintain import Rules
from core.patterns.store import BankView, Changes
from core.snapshot.snapshot import Snapshot

KINDS = ("daily", "weekly")
DAY_S = 86_400.0
REINFORCEMENT, DECAY_PER_DAY = 0.02, 0.97  # per session along a relationship; back by half within three weeks

Step = Callable[[BankView], Changes]


def maintain_patterns(
    services: Services,
    kind: str,
    now: float,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any]:
    """Run the daily steps, or all of them for "weekly". Reports `kind`, `dry_run`, `patterns` before and after, and
    what every step did; the store keeps the same. A dry run changes nothing. Raises InvalidInput for another kind."""
    if kind not in KINDS:
        raise InvalidInput(f"maintenance is {' or '.join(KINDS)}, not {kind!r}")
    began = time.perf_counter()
    snapshot, _ = services.snapshot(now)
    plan = steps(snapshot, services.settings.patterns, now)
    names = list(plan) if kind == "weekly" else [name for name in plan if name not in WEEKLY]
    sizes: list[int] = []

    def counting(view: BankView) -> Changes:
        found = described(view.patterns())
        sizes.append(found["patterns"])
        return Changes(report=found)

    with services.patterns.maintenance(kind, now, dry_run) as run:
        run.step("begin", counting)
        done: dict[str, Mapping[str, Any]] = {}
        for name in names:
            progress(f"patterns: {name}")
            done[name] = run.step(name, plan[name])
        run.step("end", counting)
    return {
        "kind": kind,
        "dry_run": dry_run,
        "patterns_before": sizes[0],
        "patterns_after": sizes[-1],
        "steps": done,
        "seconds": round(time.perf_counter() - began, 2),
    }


def described(patterns: Sequence[KnownPattern]) -> dict[str, Any]:
    """A bank in figures: how many patterns, of segments, ever used; mean confidence and quality, None without any."""
    n = len(patterns)
    return {
        "patterns": n,
        "of_segments": sum(bool(one.segment) for one in patterns),
        "used": sum(one.usage_count > 0 for one in patterns),
        "confidence": round(sum(one.confidence for one in patterns) / n, 4) if n else None,
        "quality": round(sum(one.quality for one in patterns) / n, 4) if n else None,
    }


WEEKLY = ("segments", "universal")


def steps(snapshot: Snapshot, settings: PatternSettings, now: float) -> dict[str, Step]:
    """The steps by name, in order."""
    rules = Rules(settings.prune_below, settings.merge_above, settings.per_cluster, settings.capacity)

    def uses(view: BankView) -> Changes:
        return maintain.count_uses(view.patterns(), view.take_uses(settings.outcome_s))

    def reinforce(view: BankView) -> Changes:
        changed = view.reinforce(now - maintain.SETTLED_S, REINFORCEMENT, DECAY_PER_DAY)
        return Changes(report={"relationships": changed})

    def forget(view: BankView) -> Changes:
        return Changes(report={"sessions": view.forget(now - settings.kept_days * DAY_S)})

    def segmented(view: BankView) -> Changes:
        sessions = view.sessions(now - settings.kept_days * DAY_S)
        return segments.segment_patterns(sessions, view.patterns(), snapshot, now)

    return {
        "space": lambda view: maintain.in_space(view.patterns(), snapshot),
        "uses": uses,
        "extract": lambda view: maintain.extract(view.patterns(), now, rules),
        "merge": lambda view: maintain.merge_alike(view.patterns(), rules),
        "decay": lambda view: maintain.fade_unused(view.patterns(), now),
        "prune": lambda view: maintain.prune(view.patterns(), rules),
        "reinforce": reinforce,
        "forget": forget,
        "segments": segmented,
        "universal": lambda view: segments.promote(view.patterns(), view.applications()),
    }
