"""How much of an old taste survives learning a new one: the slow tier as it is served, over constructed shifts.

Every life is led event by event through the state fold and the adaptations that ingest would have asked for, with the
functions and settings that serve. The adapter is read off at the last adaptation before the shift and at the end; both
times it is asked with the query that met each held-back like, so that only what the weights remember differs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.fast_tier import ALPHA
from core.config import AdaptationSettings
from core.evaluation.metrics import K, clustered_error, relative_lift
from core.evaluation.shifted_world import Moment, World, make_world
from core.evaluation.taste_shift import Shifted
from core.flows.adapt import to_store
from core.flows.adaptation_lesson import Prepared, learn_from, train_together
from core.numeric.vectors import Floats
from core.stores.protocols import StoredAdapter

PROTOCOL = "forgetting"
SMALL = 32  # titles of the old taste in every training
LAMBDA = 0.4  # of the original's README
NO_EWC, REPLAY = "no EWC", "small replay"

# What keeps the old taste, one a line.
VARIANTS: dict[str, dict[str, float]] = {
    NO_EWC: {"ewc_lambda": 0.0, "replay": 0},
    "EWC++": {"ewc_lambda": LAMBDA, "replay": 0},
    "EWC++, a tenth of lambda": {"ewc_lambda": LAMBDA / 10, "replay": 0},
    REPLAY: {"ewc_lambda": 0.0, "replay": SMALL},
    "EWC++ and small replay": {"ewc_lambda": LAMBDA, "replay": SMALL},
    "replay of everything": {"ewc_lambda": 0.0, "replay": 1_000_000},
}
NOTHING_LEARNED, STOPPED, UNGATED = "no adapter", "stopped at the shift", ", every update taken"
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Outcome:
    """B factors (n, d, r) at the last adaptation before the shift and at the end, and what happened on the way."""

    before: Floats
    after: Floats
    adaptations: int = 0
    accepted: int = 0
    found: set[int] = field(default_factory=set)  # lives whose shift was found
    false_alarms: int = 0


def lead(world: World, settings: AdaptationSettings, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Adapt everybody at every moment, as the job does, `settings.batch` users in the same products."""
    n, A = len(world.lives), world.on.space.A_slow
    before, after = np.zeros((2, n, A.shape[1], len(A)), np.float32)
    outcome = Outcome(before, after)
    stored: list[StoredAdapter | None] = [None] * n
    for step in range(max(len(moments) for moments in world.moments)):
        due = [life for life in range(n) if step < len(world.moments[life])]
        for start in range(0, len(due), settings.batch):
            _adapt(world, due[start : start + settings.batch], step, stored, settings, outcome)
        progress(step + 1)
    return outcome


def _adapt(
    world: World, due: Sequence[int], step: int, stored: list[StoredAdapter | None], settings: AdaptationSettings,
    outcome: Outcome,
) -> None:  # fmt: skip
    """One adaptation of each life that is due; what is accepted is stored and becomes the weights `after`."""
    several = [_prepared(world, life, world.moments[life][step], stored[life], settings) for life in due]
    together = train_together(world.on.space, several, settings)
    for life, prepared, trained in zip(due, several, together, strict=True):
        at, earlier = world.moments[life][step].at, stored[life]
        if prepared.metrics["shift"]:
            outcome.found |= {life} if at >= world.lives[life].shift_at else set()
            outcome.false_alarms += at < world.lives[life].shift_at
        outcome.adaptations += 1
        if trained is not None and trained.report.accepted:
            outcome.accepted += 1
            stored[life] = to_store(trained.tier, earlier.version + 1 if earlier else 1, prepared.upto_seq, at)
            outcome.after[life] = trained.tier.adapter.slow
        if at < world.lives[life].shift_at:
            outcome.before[life] = outcome.after[life]


def _prepared(
    world: World, life: int, moment: Moment, stored: StoredAdapter | None, settings: AdaptationSettings
) -> Prepared:
    user_id, seq = world.lives[life].user_id, moment.state.seq
    start = Prepared(
        user_id, stored, stored.folded_upto_seq if stored else 0, seq, world.snapshot.version,
        world.on.space.generation, zlib.crc32(f"{user_id}\0{seq}".encode()), None, None, -inf, {},
    )  # fmt: skip
    return learn_from(start, world.on, moment.evidence, moment.state, world.snapshot, settings)


def answers(world: World, B: Floats) -> dict[str, NDArray[np.float64]]:
    """auc: share of the titles passed over that score below the held-back like, ties half; ndcg@10 among all titles
    but the others of that life. (m,) each. A score that is not finite is a miss."""
    asked, on = world.questions, world.on
    z = asked.queries @ on.space.A_slow.T * np.float32(ALPHA / len(on.space.A_slow))
    vectors = asked.queries @ on.through + np.einsum("mdr,mr->md", B[asked.life], z)
    known = (on.space.targets != 0).any(axis=1)
    auc, ndcg = np.zeros(len(vectors)), np.zeros(len(vectors))
    for i, vector in enumerate(vectors):
        scores = np.where(known, on.space.targets @ vector, -np.inf)
        own, passed = scores[asked.rows[i]], scores[asked.passed[i]]
        if not np.isfinite(own):
            continue
        auc[i] = (passed < own).mean() + 0.5 * (passed == own).mean()
        scores[world.own[asked.life[i]]] = -np.inf
        above = int((scores >= own).sum())
        ndcg[i] = 1.0 / np.log2(above + 2.0) if above < K else 0.0
    return {"auc": auc, f"ndcg@{K}": ndcg}


def evaluate_forgetting(
    shift: Callable[[np.random.Generator], Shifted], seed: int = 0, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """The experiment on whatever `shift` makes, for example `of_dataset` of a data set."""
    rng, settings = np.random.default_rng([seed, 4]), AdaptationSettings()
    progress("shifting tastes", 0, 1)
    shifted = shift(rng)
    with TemporaryDirectory() as folder:
        progress("leading their lives", 0, 1)
        world = make_world(shifted, Path(folder), settings, rng)
        return {**forgetting(world, settings, progress), "seed": seed}


def forgetting(world: World, settings: AdaptationSettings, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Every variant with the gate that rolls harm back, as it is served, and with every update taken, which shows what
    the gate hides.

    Each row: `old_before` and `old_after` the shift, and `new`, with user-clustered errors; `both` = the mean of the
    last two; `kept` = old_after / old_before, and `gain_kept`, the same of what the adapter had added to no adapter,
    with 95 % intervals.
    """
    silent = answers(world, np.zeros((len(world.lives), *world.on.space.A_slow.shape[::-1]), np.float32))
    rows: dict[str, Any] = {NOTHING_LEARNED: _row(world, silent, silent, silent)}
    steps, found, false_alarms = max(len(moments) for moments in world.moments), 0.0, 0.0
    for gate, tolerance in (("", settings.tolerance), (UNGATED, inf)):
        for name, changes in VARIANTS.items():
            chosen = replace(settings, tolerance=tolerance, **changes)  # type: ignore[arg-type]
            outcome = lead(world, chosen, partial(_tell, progress, name + gate, steps))
            before, after = answers(world, outcome.before), answers(world, outcome.after)
            if name == NO_EWC:
                rows[STOPPED + gate] = _row(world, before, before, silent)
            rows[name + gate] = _row(world, before, after, silent)
            rows[name + gate]["accepted"] = outcome.accepted / max(outcome.adaptations, 1)
            found, false_alarms = len(outcome.found) / len(world.lives), outcome.false_alarms / len(world.lives)
    return _facts(world) | {"shifts_found": found, "false_alarms": false_alarms, "systems": rows}


def _tell(progress: Progress, stage: str, steps: int, done: int) -> None:
    progress(stage, done, steps)


def _facts(world: World) -> dict[str, Any]:
    old = world.questions.old
    return {
        "data": world.name,
        "protocol": PROTOCOL,
        "lives": len(world.lives),
        "likeness": float(np.mean([life.likeness for life in world.lives])),
        "questions": {"old": int(old.sum()), "new": int((~old).sum())},
    }


def _row(
    world: World, before: dict[str, NDArray], after: dict[str, NDArray], silent: dict[str, NDArray]
) -> dict[str, Any]:
    old, life = world.questions.old, world.questions.life
    row: dict[str, Any] = {}
    for name in before:
        for part, values, mask in (("old_before", before, old), ("old_after", after, old), ("new", after, ~old)):
            row[f"{part}_{name}"] = float(values[name][mask].mean())
            row[f"{part}_{name}_se"] = clustered_error(values[name][mask], life[mask])
        row[f"both_{name}"] = (row[f"old_after_{name}"] + row[f"new_{name}"]) / 2
        none = silent[name][old]
        parts = (after[name][old], before[name][old])
        row[f"kept_{name}"] = _share(*parts, life[old])
        row[f"gain_kept_{name}"] = _share(parts[0] - none, parts[1] - none, life[old])
    return row


def _share(after: NDArray, before: NDArray, life: NDArray) -> dict[str, float]:
    lift = relative_lift(after, before, life)
    return {"share": 1 + lift.difference, "low": 1 + lift.low, "high": 1 + lift.high}
