"""Circumstances that no log tells of: mood, company, weather. Priors by hand, each bounded; callers name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.ranking.query import Context

MOOD_LIFT, COMPANY_LIFT, WEATHER_LIFT = 1.5, 1.5, 1.2  # weather is the weakest reason to watch something

MOOD_GENRES = {
    "happy": ("comedy", "family", "animation"),
    "sad": ("drama", "romance"),
    "excited": ("action", "adventure", "thriller"),
    "relaxed": ("documentary", "comedy", "family"),
    "scared": ("horror", "thriller"),
    "romantic": ("romance", "drama"),
    "curious": ("documentary", "mystery", "science fiction"),
    "nostalgic": ("family", "musical", "western"),
}
WEATHER_GENRES = {
    "rainy": ("drama", "mystery", "crime"),
    "stormy": ("thriller", "horror", "mystery"),
    "snowy": ("family", "fantasy", "animation"),
    "cold": ("drama", "romance", "fantasy"),
    "sunny": ("comedy", "adventure", "music"),
    "hot": ("comedy", "adventure", "action"),
}


@dataclass(frozen=True, slots=True)
class Company:
    """What suits those who watch together, and the highest age rating that spares all of them; None: any."""

    genres: tuple[str, ...]
    maturity_max: int | None = None


COMPANY = {
    "kids": Company(("family", "animation"), 7),
    "family": Company(("family", "animation", "adventure", "comedy"), 13),
    "friends": Company(("comedy", "action", "horror", "science fiction")),
    "partner": Company(("romance", "drama", "comedy")),
    "alone": Company(("drama", "documentary", "mystery")),
}
_CALLED = {"children": "kids", "child": "kids", "couple": "partner", "spouse": "partner", "self": "alone"}

Lift = tuple[tuple[str, ...], float]
"""Genres, and what the popularity of a title with one of them is multiplied by."""


def wished(context: Context) -> tuple[Lift, ...]:
    """The lifts of everything that the caller says of mood, company and weather; names nobody knows say nothing."""
    lifts: list[Lift] = []
    if genres := MOOD_GENRES.get(context.mood or ""):
        lifts.append((genres, MOOD_LIFT))
    if genres := tuple(genre for company in companies(context.viewing_with) for genre in company.genres):
        lifts.append((genres, COMPANY_LIFT))
    if genres := WEATHER_GENRES.get(context.weather or ""):
        lifts.append((genres, WEATHER_LIFT))
    return tuple(lifts)


def companies(names: Iterable[str]) -> list[Company]:
    """What is known of those named, by their usual names too; names nobody knows say nothing."""
    called = [_CALLED.get(name, name) for name in names]
    return [COMPANY[name] for name in called if name in COMPANY]


def maturity_care(names: Iterable[str]) -> int | None:
    """The highest age rating that spares everybody who watches; None where nobody needs it."""
    limits = [company.maturity_max for company in companies(names) if company.maturity_max is not None]
    return min(limits, default=None)
