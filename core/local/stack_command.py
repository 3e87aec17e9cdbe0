"""`sona demo`, `up`, `status` and `down`: the laptop edition on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from core.errors import NotFound, StoreUnavailable
from core.local.terminal import AsJson, Home, complaints, console, say, show

if TYPE_CHECKING:
    from core.local.stack import Stack


def add_stack_commands(app: typer.Typer, folder_of: Callable[[Path | None], Path], panel: str) -> None:
    """Register the commands under the heading `panel`. `folder_of`: --home -> the data folder."""

    @app.command(rich_help_panel=panel)
    def demo(
        home: Home = None,
        port: Annotated[int, typer.Option(help="Port of the functions; 0 takes a free one.")] = 0,
        as_json: AsJson = False,
    ) -> None:
        """Tell the story on the real stack: recommend, interact, learn, and show what changed. Ends by itself.

        Exit code 1 when an answer did not change as it should.

        Example: sona demo
        """
        from core.local.demo_story import tell

        learned = tell(folder_of(home), port, complaints if as_json else console)
        if as_json:
            print(json.dumps({"learned": learned}))
        if not all(learned.values()):
            raise typer.Exit(1)

    @app.command(rich_help_panel=panel)
    def up(
        port: Annotated[int, typer.Option(help="Port of the functions.", envvar="SONA_PORT")] = 8080,
        demo_data: Annotated[
            bool, typer.Option("--demo-data/--empty", help="Load the demo on the first start.")
        ] = True,
        home: Home = None,
        as_json: AsJson = False,
    ) -> None:
        """Start everything on this machine: PostgreSQL, Valkey, Cloud Storage, Pub/Sub and the functions.

        Example: sona up --port 8080
        """
        from core.local import supervisor
        from core.local.demo_story import curl_line

        folder = folder_of(home)
        supervisor.start_in_background(folder, port, demo_data, say)
        url = supervisor.read_state(folder)["url"]
        curl = curl_line(url, folder / "secret", "ann")
        text = f"[bold]SONA serves on {url}[/bold]: the console there, the interface at {url}/docs\n\n{curl}"
        show({"url": url, "home": str(folder), "curl": curl}, as_json, text)

    @app.command(rich_help_panel=panel)
    def down(
        erase: Annotated[bool, typer.Option("--erase", help="Delete the data as well.")] = False,
        home: Home = None,
        as_json: AsJson = False,
    ) -> None:
        """Stop everything that `sona up` started. Data stays unless --erase is given.

        Example: sona down
        """
        from core.local import supervisor
        from core.local.stack import Stack

        folder = folder_of(home)
        stopped = supervisor.stop(folder)
        if erase:
            Stack(folder, None).erase()
        text = "Stopped." if stopped else "Nothing was running."
        text += f" The data in {folder} was deleted." if erase else ""
        show({"stopped": stopped, "erased": erase}, as_json, text)

    @app.command(rich_help_panel=panel)
    def status(home: Home = None, as_json: AsJson = False) -> None:
        """Show what runs, where, and which snapshot is active. Exit code 1 when something is down.

        Example: sona status --json
        """
        from core.local.stack import Stack

        folder = folder_of(home)
        stack = Stack(folder, None)
        running = {server.name: server.port for server in stack.servers if server.is_running()}
        rows: list[dict[str, Any]] = [
            {"service": s.name, "running": s.name in running, "port": running.get(s.name)} for s in stack.servers
        ]
        url = stack.gateway.url if stack.gateway.name in running else None
        snapshot = _active_snapshot(stack) if stack.storage.name in running else None
        if as_json:
            print(json.dumps({"home": str(folder), "url": url, "snapshot": snapshot, "services": rows}))
        else:
            table = Table(title=f"SONA in {folder}", title_justify="left")
            for column in ("service", "state", "port"):
                table.add_column(column)
            for row in rows:
                state = "running" if row["running"] else "[red]stopped[/red]"
                table.add_row(row["service"], state, str(row["port"] or "-"))
            console.print(table)
            console.print(f"Console: {url or '-'}\nActive snapshot: {snapshot or '-'}", soft_wrap=True)
        if not all(row["running"] for row in rows):
            raise typer.Exit(1)


def _active_snapshot(stack: Stack) -> str | None:
    from core.snapshot.publish import active_version
    from core.wiring import snapshots_bucket

    try:
        return active_version(snapshots_bucket(stack.settings()))
    except (NotFound, StoreUnavailable):
        return None
