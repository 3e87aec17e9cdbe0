"""What an import read and what it had to leave out, with reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from core.catalog import Title
from core.interaction import Event

EXAMPLES = 3  # rows quoted per reason
EXAMPLE_LENGTH = 120


class RowRejected(ValueError):
    """One row cannot be used; the message is the reason under which it is counted."""


@dataclass(slots=True)
class Rejection:
    """How many rows had this reason, and where the first ones are."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """Filled while the iterators of a Source are consumed; complete when they are."""

    titles: int = 0
    events: int = 0
    rejected: dict[str, Rejection] = field(default_factory=dict)
    best_rating: float = 5.0  # highest rating of the data's own scale
    bytes_read: int = 0
    bytes_total: int = 0  # uncompressed size of everything that will be read

    def reject(self, reason: str, file: str, line: int, row: str) -> None:
        """Count a row; its place and its beginning are kept for the first few of each reason."""
        rejection = self.rejected.setdefault(reason, Rejection())
        rejection.count += 1
        if len(rejection.examples) < EXAMPLES:
            rejection.examples.append(f"{file}:{line}: {row.strip()[:EXAMPLE_LENGTH]}")

    def count_titles(self, titles: Iterator[Title]) -> Iterator[Title]:
        """The same titles, each counted as it passes."""
        for title in titles:
            self.titles += 1
            yield title

    def count_events(self, events: Iterator[Event]) -> Iterator[Event]:
        """The same events, each counted as it passes."""
        for event in events:
            self.events += 1
            yield event

    @property
    def rejected_rows(self) -> int:
        """For all reasons together."""
        return sum(rejection.count for rejection in self.rejected.values())

    def as_record(self) -> dict[str, Any]:
        """Plain JSON form."""
        rejected = {
            reason: {"count": entry.count, "examples": list(entry.examples)} for reason, entry in self.rejected.items()
        }
        return {"titles": self.titles, "events": self.events, "rejected_rows": self.rejected_rows, "rejected": rejected}
