"""`sona metrics`: how recommendations did, out of the event log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.config import Settings
from core.local.terminal import Home


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PROMETHEUS = "prometheus"


def metrics_command(settings_of: Callable[[Path | None], Settings]) -> Callable[..., None]:
    """The command. `settings_of`: --home -> the settings to work with."""

    def metrics(
        since: Annotated[str, typer.Option(help="How far back: 30m, 12h, 7d, 2w.")] = "7d",
        window: Annotated[str, typer.Option(help="How long after a title was shown a reaction counts.")] = "24h",
        form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
        home: Home = None,
        as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    ) -> None:
        """Show CTR, precision@k, coverage and latency by strategy, variant and day, out of the event log.

        Example: sona metrics --since 7d --format csv > week.csv
        """
        from core.flows.online_metrics import as_csv, as_prometheus, as_records, online_metrics, seconds
        from core.wiring import services_for

        now = time.time()
        rows = online_metrics(services_for(settings_of(home)), now - seconds(since), now, seconds(window), patient=True)
        if as_json or form is Format.JSON:
            print(json.dumps({"metrics": as_records(rows)}))
        elif form is Format.CSV:
            print(as_csv(rows), end="")
        elif form is Format.PROMETHEUS:
            print(as_prometheus(rows), end="")
        else:
            _print_table([one for one in as_records(rows) if not one["day"]])

    return metrics


# What of a row a terminal has room for, under which heading.
COLUMNS = {
    "answers": "answers",
    "impressions": "shown",
    "ctr": "ctr",
    "precision_at_10": "p@10",
    "coverage": "coverage",
    "latency_p95_ms": "p95 ms",
}


def _print_table(rows: list[dict]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from core.local.terminal import console

    caption = "--format csv or json has the days and the other columns"
    table = Table(box=SIMPLE, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [_short(row[name]) for name in COLUMNS]
        table.add_row(f"{row['by']} {row['name']}".strip(), *cells)
    console.print(table)


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
