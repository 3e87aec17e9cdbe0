"""The command line. Every command is thin: it parses, calls, and prints; `--json` prints for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.catalog import Title
from core.config import Settings, read_settings
from core.errors import ConfigurationError, NotFound, SonaError, StoreUnavailable
from core.evaluation.command import MADE_AUDIENCES
from core.evaluation.command import command as evaluate_command
from core.importers.command import command as import_command
from core.interaction import Event
from core.local.experiment_command import experiment_app
from core.local.log_commands import add_log_commands
from core.local.metrics_command import metrics_command
from core.local.privacy_command import add_privacy_commands
from core.local.stack_command import add_stack_commands
from core.local.terminal import AsJson, Home, complaints, say, show
from core.local.train_command import train_app

if TYPE_CHECKING:
    from numpy.random import Generator

    from core.evaluation.taste_shift import Shifted

app = typer.Typer(
    name="sona",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Personalization for TV and film discovery that learns from every interaction at once.\n\n"
    "[bold]sona demo[/bold] tells the story in a minute. [bold]sona up[/bold] leaves everything running: open the "
    "console it names, or send it requests. [bold]sona import[/bold] brings in your titles and histories, "
    "[bold]sona snapshot build[/bold] serves them, [bold]sona evaluate[/bold] proves what it is worth.\n\n"
    "Commands work on the laptop edition, or on the stores that SONA_STORES_... names.",
)
SEE, DATA, MEASURE, PEOPLE = "See it", "Your catalogue and models", "What it is worth", "People's data"
RUNNING = "Keep it running"
OPTIONAL = ("platformdirs", "psutil")  # of the extra `local`, imported where the laptop edition is meant
snapshot_app = typer.Typer(no_args_is_help=True, help="Build, list and activate snapshots of the catalogue.")


def default_home() -> Path:
    """Where the laptop edition keeps its data unless told: the user data directory of the operating system."""
    from platformdirs import user_data_path

    return user_data_path("sona")


def _home(home: Path | None) -> Path:
    return (home or default_home()).expanduser().absolute()


def laptop_or_cloud_settings(home: Path | None) -> Settings:
    """The environment's settings where stores are configured there, else the laptop edition's."""
    settings = read_settings()
    if settings.stores.sql_dsn or settings.stores.sql_instance:
        return settings
    path = _home(home) / "sona.toml"
    if not path.exists():
        raise ConfigurationError("nothing to work on: run `sona up` first, or configure the stores (SONA_STORES_...)")
    return read_settings(config=path)


add_stack_commands(app, _home, SEE)


@snapshot_app.command("build")
def snapshot_build(
    activate: Annotated[bool, typer.Option("--activate/--no-activate", help="Serve it at once.")] = True,
    embed: Annotated[bool, typer.Option("--embed/--no-embed", help="First embed new and changed titles.")] = True,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Build a snapshot from the catalogue and the event log, publish it, and activate it.

    Example: sona snapshot build --no-activate
    """
    from core.flows.embed_catalog import embed_if_possible
    from core.flows.publish_encoder import ensure_encoder
    from core.flows.publish_snapshot import publish_snapshot
    from core.wiring import services_for

    services = services_for(laptop_or_cloud_settings(home))
    if embed:
        ensure_encoder(services)
        embed_if_possible(services, say)
    report = publish_snapshot(services, time.time(), activate, say)
    show(report, as_json, f"Snapshot {report['version']}: {report['items']} titles in {report['seconds']} s")


@app.command(rich_help_panel=DATA)
def encoder(home: Home = None, as_json: AsJson = False) -> None:
    """Build the text encoder from the installed weights, put it into the models bucket and activate it.

    Titles get their vectors from the next `sona snapshot build`, or from the job embed_catalog.

    Example: sona encoder
    """
    from core.flows.publish_encoder import publish_encoder
    from core.wiring import services_for

    version = publish_encoder(services_for(laptop_or_cloud_settings(home)))
    show({"encoder": version}, as_json, f"Encoder {version} is active")


@snapshot_app.command("list")
def snapshot_list(home: Home = None, as_json: AsJson = False) -> None:
    """List the published snapshots, the active one marked.

    Example: sona snapshot list
    """
    from core.snapshot.publish import active_version, list_versions
    from core.wiring import snapshots_bucket

    bucket = snapshots_bucket(laptop_or_cloud_settings(home))
    try:
        active = active_version(bucket)
    except NotFound:
        active = ""
    rows = [{"version": version, "active": version == active} for version in list_versions(bucket)]
    show(rows, as_json, "\n".join(f"{'*' if row['active'] else ' '} {row['version']}" for row in rows) or "None yet.")


@snapshot_app.command("activate")
def snapshot_activate(version: str, home: Home = None, as_json: AsJson = False) -> None:
    """Make every instance serve a published snapshot, within half a minute.

    Example: sona snapshot activate 20261121T093000Z-1a2b3c4d
    """
    from core.snapshot.publish import activate
    from core.wiring import snapshots_bucket

    activate(snapshots_bucket(laptop_or_cloud_settings(home)), version)
    show({"active": version}, as_json, f"Active: {version}")


@app.command(rich_help_panel=RUNNING)
def maintain(
    weekly: Annotated[bool, typer.Option("--weekly", help="Also segments of viewers and universal patterns.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page about all runs so far.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Keep the pattern bank: count uses, gather sessions, merge what is alike, fade what is unused, prune the rest.

    Example: sona maintain --weekly --dry-run --html patterns.html
    """
    from core.evaluation.plots import drawing_library
    from core.flows.maintain_patterns import maintain_patterns
    from core.wiring import services_for

    if html is not None:
        drawing_library()
    services = services_for(laptop_or_cloud_settings(home))
    kind = "weekly" if weekly else "daily"
    report = maintain_patterns(services, kind, time.time(), dry_run, say)
    if html is not None:
        from core.evaluation.maintenance_page import RUNS, maintenance_page

        html.write_text(maintenance_page(services.patterns.runs(RUNS)))
    steps = report["steps"].items()
    lines = [f"{name}: {', '.join(f'{what} {n}' for what, n in done.items())}" for name, done in steps]
    counts = f"{report['patterns_before']} patterns before, {report['patterns_after']} after"
    show(report, as_json, "\n".join([*lines, counts + (" (nothing was changed)" if dry_run else "")]))


def _store(
    home: Path | None, titles: Iterator[Title], events: Iterator[Event], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    from core.flows.importing import import_data
    from core.wiring import services_for

    services = services_for(laptop_or_cloud_settings(home))
    return import_data(services, titles, events, time.time(), progress).as_record()


def _simulated(rng: Generator, lives: int) -> Shifted:
    from core.local.simulator.shifted import shifted_audience

    return shifted_audience(rng, lives)


MADE_AUDIENCES["simulated"] = _simulated
app.command("import", rich_help_panel=DATA)(import_command(_store))
app.add_typer(snapshot_app, name="snapshot", rich_help_panel=DATA)
app.add_typer(train_app, name="train", rich_help_panel=DATA)
app.command("evaluate", rich_help_panel=MEASURE)(evaluate_command)
app.add_typer(experiment_app(laptop_or_cloud_settings), name="experiment", rich_help_panel=MEASURE)
app.command("metrics", rich_help_panel=MEASURE)(metrics_command(laptop_or_cloud_settings))
add_privacy_commands(app, laptop_or_cloud_settings, PEOPLE)
add_log_commands(app, laptop_or_cloud_settings, RUNNING)


@app.command(rich_help_panel=PEOPLE)
def replay(user_id: str, home: Home = None, as_json: AsJson = False) -> None:
    """Rebuild a user's state from the event log and compare it with the stored one. Exit code 1 when they differ.

    Example: sona replay nadia
    """
    from core.flows.replay import replay_user
    from core.wiring import services_for

    report = replay_user(services_for(laptop_or_cloud_settings(home)), user_id, time.time())
    show(report, as_json, f"{user_id}: {report['events']} events, {'equal' if report['equal'] else 'DIFFERENT'}")
    if not report["equal"]:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors that a user can act on are one line, not a traceback."""
    try:
        app()
    except StoreUnavailable as error:
        _end(f"{error}\n`sona status` shows whether the laptop edition runs; other stores are named by SONA_STORES_...")
    except SonaError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        _end(f"{error.name} is missing, which the extra `local` brings: python -m uv run --extra local sona ...")


def _end(problem: str) -> None:
    complaints.print("[red]sona:[/red]", end=" ")
    complaints.print(problem, markup=False, soft_wrap=True)
    sys.exit(2)
