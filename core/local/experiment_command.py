"""`sona experiment`: plan, start, judge and stop experiments from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from core.config import Settings
from core.errors import InvalidInput
from core.experiments.experiment import Allocation, Experiment, Status, Variant
from core.local.terminal import AsJson, Home, console

if TYPE_CHECKING:
    from core.api.experiment_schemas import ReportOut
    from core.flows.services import Services


def parse_variant(text: str) -> Variant:
    """name[:weight][:setting=value,...]; values are JSON, or words."""
    name, _, rest = text.partition(":")
    weight, _, settings = rest.partition(":") if "=" not in rest.partition(":")[0] else ("", "", rest)
    overrides: dict[str, Any] = {}
    for pair in filter(None, settings.split(",")):
        key, separator, value = pair.partition("=")
        if not separator:
            raise InvalidInput(f"{pair!r} is not setting=value")
        try:
            overrides[key.strip()] = json.loads(value)
        except ValueError:
            overrides[key.strip()] = value.strip()
    try:
        return Variant(name, float(weight or 1.0), overrides)
    except ValueError as error:
        raise InvalidInput(f"{weight!r} is no weight") from error


def experiment_app(settings_of: Callable[[Path | None], Settings]) -> typer.Typer:
    """The command group. `settings_of`: --home -> the settings to work with."""
    app = typer.Typer(no_args_is_help=True, help="Compare ways to rank: plan, start, judge and stop experiments.")

    def services(home: Path | None) -> Services:
        from core.wiring import services_for

        return services_for(settings_of(home))

    @app.command()
    def create(
        name: str,
        variant: Annotated[
            list[str], typer.Option(help="name[:weight][:setting=value,...]; the first is the control.")
        ],
        metric: Annotated[
            str, typer.Option(help="Interaction type, or name of reported conversions.")
        ] = "watch_complete",
        traffic: Annotated[float, typer.Option(help="Share of users who take part.")] = 1.0,
        bandit: Annotated[bool, typer.Option("--bandit", help="Let weights follow the outcomes.")] = False,
        start_now: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
        home: Home = None,
        as_json: AsJson = False,
    ) -> None:
        """Plan an experiment.

        Example: sona experiment create bolder --variant control --variant bold:1:mmr_lambda=0.5,fusion=scores --start
        """
        from core.flows.experiments import create_experiment, move_experiment

        own, now = services(home), time.time()
        allocation = Allocation.BANDIT if bandit else Allocation.FIXED
        planned = Experiment(name, tuple(map(parse_variant, variant)), metric, traffic, allocation=allocation)
        created = create_experiment(own, planned, now)
        if start_now:
            created = move_experiment(own, name, Status.RUNNING, now)
        _show([created], as_json)

    @app.command("list")
    def list_all(home: Home = None, as_json: AsJson = False) -> None:
        """Show all experiments.

        Example: sona experiment list --json
        """
        _show(services(home).experiments.all(), as_json)

    def mover(command: str, status: Status, says: str) -> None:
        @app.command(command, help=f"{says}\n\nExample: sona experiment {command} bolder")
        def move(name: str, home: Home = None, as_json: AsJson = False) -> None:
            from core.flows.experiments import move_experiment

            _show([move_experiment(services(home), name, status, time.time())], as_json)

    mover("start", Status.RUNNING, "Start an experiment, or go on after a pause.")
    mover("pause", Status.PAUSED, "Serve everybody as before; nobody changes sides when it goes on.")
    mover("stop", Status.COMPLETED, "End an experiment for good.")

    @app.command("report")
    def show_report(
        name: str,
        metric: Annotated[str, typer.Option(help="Another metric than the experiment's own.")] = "",
        html: Annotated[Path | None, typer.Option(help="Also write it as one page with its history.")] = None,
        home: Home = None,
        as_json: AsJson = False,
    ) -> None:
        """Judge an experiment; look as often as you like.

        Example: sona experiment report bolder --html bolder.html
        """
        import numpy as np

        from core.api.experiment_answers import report_out
        from core.flows.experiments import history, report

        own = services(home)
        judged = report(own, name, metric, np.random.default_rng(0))
        if html is not None:
            from core.evaluation.experiment_page import experiment_page

            html.write_text(experiment_page(judged, history(own, name, metric, time.time())))
        found = report_out(judged)
        if as_json:
            print(json.dumps(found))
        else:
            _print_report(found)

    @app.command("rebalance")
    def show_weights(name: str, home: Home = None, as_json: AsJson = False) -> None:
        """Give a bandit's variants new shares of the users.

        Example: sona experiment rebalance bolder
        """
        import numpy as np

        from core.flows.experiments import rebalance

        weights = rebalance(services(home), name, np.random.default_rng())
        print(json.dumps({"weights": weights})) if as_json else console.print(weights)

    return app


def _show(experiments: list[Experiment], as_json: bool) -> None:
    from core.api.experiment_answers import experiment_out

    rows = [experiment_out(experiment) for experiment in experiments]
    if as_json:
        print(json.dumps({"experiments": rows}))
        return
    table = Table()
    for column in ("experiment", "status", "traffic", "metric", "variants"):
        table.add_column(column)
    for row in rows:
        variants = ", ".join(f"{one['name']} ({one['weight']:g})" for one in row["variants"])
        table.add_row(row["name"], row["status"], f"{row['traffic']:.0%}", row["metric"], variants)
    console.print(table)


def _print_report(found: ReportOut) -> None:
    table = Table(title=f"{found['experiment']['name']}: {found['metric']}", title_justify="left")
    for column in ("variant", "users", "rate", "mean", "best", "effect (always-valid 95 %)", "p", "verdict"):
        table.add_column(column)
    for row in found["variants"]:
        effect = "" if row["effect"] is None else f"{row['effect']:+.4f}"
        if row["effect_low"] is not None and row["effect_high"] is not None:
            effect += f" ({row['effect_low']:+.4f} to {row['effect_high']:+.4f})"
        rate = f"{row['rate']:.3f} ({row['rate_low']:.3f} to {row['rate_high']:.3f})"
        p_value = "" if row["p_value"] is None else f"{row['p_value']:.3g}"
        best = f"{row['chance_to_be_best']:.0%}"
        mean, verdict = f"{row['mean']:.4f}", row["verdict"] or "control"
        table.add_row(row["variant"], str(row["users"]), rate, mean, best, effect, p_value, verdict)
    console.print(table)
    if found["mismatch"]:
        console.print(
            "[red]The split of users is not the one asked for: something loses users, so nothing is decided.[/red]"
        )
    console.print(f"Decision: {found['decision'] or 'open'}")
