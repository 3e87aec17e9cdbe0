"""A made-up catalogue and audience of any size, generated in seconds: for load, not for quality.

Genres, people, keywords and words have a long tail, as in real catalogues; an audience has tastes, so that neighbour
lists are as full as real ones. (core.local.simulator is truer to life and takes minutes at this size.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.interaction import Event, Interaction, InteractionType, Onboarding

GENRES = (
    *("drama", "comedy", "thriller", "action", "romance", "crime", "adventure", "science fiction", "horror", "family"),
    *("fantasy", "mystery", "animation", "documentary", "history", "war", "musical", "western"),
)
DEVICES = ("tv", "mobile", "tablet", "desktop")
DAY_S = 86_400.0
DAYS = 90
SITTING = 3  # titles watched in a row
TASTES = 3  # genres that a viewer likes
OWN_TASTE = 0.7  # share of the viewings that come from them
TYPES = (
    InteractionType.WATCH_COMPLETE,
    InteractionType.WATCH_PROGRESS,
    InteractionType.RATING_EXPLICIT,
    InteractionType.SKIP_CONTENT,
)
UP_TO_TYPE = (0.7, 0.85, 0.95)  # cumulative shares: 70 % complete, 15 % progress, 10 % ratings, 5 % skips
UP_TO_DEVICE = (0.6, 0.8, 0.9)


def zipf(n: int, exponent: float) -> NDArray[np.float64]:
    """(n,) shares of a long-tailed distribution, summing to 1."""
    weights = np.arange(1, n + 1) ** -exponent
    return np.asarray(weights / weights.sum())


GENRE_SHARES = zipf(len(GENRES), 0.7)


@dataclass(frozen=True, eq=False)
class Audience:
    """n titles and the history of `viewers` viewers. The same seed gives the same."""

    titles: tuple[Title, ...]
    viewers: int
    until: float  # Unix seconds
    seed: int

    def user_id(self, viewer: int) -> str:
        return f"viewer-{viewer:05d}"

    def histories(self) -> Iterator[tuple[str, list[Event]]]:
        """Every viewer's id and events, oldest first."""
        popular = zipf(len(self.titles), 0.8)
        rows = [np.flatnonzero([genre in title.genres for title in self.titles]) for genre in GENRES]
        rows.append(np.arange(len(self.titles)))
        shelves = [(shelf, np.cumsum(popular[shelf])) for shelf in rows]
        for viewer in range(self.viewers):
            yield self.user_id(viewer), self._history(viewer, shelves, np.random.default_rng((self.seed, viewer)))

    def events(self) -> Iterator[Event]:
        for _, events in self.histories():
            yield from events

    def _history(self, viewer: int, shelves: list[tuple[NDArray, NDArray]], rng: np.random.Generator) -> list[Event]:
        """shelves: rows and cumulative popularity of each genre's titles, and last of all titles."""
        tastes = rng.choice(len(GENRES), TASTES, replace=False, p=GENRE_SHARES)
        count = int(np.clip(rng.lognormal(3.2, 0.6), 5, 200))
        from_taste = rng.random(count) < OWN_TASTE
        drawn = np.where(from_taste, tastes[rng.integers(TASTES, size=count)], len(GENRES))
        chosen = [
            int(rows[np.searchsorted(shares, at * shares[-1])])
            for (rows, shares), at in zip((shelves[shelf] for shelf in drawn), rng.random(count), strict=True)
        ]
        sittings = self.until - DAYS * DAY_S * (1 - np.sort(rng.random(count // SITTING + 1)))
        events: list[Event] = [
            self._event(viewer, number, row, sittings[number // SITTING], rng)
            for number, row in enumerate(dict.fromkeys(chosen))
        ]
        if viewer % 2:
            told = tuple(GENRES[taste] for taste in tastes)
            begin = self.until - (DAYS + 1) * DAY_S
            user_id = self.user_id(viewer)
            events.insert(0, Onboarding(f"{user_id}-about", user_id, begin, told, "25-34", "DE", "en"))
        return events

    def _event(self, viewer: int, number: int, row: int, sitting: float, rng: np.random.Generator) -> Interaction:
        kind = TYPES[np.searchsorted(UP_TO_TYPE, rng.random())]
        return Interaction(
            event_id=f"{viewer}-{number}",
            user_id=self.user_id(viewer),
            content_id=self.titles[row].content_id,
            type=kind,
            occurred_at=float(sitting + 5400 * (number % SITTING)),
            progress=float(rng.random()) if kind is InteractionType.WATCH_PROGRESS else None,
            rating=float(rng.integers(2, 6)) if kind is InteractionType.RATING_EXPLICIT else None,
            device=DEVICES[np.searchsorted(UP_TO_DEVICE, rng.random())],
        )


def audience(titles: int, viewers: int, until: float, seed: int = 0) -> Audience:
    """A catalogue of `titles`, most popular first, and its viewers up to `until` (Unix seconds)."""
    rng = np.random.default_rng(seed)
    names = (  # how many there are, how many a title has, how long the tail is: the busiest actor has 180 titles
        *(("actor", 2 * titles, 5, 0.5), ("director", titles // 3 + 1, 1, 0.4)),
        *(("theme", titles // 6 + 20, 5, 0.9), ("word", 8000, 25, 0.9)),
    )
    drawn = {name: rng.choice(size, (titles, many), p=zipf(size, tail)) for name, size, many, tail in names}
    genres = rng.choice(len(GENRES), (titles, 3), p=GENRE_SHARES)
    years, lengths, kinds = rng.integers(1950, 2026, titles), rng.integers(20, 180, titles), rng.random(titles)

    def words(name: str, i: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f"{name} {code}" for code in drawn[name][i]))

    made = tuple(
        Title(
            content_id=f"title-{i:05d}",
            title=f"Title {i}",
            type="series" if kinds[i] < 0.25 else "movie",
            year=int(years[i]),
            genres=tuple(dict.fromkeys(GENRES[code] for code in genres[i])),
            keywords=words("theme", i),
            cast=words("actor", i),
            directors=words("director", i),
            franchise=f"franchise {i % (titles // 50 + 1)}" if kinds[i] > 0.9 else None,
            runtime_minutes=int(lengths[i]),
            language=("en", "de", "fr", "es")[i % 4],
            maturity=(0, 6, 12, 16)[i % 4],
            overview=" ".join(words("word", i)),
        )
        for i in range(titles)
    )
    return Audience(made, viewers, until, seed)
