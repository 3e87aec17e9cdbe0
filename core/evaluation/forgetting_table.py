"""The forgetting experiment on the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

COLUMNS = (
    ("old_before", "auc"), ("old_after", "auc"), ("kept", "auc"), ("gain_kept", "auc"), ("new", "auc"),
    ("both", "auc"), ("old_after", "ndcg@10"), ("kept", "ndcg@10"), ("new", "ndcg@10"),
)  # fmt: skip
HEADINGS = {"old_before": "old, before", "old_after": "old, after", "kept": "kept", "gain_kept": "adapter's gain kept"}


def forgetting_table(report: dict[str, Any]) -> Table:
    """One row per variant; kept and its intervals in per cent."""
    title = (
        f"{report['data']}, forgetting: {report['lives']} shifted users, {report['questions']['old']} questions about "
        f"the old taste and {report['questions']['new']} about the new one; {report['shifts_found']:.0%} of the shifts "
        f"were found, and {report['false_alarms']:.2f} per user where there was none"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("what keeps the old taste")
    for part, metric in COLUMNS:
        table.add_column(f"{HEADINGS.get(part, part)}, {metric}", justify="right")
    for name, row in report["systems"].items():
        table.add_row(name, *(_cell(row, part, metric) for part, metric in COLUMNS))
    return table


def _cell(row: dict[str, Any], part: str, metric: str) -> str:
    value = row[f"{part}_{metric}"]
    if part == "both":
        return f"{value:.4f}"
    if not isinstance(value, dict):
        return f"{value:.4f} ±{row[f'{part}_{metric}_se']:.4f}"
    if value["share"] != value["share"]:  # nothing that could be kept
        return "-"
    return f"{value['share']:.1%} [{value['low']:.0%}, {value['high']:.0%}]"
