"""`sona evaluate` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from core.config import settings

if TYPE_CHECKING:  # everything heavy waits until the command runs: other commands import this file too
    from numpy.random import Generator

    from core.evaluation.answers import Progress
    from core.evaluation.taste_shift import Shifted

COLUMNS = ("hr@10", "precision@10", "mrr@10", "coverage@10")
MIN_WIDTH = 120  # of the table, where the output is no terminal

# What --data may name instead of a file, for the protocol forgetting; whoever can make an audience adds it.
MADE_AUDIENCES: dict[str, Callable[[Generator, int], Shifted]] = {}


class Protocol(StrEnum):
    """How it is measured."""

    STREAM = "stream"
    GLOBAL = "global"
    LOO = "loo"
    COLD_ITEMS = "cold-items"
    FORGETTING = "forgetting"


class Told(NamedTuple):
    """Where the report goes."""

    as_json: bool
    json_out: Path | None
    html_out: Path | None


def command(
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder or zip: interactions.csv[.gz], MovieLens, MovieTweetings; simulated for forgetting."
        ),
    ],
    protocol: Annotated[Protocol, typer.Option(help="How it is measured.")] = Protocol.STREAM,
    positive: Annotated[float | None, typer.Option(help="Lowest liked rating, in the data's own scale.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    json_out: Annotated[Path | None, typer.Option(help="Also write the report as JSON.")] = None,
    html_out: Annotated[Path | None, typer.Option("--html", help="Also write the report as one HTML page.")] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Run the peers on the same split.")] = False,
    max_events: Annotated[int, typer.Option(help="At most so many test events, the earliest first.")] = 8000,
    against: Annotated[str | None, typer.Option(help="System the others are compared with.")] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations/--no-ablations", help="Also with single parts changed or switched off.")
    ] = True,
    system: Annotated[
        list[str] | None, typer.Option(help="Besides sona only this one, by its name in the report; repeatable.")
    ] = None,
    legacy: Annotated[bool, typer.Option("--legacy", help="Also sampled-100 and random-split figures.")] = False,
    fusion: Annotated[str | None, typer.Option(help="logs, rrf or scores, instead of the configured one.")] = None,
    preset: Annotated[str | None, typer.Option(help="Strategy weights, instead of the configured ones.")] = None,
    mmr_lambda: Annotated[float | None, typer.Option(help="1 switches diversity off.")] = None,
    lives: Annotated[int, typer.Option(help="forgetting: at most so many users get another taste.")] = 200,
    seed: Annotated[int, typer.Option(help="Random seed of forgetting and cold-items.")] = 0,
) -> None:
    """Measure recommendations on real data, next to simple strong systems.

    What answers is the code that serves requests.

    Protocol cold-items: how new titles find their audience; forgetting: how much of an old taste outlives a new one.

    Example: sona evaluate --data ml-latest-small --protocol stream --positive 4 --peers --html report.html
    """
    from core.evaluation.plots import drawing_library
    from core.evaluation.report import html
    from core.evaluation.run import EvaluationOptions, evaluate

    told = Told(as_json, json_out, html_out)
    if html_out:
        drawing_library()
    if protocol is Protocol.FORGETTING:
        _forgetting(data, positive, lives, seed, told)
        return
    if protocol is Protocol.COLD_ITEMS:
        _cold_items(data, positive, seed, told)
        return

    ranking = settings().ranking
    ranking = replace(
        ranking,
        fusion=fusion or ranking.fusion,
        preset=preset or ranking.preset,
        mmr_lambda=ranking.mmr_lambda if mmr_lambda is None else mmr_lambda,
    )
    options = EvaluationOptions(
        data, protocol, positive, peers, max_events, against, ablations, tuple(system or ()), legacy, ranking
    )
    _tell(_with_progress(lambda progress: evaluate(options, progress)), told, _print, html)


def _forgetting(data: Path, positive: float | None, lives: int, seed: int, told: Told) -> None:
    from core.evaluation.dataset import load
    from core.evaluation.forgetting import evaluate_forgetting
    from core.evaluation.forgetting_table import forgetting_table
    from core.evaluation.protocol_pages import forgetting_page
    from core.evaluation.taste_shift import of_dataset

    made = MADE_AUDIENCES.get(str(data))

    def shift(rng: Generator) -> Shifted:
        return made(rng, lives) if made else of_dataset(load(data, positive), rng, lives)

    report = _with_progress(lambda progress: evaluate_forgetting(shift, seed, progress))
    _tell(report, told, lambda report: _wide_console().print(forgetting_table(report)), forgetting_page)


def _cold_items(data: Path, positive: float | None, seed: int, told: Told) -> None:
    from core.evaluation.cold_items import cold_items
    from core.evaluation.cold_items_table import cold_items_table
    from core.evaluation.dataset import load
    from core.evaluation.protocol_pages import cold_items_page

    loaded, ranking = load(data, positive), settings().ranking
    report = _with_progress(lambda progress: cold_items(loaded, ranking, seed=seed, progress=progress))
    _tell(report, told, lambda report: _wide_console().print(cold_items_table(report)), cold_items_page)


def _tell(
    report: dict[str, Any],
    told: Told,
    print_tables: Callable[[dict[str, Any]], None],
    page: Callable[[dict[str, Any]], str],
) -> None:
    """The figures first: whatever may go wrong with the page, hours of work are not lost."""
    text = json.dumps(report, indent=1, ensure_ascii=False)
    if told.json_out:
        told.json_out.write_text(text + "\n")
    print(text) if told.as_json else print_tables(report)
    if told.html_out:
        told.html_out.write_text(page(report))


def _with_progress(run: Callable[[Progress], dict[str, Any]]) -> dict[str, Any]:
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report_progress(stage: str, done: int, total: int) -> None:
            for earlier, task in tasks.items():
                if earlier != stage:
                    bars.update(task, completed=bars.tasks[task].total)
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        report = run(report_progress)
        for task in tasks.values():
            bars.update(task, completed=bars.tasks[task].total)
    return report


def _print(report: dict[str, Any]) -> None:
    from core.evaluation.report import open_rows

    title = f"{report['data']}, {report['protocol']}: {report['events']} lists, {report['catalogue']} titles ranked"
    table = Table(title=title, title_justify="left")
    against = [f"against {report['against']}, 95 %"] if report["against"] else []
    for column in ("system", "ndcg@10", *COLUMNS, *against):
        table.add_column(column, justify="left" if column == "system" else "right", no_wrap=True)
    for name, row in sorted(report["systems"].items(), key=lambda entry: -entry[1]["ndcg@10"]):
        gap = row.get("paired", {}).get("ndcg@10")
        known = gap and gap["low"] is not None
        versus = f"{gap['difference']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]" if known else ""
        cells = [_cell(row, "ndcg@10"), *(_cell(row, column) for column in COLUMNS), *([versus] if against else [])]
        table.add_row(name, *cells, style="bold" if name == "sona" else None)
    console = _wide_console()
    console.print(table)
    if rows := open_rows(report, plain=True):
        console.print(_open_table(report, rows))
    if curve := report.get("new_user_curve"):
        from core.evaluation.new_users import new_user_table

        console.print(new_user_table(curve))
    for name, why in report["skipped"].items():
        console.print(f"{name} was left out: {why}")


def _open_table(report: dict[str, Any], rows: list[list[str]]) -> Table:
    from core.evaluation.report import open_columns

    table = Table(title=f"every one of {report['titles']} titles a candidate: ndcg@10 by target", title_justify="left")
    for column in open_columns(report):
        table.add_column(column, justify="left" if column == "system" else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*cells, style="bold" if cells[0] == "sona" else None)
    return table


def _wide_console() -> Console:
    console = Console()
    console.width = max(console.width, MIN_WIDTH)
    return console


def _cell(row: dict[str, Any], column: str) -> str:
    if row.get(column) is None:
        return "-"
    error = row.get(f"{column}_se") if column == "ndcg@10" else None
    return f"{row[column]:.4f}" + (f" ±{error:.4f}" if error is not None else "")
