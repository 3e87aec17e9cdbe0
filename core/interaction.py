"""Events: what a user did to a title, and what a user said about themselves.

An event is immutable and carries the id its client chose, so that delivering it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from core.errors import InvalidInput

MAX_STARS = 5.0


class InteractionType(StrEnum):
    """What a user did to a title. `signal_strength` says what each is evidence of."""

    IMPRESSION = "impression"
    SEARCH_CLICK = "search_click"
    WATCH_START = "watch_start"
    WATCH_PROGRESS = "watch_progress"
    WATCH_COMPLETE = "watch_complete"
    RATING_EXPLICIT = "rating_explicit"
    LIKE = "like"
    DISLIKE = "dislike"
    SKIP_CONTENT = "skip_content"


# Names that other systems use for our event types, besides our own.
TYPE_ALIASES = {
    "rating": InteractionType.RATING_EXPLICIT,
    "skip": InteractionType.SKIP_CONTENT,
    "click": InteractionType.SEARCH_CLICK,
    "start": InteractionType.WATCH_START,
    "progress": InteractionType.WATCH_PROGRESS,
    "complete": InteractionType.WATCH_COMPLETE,
    "view": InteractionType.IMPRESSION,
} | {str(kind): kind for kind in InteractionType}


@dataclass(frozen=True, slots=True)
class Interaction:
    """One event of one user on one title. `occurred_at` is the client's clock in Unix seconds."""

    event_id: str
    user_id: str
    content_id: str
    type: InteractionType
    occurred_at: float
    progress: float | None = None  # share watched, 0..1
    rating: float | None = None  # stars, 0..5
    rewatch: bool = False
    device: str | None = None  # tv, mobile, tablet, desktop
    request_id: str | None = None  # the answer that showed this title, for attribution
    pattern_id: str | None = None  # of an impression: the pattern that lifted the title in that answer
    position: int | None = None  # of an impression: its place in that answer, from 0
    strategy: str | None = None  # of an impression: what proposed the title...
    latency_ms: float | None = None  # ...and how long that took


@dataclass(frozen=True, slots=True)
class Onboarding:
    """What a user tells about themselves before (or instead of) watching. A later one replaces an earlier one."""

    event_id: str
    user_id: str
    occurred_at: float
    genres: tuple[str, ...] = ()
    age_band: str | None = None
    region: str | None = None
    language: str | None = None
    platforms: tuple[str, ...] = ()  # subscribed to


Event = Interaction | Onboarding

_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (Interaction, Onboarding)}

ONBOARDING = "onboarding"  # the log's type column for an Onboarding event

# Signed strength of one event, in the specified order: complete > rating > start > click > skip (negative).
_STRENGTH = {
    InteractionType.IMPRESSION: 0.0,
    InteractionType.SEARCH_CLICK: 0.2,
    InteractionType.WATCH_START: 0.3,
    InteractionType.WATCH_COMPLETE: 1.0,
    InteractionType.LIKE: 0.9,
    InteractionType.DISLIKE: -0.9,
    InteractionType.SKIP_CONTENT: -0.3,
}


def signal_strength(event: Interaction) -> float:
    """Signed strength of one event in [-1, 1]; 0 means no evidence. A rating counts from three stars up or down."""
    if event.type is InteractionType.RATING_EXPLICIT:
        stars = 3.0 if event.rating is None else event.rating
        return 0.9 * max(-1.0, min(1.0, stars - 3.0))
    if event.type is InteractionType.WATCH_PROGRESS:
        progress = event.progress or 0.0
        return 1.0 if progress >= 0.9 else 0.8 * progress  # the credits are not part of the film
    return _STRENGTH[event.type]


def to_record(event: Event) -> dict[str, Any]:
    """Plain JSON form, with `type` naming what it is and absent values left out."""
    values = ((name, getattr(event, name)) for name in _FIELDS[type(event)])
    record = {name: value for name, value in values if value is not None and value is not False}
    record["type"] = ONBOARDING if isinstance(event, Onboarding) else str(event.type)
    return record


def from_record(record: Mapping[str, Any]) -> Event:
    """Inverse of `to_record`. Raises InvalidInput for a record that no event produced."""
    kind = Onboarding if record.get("type") == ONBOARDING else Interaction
    values = {name: record[name] for name in _FIELDS[kind] if name in record}
    try:
        if kind is Onboarding:
            values |= {name: tuple(values.get(name, ())) for name in ("genres", "platforms")}
        else:
            values["type"] = InteractionType(values["type"])
        return kind(**values)
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidInput(f"not an event: {error}") from error
