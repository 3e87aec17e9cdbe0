"""The report of an evaluation as plain JSON data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation.answers import Answers
from core.evaluation.metrics import K, accuracy, paired_difference, relative_lift
from core.evaluation.splits import Cases, Split
from core.evaluation.summary import (
    as_record,
    compare,
    facts_of,
    new_user_buckets,
    reference_curves,
    summarise,
    with_errors,
)

OURS = "sona"
LIFTED = (f"precision@{K}", f"ndcg@{K}")


def describe(answers: Answers, against: str | None, frozen: str | None) -> dict[str, Any]:
    """Everything that was found. `against`: the system to compare with; `frozen`: ours with learning off."""
    split, facts = answers.split, facts_of(answers.split)
    systems = {name: summarise(lists, facts) for name, lists in answers.lists.items()}
    for name, row in open_rows(answers.open, split, against).items():
        systems[name] |= row
    if against in answers.lists:
        for name in systems:
            if name != against:
                systems[name]["paired"] = compare(answers.lists[name], answers.lists[against], split.cases)
    for name in answers.variants:
        if name != OURS:
            systems[name]["against_default"] = compare(answers.lists[name], answers.lists[OURS], split.cases)
    for name, parts in answers.degraded.items():
        systems[name]["degraded"] = list(parts)
    report: dict[str, Any] = subject(split) | {
        "against": against if against in answers.lists else None,
        "systems": systems,
        "behaviour": reference_curves(facts),
        "skipped": answers.skipped,
        "seconds": {name: round(seconds, 1) for name, seconds in answers.seconds.items()},
        "latency_ms": latencies(answers.elapsed_ms.get(OURS, {})),
    }
    if frozen in answers.lists:
        report["lift"] = {"over": frozen, **lift(answers.lists[OURS], answers.lists[frozen], split)}
    return finite(report)


def latencies(elapsed_ms: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median and 99th percentile of each part, on the machine that evaluates."""
    parts = {part: np.percentile(values, (50, 99)).round(4) for part, values in elapsed_ms.items()}
    return {part: {"p50": float(p50), "p99": float(p99)} for part, (p50, p99) in parts.items()}


def subject(split: Split) -> dict[str, Any]:
    """What was evaluated: the data, the protocol, and how much there was to foretell."""
    data = split.data
    return {
        "data": data.name,
        "protocol": split.protocol,
        "events": len(split.cases),
        "users": len(np.unique(split.cases.user)),
        "cold_events": len(split.cold),
        "catalogue": len(split.catalogue),
        "titles": len(data.titles),
        "positive": data.positive_from,
        "cut": split.cut,
        "fit_events": int(split.fit.sum()),
        "rejected_rows": data.rejected,
    }


def open_rows(lists: dict[str, NDArray], split: Split, against: str | None) -> dict[str, dict[str, Any]]:
    """Accuracy where every title is a candidate: `cold`, on targets outside the ranked catalogue; in a stream also
    `open`, on all targets, on those of the catalogue and on the others, with the difference to the system `against`."""
    cases, cold = split.open_cases()
    values = {name: accuracy(shown, cases.targets) for name, shown in lists.items()}
    rows: dict[str, dict[str, Any]] = {name: {"cold": _part(found, cases, cold)} for name, found in values.items()}
    if not split.online():
        return rows
    for name, found in values.items():
        every = _part(found, cases, np.ones(len(cases), bool))
        if against in values and name != against:
            every["paired"] = {
                metric: as_record(paired_difference(found[metric], values[against][metric], cases.user))
                for metric in LIFTED
            }
        rows[name]["open"] = {"all": every, "warm": _part(found, cases, ~cold), "cold": rows[name]["cold"]}
    return rows


def _part(values: dict[str, NDArray], cases: Cases, chosen: NDArray) -> dict[str, Any]:
    found = {name: value[chosen] for name, value in values.items()}
    return {"events": int(chosen.sum()), **with_errors(found, cases.user[chosen])}


def lift(ours: NDArray, theirs: NDArray, split: Split) -> dict[str, Any]:
    """How much more accurate, as a share: over all events, and by the interactions of new users."""
    cases = split.cases
    mine, other = accuracy(ours, cases.targets), accuracy(theirs, cases.targets)
    chosen = {
        "all": np.ones(len(cases), bool),
        **{f"new user, {n}": mask for n, mask in new_user_buckets(cases).items()},
    }
    return {
        label: {
            name: as_record(relative_lift(mine[name][mask], other[name][mask], cases.user[mask])) for name in LIFTED
        }
        for label, mask in chosen.items()
    }


def finite(value: Any) -> Any:
    """The same data with null for what is not a finite number: NaN is no JSON."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
