"""The HTML report of the bank's maintenance: how many patterns came, were merged and went, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.evaluation.experiment_page import DAY_S, document, moment
from core.evaluation.plots import Plot, drawings
from core.evaluation.report import table
from core.patterns.store import Run

RUNS = 120  # that a report looks back: four months of nights
COLUMNS = (
    "as of", "kind", "patterns", "new", "gathered", "merged", "pruned", "confidence", "quality", "applied",
    "successes", "failures",
)  # fmt: skip


def maintenance_page(runs: Sequence[Run]) -> str:
    """One self-contained page; runs: newest first. Raises ConfigurationError without matplotlib."""
    rows = nights(runs)
    title = "Maintenance of the patterns"
    facts = (
        f"<p>{len(rows)} finished runs. New: sessions that became patterns since the run before. Gathered: patterns of "
        "one session that joined others; merged: those alike; pruned: those below the confidence that is kept, or "
        "beyond the capacity. Confidence and quality are means over the bank after the run; a success is an answer of "
        "which a title lifted by the pattern was then liked.</p>"
    )
    cells = [[_cell(row[name]) for name in COLUMNS] for row in reversed(rows)]
    parts = [f"<h1>{title}</h1>", facts, *(f"<h2>{c}</h2>{svg}" for c, svg in drawings({"rows": rows}, PLOTS))]
    return document(title, [*parts, "<h2>Runs, the latest first</h2>", table(list(COLUMNS), cells)])


def nights(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What each finished run did, oldest first; None where an older run did not say."""
    rows: list[dict[str, Any]] = []
    before: int | None = None
    for run in sorted((one for one in runs if one.status == "finished" and not one.dry_run), key=lambda one: one.as_of):
        begin, end = run.steps.get("begin", {}), run.steps.get("end", {})
        start, uses = begin.get("patterns"), run.steps.get("uses", {})
        rows.append(
            {
                "at": run.as_of,
                "as of": moment(run.as_of),
                "kind": run.kind,
                "patterns": end.get("patterns"),
                "new": None if before is None or start is None else start - before,
                "gathered": _removed(run, "extract"),
                "merged": _removed(run, "merge"),
                "pruned": _removed(run, "prune"),
                "confidence": end.get("confidence"),
                "quality": end.get("quality"),
                "applied": uses.get("applications"),
                "successes": uses.get("successes"),
                "failures": uses.get("failures"),
            }
        )
        before = end.get("patterns")
    return rows


def _removed(run: Run, step: str) -> int:
    done: Mapping[str, Any] = run.steps.get(step, {})
    return int(done.get("removed", 0))


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def sizes(axes: Any, drawn: dict[str, Any]) -> bool:
    """Patterns after every run."""
    return _line(axes, drawn["rows"], ("patterns",), "patterns")


def changes(axes: Any, drawn: dict[str, Any]) -> bool:
    """What came, joined, was merged and went, run by run."""
    return _line(axes, drawn["rows"], ("new", "gathered", "merged", "pruned"), "patterns in one run")


def goodness(axes: Any, drawn: dict[str, Any]) -> bool:
    """Mean confidence and quality of the bank."""
    axes.set_ylim(0.0, 1.0)
    return _line(axes, drawn["rows"], ("confidence", "quality"), "mean over the bank")


def fates(axes: Any, drawn: dict[str, Any]) -> bool:
    """Share of the applications that ended well, and badly."""
    rows = [row for row in drawn["rows"] if row["applied"]]
    for name in ("successes", "failures"):
        shares = [row[name] / row["applied"] for row in rows]
        axes.plot([(row["at"] - rows[0]["at"]) / DAY_S for row in rows], shares, marker="o", markersize=3, label=name)
    axes.set_xlabel("days")
    axes.set_ylabel("share of the applications")
    axes.legend(fontsize=7)
    return bool(rows)


def _line(axes: Any, rows: Sequence[Mapping[str, Any]], names: tuple[str, ...], label: str) -> bool:
    known = [row for row in rows if any(row[name] is not None for name in names)]
    for name in names:
        told = [row for row in known if row[name] is not None]
        days = [(row["at"] - rows[0]["at"]) / DAY_S for row in told]
        axes.plot(days, [row[name] for row in told], marker="o", markersize=3, label=name)
    axes.set_xlabel("days")
    axes.set_ylabel(label)
    axes.legend(fontsize=7)
    return bool(known)


PLOTS: tuple[Plot, ...] = (
    ("Size of the bank", sizes),
    ("What came and what went", changes),
    ("Quality", goodness),
    ("How applications ended", fates),
)
