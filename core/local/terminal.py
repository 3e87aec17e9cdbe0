"""What the commands share: their common options, and how they speak on the terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="SONA_HOME", help="Data folder of the laptop edition.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)


def say(stage: str) -> None:
    """Progress of long work, with the time, on standard error."""
    complaints.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {stage}")


def show(result: Any, as_json: bool, text: str) -> None:
    """The result for programs, or the text for people."""
    if as_json:
        print(json.dumps(result, default=str))
    else:
        console.print(text, soft_wrap=True)
