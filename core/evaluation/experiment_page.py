"""The HTML report of an experiment: who saw what, how the variants do, and how sure that is at every look."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from time import gmtime, strftime
from typing import Any

from core.evaluation.plots import Plot, drawings
from core.evaluation.report import STYLE, table
from core.experiments.experiment import Allocation
from core.flows.experiments import Look, Report, Reported

DAY_S = 86_400.0
COLUMNS = (
    "variant", "share", "changes", "users", "converted", "rate", "mean per user", "best with", "effect",
    "relative", "p", "verdict",
)  # fmt: skip


def experiment_page(report: Report, looks: Sequence[Look]) -> str:
    """One self-contained page; looks: its history, oldest first. Raises ConfigurationError without matplotlib."""
    experiment = report.experiment
    title = f"Experiment {experiment.name}"
    parts = [f"<h1>{escape(title)}</h1>", _facts(report), table(list(COLUMNS), _rows(report))]
    drawn = {"report": report, "looks": looks, "since": experiment.started_at or 0.0}
    parts += [f"<h2>{escape(caption)}</h2>{svg}" for caption, svg in drawings(drawn, PLOTS)]
    return document(title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """An HTML document that needs nothing from anywhere else. parts: HTML."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def moment(at: float | None) -> str:
    """Unix seconds as a minute in UTC, "-" for none."""
    return strftime("%Y-%m-%d %H:%M UTC", gmtime(at)) if at else "-"


def _facts(report: Report) -> str:
    one = report.experiment
    decided = f"<b>{escape(report.decision)}</b>" if report.decision else "open: nothing is decided yet"
    lines = [escape(one.description)] if one.description else []
    lines += [
        f"{escape(str(one.status))}, from {moment(one.started_at)} to {moment(one.stopped_at)}; {one.traffic:.0%} of "
        f"the users take part; what counts: <code>{escape(report.metric)}</code>. Decision: {decided}.",
        "Intervals and p-values are always valid (mixture sequential probability ratio test, users as units, the "
        "chance of error divided among the variants): whoever looks every hour finds a difference between equal "
        "variants in at most 5 % of the experiments.",
    ]
    if one.allocation is Allocation.BANDIT:
        lines.append(
            "A bandit: shares follow the chance to be best (Thompson sampling), so who came when and who saw what "
            "depend on each other, and the intervals hold approximately."
        )
    if report.mismatch:
        lines.append(
            f"<b>The split of users is not the one asked for (p = {report.split_p_value:.2g}): something loses users, "
            "so nothing is decided.</b>"
        )
    return "".join(f"<p>{line}</p>" for line in lines)


def _rows(report: Report) -> list[list[str]]:
    total = sum(one.weight for one in report.variants)
    changes = [dict(variant.overrides) for variant in report.experiment.variants]
    return [_row(one, total, change) for one, change in zip(report.variants, changes, strict=True)]


def _row(one: Reported, total: float, changes: dict[str, Any]) -> list[str]:
    outcome, against = one.outcome, one.against_control
    low, high = one.rate_interval
    told = ", ".join(f"{name} = {json.dumps(value)}" for name, value in changes.items())
    compared = ["", "", "", "control"]
    if against is not None:
        sure = math.isfinite(against.low)
        interval = (
            f" <small>({against.low:+.4f} to {against.high:+.4f})</small>" if sure else " <small>(too few)</small>"
        )
        relative = "-" if against.relative is None else f"{against.relative:+.1%}"
        compared = [f"{against.effect:+.4f}{interval}", relative, f"{against.p_value:.3g}", against.verdict]
    return [
        escape(outcome.variant),
        f"{one.weight / total:.0%}",
        f"<small>{escape(told) or 'none'}</small>",
        str(outcome.users),
        str(outcome.converted),
        f"{outcome.rate:.3f} <small>({low:.3f} to {high:.3f})</small>",
        f"{outcome.mean:.4f}",
        f"{one.best:.0%}",
        *compared,
    ]


def rate_bars(axes: Any, drawn: dict[str, Any]) -> bool:
    """Share of users who converted, with its 95 % interval at this look."""
    rows = [one for one in drawn["report"].variants if one.outcome.users]
    rates = [one.outcome.rate for one in rows]
    below = [max(rate - one.rate_interval[0], 0.0) for rate, one in zip(rates, rows, strict=True)]
    above = [max(one.rate_interval[1] - rate, 0.0) for rate, one in zip(rates, rows, strict=True)]
    axes.barh([one.outcome.variant for one in rows], rates, xerr=[below, above], color="tab:blue", capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel("share of users who converted")
    return bool(rows)


def effects(axes: Any, drawn: dict[str, Any]) -> bool:
    """Each variant's difference to the control with its confidence sequence: decided where the band leaves nought."""
    looks: Sequence[Look] = drawn["looks"]
    names = [one.outcome.variant for one in drawn["report"].variants[1:]]
    any_sure = False
    for place, name in enumerate(names):
        sure = [look for look in looks if math.isfinite(look.comparisons[place].low)]
        days = [(look.at - drawn["since"]) / DAY_S for look in sure]
        found = [look.comparisons[place] for look in sure]
        [line] = axes.plot(days, [one.effect for one in found], marker="o", markersize=2.5, label=name)
        bounds = [one.low for one in found], [one.high for one in found]
        axes.fill_between(days, *bounds, alpha=0.2, color=line.get_color(), linewidth=0)
        any_sure = any_sure or bool(sure)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("days since the start")
    axes.set_ylabel("effect on the mean per user")
    axes.legend(fontsize=7)
    return any_sure


def arrivals(axes: Any, drawn: dict[str, Any]) -> bool:
    """Users of every variant so far."""
    looks: Sequence[Look] = drawn["looks"]
    days = [(look.at - drawn["since"]) / DAY_S for look in looks]
    for place, one in enumerate(drawn["report"].variants):
        axes.plot(days, [look.users[place] for look in looks], label=one.outcome.variant)
    axes.set_xlabel("days since the start")
    axes.set_ylabel("users")
    axes.legend(fontsize=7)
    return bool(looks)


PLOTS: tuple[Plot, ...] = (
    ("Rates", rate_bars),
    ("Differences to the control, with their confidence sequences", effects),
    ("Users", arrivals),
)
