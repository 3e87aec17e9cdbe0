"""`sona export` and `sona erase`: a person's data handed out, or gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.config import Settings
from core.local.terminal import AsJson, Home, complaints, show

if TYPE_CHECKING:
    from core.flows.services import Services


NOT_REACHED = "Dead letters were not looked through: set {setting} and run it again."


def add_privacy_commands(app: typer.Typer, settings_of: Callable[[Path | None], Settings], panel: str) -> None:
    """Register both commands under the heading `panel`. `settings_of`: --home -> the settings to work with."""

    def services(home: Path | None) -> Services:
        from core.wiring import services_for

        return services_for(settings_of(home))

    @app.command(rich_help_panel=panel)
    def export(user_id: str, home: Home = None, as_json: AsJson = False) -> None:
        """Print everything that is kept about a user, as JSON; --json prints it on one line.

        Example: sona export nadia > nadia.json
        """
        from core.flows.privacy import DEAD_LETTERS, DEAD_LETTERS_NAMED, export_user

        kept = dict(export_user(services(home), user_id))
        print(json.dumps(kept, indent=None if as_json else 2))
        if DEAD_LETTERS not in kept:
            complaints.print(NOT_REACHED.format(setting=DEAD_LETTERS_NAMED))

    @app.command(rich_help_panel=panel)
    def erase(
        user_id: str,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        home: Home = None,
        as_json: AsJson = False,
    ) -> None:
        """Delete everything that is kept about a user, for good.

        Example: sona erase nadia --yes
        """
        from core.flows.privacy import DEAD_LETTERS, DEAD_LETTERS_NAMED, erase_user

        if not yes:
            typer.confirm(f"Delete everything about {user_id}?", abort=True)
        deleted = dict(erase_user(services(home), user_id))
        missed = [] if DEAD_LETTERS in deleted else [DEAD_LETTERS]
        text = f"Deleted {sum(deleted.values())} rows."
        text += "\n" + NOT_REACHED.format(setting=DEAD_LETTERS_NAMED) if missed else ""
        show({"deleted": deleted, "not_reached": missed}, as_json, text)
