"""What a caller asks for, already validated."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.candidates.calendar import Occasion
from core.interaction import Event


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of a request; None means unknown."""

    time_of_day: str | None = None  # night, morning, afternoon, evening; from the clock when unknown
    device: str | None = None
    mood: str | None = None
    viewing_with: tuple[str, ...] = ()
    region: str | None = None
    weather: str | None = None  # sunny, rainy, snowy, stormy, hot, cold
    occasions: tuple[Occasion, ...] = ()  # of the calendar, on today; added by the ranking itself
    platforms: tuple[str, ...] = ()  # that the viewer subscribes to; without any, those of the profile


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
    runtime_min: int | None = None  # minutes
    own_platforms: bool = False  # available now on the viewer's platforms


@dataclass(frozen=True, slots=True)
class Pin:
    """A title that editors put at a place, whatever the viewer's taste."""

    content_id: str
    position: int  # in the answer, from 1


@dataclass(frozen=True, slots=True)
class Promotion:
    """Titles that get a share of the places, the viewer's favourites among them first."""

    content_ids: tuple[str, ...]
    share: float  # of the answer's places, in (0, 1]


@dataclass(frozen=True, slots=True)
class Query:
    """One request for recommendations. The caps and pins are kept strictly, whatever they cost in relevance."""

    user_id: str
    limit: int = 20
    context: Context = field(default_factory=Context)
    filters: Filters = field(default_factory=Filters)
    exclude: tuple[str, ...] = ()  # content ids that must not appear
    exclude_seen: bool = True
    recent_events: tuple[Event, ...] = ()  # not yet ingested: read your writes
    mmr_lambda: float | None = None  # None: the configured one
    text: str | None = None  # what the viewer asks for in words; only titles that match it are recommended
    personalize: bool = True  # False: nothing that was learned about the viewer takes part
    seen_series: str = "finished"  # series that count as seen: finished, or all that were started
    genre_cap: float | None = None  # of the answer from one primary genre, kept strictly; None: the configured one
    franchise_cap: int | None = None  # titles of one franchise, kept strictly
    pins: tuple[Pin, ...] = ()  # what editors put at a place
    promotion: Promotion | None = None
