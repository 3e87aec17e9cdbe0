"""The cold-item figures on the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from core.evaluation.cold_items import METRICS, READINGS


def cold_items_table(report: dict[str, Any]) -> Table:
    """One row per system; differences are those to the same system without the encoders."""
    encoder = report["encoder"]
    title = f"{report['data']}, cold items: {report['titles']} titles that nobody has met, {report['users']} users"
    if encoder is None:
        title += "; too little is known to train a content encoder"
    elif not encoder["accepted"]:
        title += "; by its own judgement the job would not activate this encoder"
    table = Table(title=title, title_justify="left")
    table.add_column("system")
    for reading in READINGS:
        for metric in METRICS:
            table.add_column(f"{metric}, {reading.replace('_', ' ')}", justify="right")
    for name, row in report["systems"].items():
        cells = [_cell(row[reading], metric) for reading in READINGS for metric in METRICS]
        table.add_row(name, *cells)
    return table


def _cell(row: dict[str, Any], metric: str) -> str:
    cell = f"{row[metric]:.4f} ±{row[f'{metric}_se']:.4f}"
    if gap := row.get("paired", {}).get(metric):
        cell += f" ({gap['difference']:+.4f} ±{gap['se']:.4f})"
    return cell
