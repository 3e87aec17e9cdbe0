"""The demo catalogue: real films, series and episodes, with simulated availability (README.md beside this file)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files

from core.catalog import Title, title_from_record
from core.errors import CorruptData, InvalidInput

FILES = ("films.jsonl", "series.jsonl", "episodes.jsonl")  # series before their episodes


def demo_titles() -> Iterator[Title]:
    """Every title of the demo, in the same order each time. Raises CorruptData naming the file and line."""
    for name in FILES:
        with files(__name__).joinpath(name).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield title_from_record(json.loads(line))
                except (ValueError, InvalidInput) as error:
                    raise CorruptData(f"{name}, line {number}: {error}") from error
