"""What a caller asks for, already validated."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.interaction import Event


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of a request; None means unknown."""

    time_of_day: str | None = None  # night, morning, afternoon, evening; from the clock when unknown
    device: str | None = None
    mood: str | None = None
    viewing_with: tuple[str, ...] = ()
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which titles may appear; an empty filter allows all."""

    types: tuple[str, ...] = ("movie", "series")
    genres: tuple[str, ...] = ()  # any of these
    exclude_genres: tuple[str, ...] = ()  # none of these
    languages: tuple[str, ...] = ()
    year_min: int | None = None
    year_max: int | None = None
    maturity_max: int | None = None  # minimum age of the title at most this; titles without a rating are left out
    runtime_max: int | None = None  # minutes
    services: tuple[str, ...] = ()  # available now on any of these
    region: str | None = None  # availability in this region


@dataclass(frozen=True, slots=True)
class Query:
    user_id: str
    limit: int = 20
    context: Context = field(default_factory=Context)
    filters: Filters = field(default_factory=Filters)
    exclude: tuple[str, ...] = ()  # content ids that must not appear
    exclude_seen: bool = True
    recent_events: tuple[Event, ...] = ()  # not yet ingested: read your writes
    mmr_lambda: float | None = None  # None: the configured one
    text: str | None = None  # what the viewer asks for in words; only titles that match it are recommended
