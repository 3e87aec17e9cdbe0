"""The story of an import: titles into the catalogue, then every user's events through the same door as live ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from core.catalog import Title
from core.flows.ingest import Message, ingest
from core.flows.services import Services
from core.interaction import Event

BUFFERED_EVENTS = 100_000  # about 40 MB; a file that is sorted by user needs one transaction per user and buffer
MESSAGE_ID = "import"  # under which the store keeps events that it refuses

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with the titles and the events that have been read so far."""


@dataclass(frozen=True, slots=True)
class Imported:
    """`titles_changed` were new or different; `stored` events were new, `known` ones had come before."""

    titles_read: int
    titles_changed: int
    stored: int
    known: int
    refused: int  # by the store, with the reason, in rejected_events
    users: int

    def as_record(self) -> dict[str, Any]:
        """Plain JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def import_data(
    services: Services,
    titles: Iterable[Title],
    events: Iterable[Event],
    now: float,
    progress: Progress = lambda titles, events: None,
) -> Imported:
    """Store titles and events. Importing again, or after an interruption, adds nothing twice: event ids decide. Of
    events that retention has dropped no id is left: a file as old as that is learned from once more.

    Events are gathered by user a buffer at a time, so that memory is bounded and a user's events mostly share one
    transaction. Raises StoreUnavailable; what was stored by then stays.
    """
    read = [0, 0]

    def counted(things: Iterable[T], place: int) -> Iterator[T]:
        for thing in things:
            read[place] += 1
            progress(*read)
            yield thing

    changed = services.catalog.upsert(counted(titles, 0))
    stored = known = refused = 0
    users: set[str] = set()
    for user_id, own in by_user(counted(events, 1), BUFFERED_EVENTS):
        users.add(user_id)
        done = ingest(services, Message(MESSAGE_ID, user_id, tuple(own)), now)
        stored, known, refused = stored + done.stored, known + done.known, refused + done.rejected
    return Imported(read[0], changed, stored, known, refused, len(users))


def by_user(events: Iterable[Event], at_most: int) -> Iterator[tuple[str, list[Event]]]:
    """Users with their events in order, at most `at_most` events held; a user may come again in a later buffer."""
    buffer: dict[str, list[Event]] = {}
    held = 0
    for event in events:
        buffer.setdefault(event.user_id, []).append(event)
        held += 1
        if held >= at_most:
            yield from buffer.items()
            buffer, held = {}, 0
    yield from buffer.items()
