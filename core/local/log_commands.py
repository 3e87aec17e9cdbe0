"""`sona retain` and `sona redeliver`: what is too old goes, and what got lost on its way comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from core.config import Settings
from core.local.terminal import AsJson, Home, say, show

if TYPE_CHECKING:
    from core.flows.services import Services


def add_log_commands(app: typer.Typer, settings_of: Callable[[Path | None], Settings], panel: str) -> None:
    """Register both commands under the heading `panel`. `settings_of`: --home -> the settings to work with."""

    def services(home: Path | None) -> Services:
        from core.wiring import services_for

        return services_for(settings_of(home))

    @app.command(rich_help_panel=panel)
    def retain(home: Home = None, as_json: AsJson = False) -> None:
        """Let go of events older than SONA_PRIVACY_EVENTS_KEPT_DAYS; what they made of a user stays, as a checkpoint.

        Example: sona retain --json
        """
        from core.flows.retention import retain as let_go

        done = let_go(services(home), time.time(), say)
        text = f"{done['events']} events of {done['users']} users dropped, and {done['rejected']} rejected ones"
        show(done, as_json, text)

    @app.command(rich_help_panel=panel)
    def redeliver(home: Home = None, as_json: AsJson = False) -> None:
        """Send messages that an outage outlasted back to where they came from; one that was applied changes nothing.

        Example: sona redeliver
        """
        from core.flows.redeliver import redeliver as send_again

        done = send_again(services(home))
        show(done, as_json, f"{done['redelivered']} messages sent again, {done['left']} of unknown origin left")
