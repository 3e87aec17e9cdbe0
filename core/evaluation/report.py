"""The HTML report: one file, no scripts and nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from core.evaluation.plots import PLOTS, Plot, drawings

COLUMNS = (
    "ndcg@10", "hr@10", "precision@10", "recall@10", "mrr@10", "coverage@10", "novelty@10", "diversity@10",
    "calibration@10",
)  # fmt: skip
NOTES = {
    "stream": "Events up to the .8 quantile of time are learned from and the item side is frozen there; then each "
    "positive is foretold from everything before it, and revealed.",
    "global": "One list per user at the .9 quantile of time; all later positives are the targets.",
    "loo": "Each user's last positive is foretold; other users' past and future are learned from, which leaks the "
    "future. It serves data without times and comparison with published figures.",
}
OPEN_PARTS = ("all", "warm", "cold")
OPEN_NOTE = (
    "Warm targets are of the ranked catalogue, cold ones are the other titles, which hardly anybody had liked before "
    "the cut; in brackets the number of lists."
)
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}.ours{background:#fff3e0}svg{max-width:100%;"
    "height:auto}small{color:#666}"
)


def html(report: dict[str, Any]) -> str:
    """The report of `evaluate` as a page. Raises ConfigurationError without matplotlib."""
    parts = [_facts(report), _accuracy(report), _paired(report), _lift(report), _new_users(report), _cold(report)]
    return page(report, [*parts, _legacy(report)], PLOTS)


def page(report: dict[str, Any], parts: list[str], plots: Sequence[Plot]) -> str:
    """One HTML document of the parts and plots that there are. Raises ConfigurationError without matplotlib."""
    title = f"{report['data']}, protocol {report['protocol']}"
    drawn = [f"<h2>{escape(caption)}</h2>{svg}" for caption, svg in drawings(report, plots)]
    body = "\n".join(part for part in [f"<h1>Evaluation: {escape(title)}</h1>", *parts, *drawn] if part)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def number(value: Any, digits: int = 4) -> str:
    """Fixed digits, "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_error(row: dict[str, Any], name: str, plain: bool = False) -> str:
    """A figure with its standard error, if it has one; HTML unless `plain`."""
    if row.get(name) is None:
        return "-"
    error = row.get(f"{name}_se")
    if error is None:
        return number(row[name])
    return number(row[name]) + (f" ±{number(error)}" if plain else f" <small>±{number(error)}</small>")


def table(header: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML already; a row whose first cell starts with sona is ours."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = []
    for row in rows:
        kind = ' class="ours"' if row[0].startswith("sona") else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _facts(report: dict[str, Any]) -> str:
    positive = report["positive"]
    liked = "every event" if positive is None else f"rating of at least {positive:g}"
    skipped = "".join(f"<br>{escape(name)} was left out: {escape(why)}." for name, why in report["skipped"].items())
    return (
        f"<p>{NOTES.get(report['protocol'], '')} Every system ranks the whole catalogue of {report['catalogue']} "
        f"titles, without what the user has rated; ties count against it. Positive: {liked}. {report['events']} lists "
        f"for {report['users']} users; ± is the standard error, clustered by user.{skipped}</p>"
    )


def _accuracy(report: dict[str, Any]) -> str:
    rows = [
        [escape(name)] + [with_error(row, column) for column in COLUMNS]
        for name, row in sorted(report["systems"].items(), key=lambda entry: -entry[1]["ndcg@10"])
    ]
    return "<h2>Figures</h2>" + table(["system", *COLUMNS], rows)


def _paired(report: dict[str, Any]) -> str:
    rows = []
    for name, row in report["systems"].items():
        if gap := row.get("paired", {}).get("ndcg@10"):
            interval = f"{number(gap['low'])} to {number(gap['high'])}"
            rows.append([escape(name), f"{gap['difference']:+.4f}" if gap["difference"] is not None else "-", interval])
    if not rows:
        return ""
    heading = f"<h2>NDCG@10 against {escape(report['against'])}, paired</h2>"
    return heading + table(["system", "difference", "95 % interval"], rows)


def _lift(report: dict[str, Any]) -> str:
    if "lift" not in report:
        return ""
    rows = []
    for label, metrics in report["lift"].items():
        if label != "over":
            rows.append([escape(label), *(_percent(metrics[name]) for name in metrics)])
    names = list(report["lift"]["all"])
    return f"<h2>Lift over {escape(report['lift']['over'])}</h2>" + table(["events", *names], rows)


def _percent(gap: dict[str, Any]) -> str:
    if gap["difference"] is None:
        return "-"
    interval = f" <small>({gap['low']:+.0%} to {gap['high']:+.0%})</small>" if gap["low"] is not None else ""
    return f"{gap['difference']:+.1%}{interval}"


def _new_users(report: dict[str, Any]) -> str:
    systems = {name: row["new_users"] for name, row in report["systems"].items() if "new_users" in row}
    if not systems:
        return ""
    steps = list(next(iter(systems.values())))
    counts = [f"{step}+ ({row['events']})" for step, row in next(iter(systems.values())).items()]
    rows = [[escape(name), *(with_error(entry[step], "ndcg@10") for step in steps)] for name, entry in systems.items()]
    return "<h2>New users: NDCG@10 by interactions so far (events)</h2>" + table(["system", *counts], rows)


def _cold(report: dict[str, Any]) -> str:
    if rows := open_rows(report):
        heading = f"<h2>Every one of {report['titles']} titles a candidate: NDCG@10</h2><p>{OPEN_NOTE}</p>"
        return heading + table(open_columns(report), [[escape(cells[0]), *cells[1:]] for cells in rows])
    rows = [
        [escape(name), with_error(row["cold"], "ndcg@10"), with_error(row["cold"], "hr@10")]
        for name, row in report["systems"].items()
        if row.get("cold", {}).get("events")
    ]
    if not rows:
        return ""
    heading = (
        f"<h2>Cold items: {report['cold_events']} targets outside the ranked catalogue, all titles candidates</h2>"
    )
    return heading + table(["system", "ndcg@10", "hr@10"], rows)


def open_columns(report: dict[str, Any]) -> list[str]:
    """Header of the table of `open_rows`, with the number of targets in each column."""
    sizes = next(row["open"] for row in report["systems"].values() if "open" in row)
    against = [f"all, against {report['against']}, 95 %"] if _open_against(report) else []
    return ["system", *(f"{part} ({sizes[part]['events']})" for part in OPEN_PARTS), *against]


def open_rows(report: dict[str, Any], plain: bool = False) -> list[list[str]]:
    """Per system NDCG@10 on all targets, warm and cold ones, where every title is a candidate; best first."""
    systems = {name: row["open"] for name, row in report["systems"].items() if "open" in row}
    rows = []
    for name, parts in sorted(systems.items(), key=lambda entry: -entry[1]["all"]["ndcg@10"]):
        gap = parts["all"].get("paired", {}).get("ndcg@10")
        known = gap and gap["low"] is not None
        versus = f"{gap['difference']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]" if known else ""
        cells = [with_error(parts[part], "ndcg@10", plain) for part in OPEN_PARTS]
        rows.append([name, *cells, *([versus] if _open_against(report) else [])])
    return rows


def _open_against(report: dict[str, Any]) -> bool:
    """Whether the system that others are compared with was asked about every title: learning off is not."""
    return "open" in report["systems"].get(report["against"], {})


def _legacy(report: dict[str, Any]) -> str:
    legacy = report.get("legacy")
    if not legacy:
        return ""
    parts = [f"<h2>Legacy protocols</h2><p>{escape(legacy['warning'])}</p>"]
    for name, systems in legacy.items():
        if name != "warning":
            metrics = ("ndcg@10", "hr@10", "precision@10")
            rows = [[escape(system), *(with_error(row, m) for m in metrics)] for system, row in systems.items()]
            parts.append(f"<h3>{escape(name)}</h3>" + table(["system", *metrics], rows))
    return "".join(parts)
