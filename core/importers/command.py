"""`sona import` on the command line. Where the data go is told by the caller, who knows the stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from core.catalog import Title
from core.importers import KINDS, Source, read
from core.importers.report import Report
from core.interaction import Event

Counted = Callable[[int, int], None]


class Store(Protocol):
    """Stores titles and events of one data set; tells the titles and events read so far; returns plain JSON data."""

    def __call__(
        self, home: Path | None, titles: Iterator[Title], events: Iterator[Event], progress: Counted
    ) -> dict[str, Any]:
        """Returns when both iterators have been read to their ends."""


def command(store: Store) -> Callable[..., None]:
    """The command function, to be registered under the name `import`."""

    def import_(
        kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")],
        path: Annotated[Path, typer.Argument(help="A zip, a folder, or one file of csv or jsonl.")],
        prefix: Annotated[str | None, typer.Option(help="Goes before every user and content id.")] = None,
        best_rating: Annotated[float | None, typer.Option(help="Highest rating of csv and jsonl files.")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report, store nothing.")] = False,
        home: Annotated[
            Path | None, typer.Option("--home", envvar="SONA_HOME", help="Data folder of the laptop edition.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """Bring in titles and histories: any usual MovieLens release, MovieTweetings, or your own CSV or JSON lines.

        Importing again adds nothing twice. Then run `sona snapshot build`.

        Example: sona import movielens ml-latest-small.zip
        """
        source = read(kind, path, prefix, best_rating)
        if source.licence:
            Console(stderr=True).print(source.licence, style="yellow")
        stored = _run(source, home, None if dry_run else store)
        result = {"read": source.report.as_record(), "stored": stored}
        print(json.dumps(result, ensure_ascii=False)) if as_json else _print(source.report, stored)

    return import_


def _run(source: Source, home: Path | None, store: Store | None) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("reading", total=source.report.bytes_total)

        def progress(titles: int, events: int) -> None:
            if (titles + events) % 100 == 0:
                description = f"{titles} titles, {events} events"
                bar.update(task, completed=source.report.bytes_read, description=description)

        if store is None:
            for titles, _ in enumerate(source.titles, 1):
                progress(titles, 0)
            for events, _ in enumerate(source.events, 1):
                progress(source.report.titles, events)
            stored = {}
        else:
            stored = store(home, source.titles, source.events, progress)
        bar.update(task, completed=source.report.bytes_total)
    return stored


def _print(report: Report, stored: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"Read {report.titles} titles and {report.events} events.")
    if stored:
        console.print(
            f"{stored['titles_changed']} titles were new or changed; of the events {stored['stored']} were new and "
            f"{stored['known']} known, for {stored['users']} users."
        )
    for reason, rejection in report.rejected.items():
        console.print(f"[yellow]{rejection.count} rows left out: {reason}[/yellow]")
        for example in rejection.examples:
            console.print(f"  {example}", style="dim", markup=False)
