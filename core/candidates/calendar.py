"""The calendar: occasions that come back every year, and what is watched on them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from core.errors import ConfigurationError

MAX_OCCASION_LIFT = 3.0
_DAY = re.compile(r"(\d\d)-(\d\d)")
_LEAP_YEAR = 2024  # so that 02-29 is a day


@dataclass(frozen=True, slots=True)
class Occasion:
    """From `start` to `end`, both included and both MM-DD; an end before the start lies in the next year.

    What suits it: titles that have all words of one of `words` in their name, keywords or description, the titles with
    the content ids `titles`, and, to a third, those of `genres`. lift: what their popularity is multiplied by.
    """

    name: str
    start: str
    end: str
    words: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    lift: float = 2.0

    def on(self, day: date) -> bool:
        """Whether that day is one of it."""
        today = f"{day:%m-%d}"
        if self.start <= self.end:
            return self.start <= today <= self.end
        return today >= self.start or today <= self.end


# What holds on both hemispheres: dates, not weather. Days that move (carnival, Easter, Eid, Diwali, the Oscars' night)
# are left to a deployment's own calendar, which knows its year and its country; the awards have their weeks.
EVENTS = (
    Occasion("New Year", "12-30", "01-02", words=("new year",), genres=("comedy", "romance"), lift=1.5),
    Occasion("Valentine's Day", "02-07", "02-14", words=("valentine", "love story"), genres=("romance",)),
    Occasion("awards season", "02-15", "03-20", words=("academy award",), genres=("drama", "biography"), lift=1.5),
    Occasion("Halloween", "10-15", "10-31", words=("halloween", "haunted", "witch", "ghost"), genres=("horror",)),
    Occasion("Christmas", "12-01", "12-26", words=("christmas", "santa"), genres=("family",)),
)  # fmt: skip


@lru_cache(maxsize=8)
def parse_calendar(text: str) -> tuple[Occasion, ...]:
    """The occasions of a JSON list of {"name": ..., "start": "12-01", "end": "12-26", "words": [...], ...}; those of
    EVENTS for an empty text, none for "[]". Raises ConfigurationError naming what is wrong."""
    if not text:
        return EVENTS
    try:
        records = json.loads(text)
        return tuple(_occasion(record) for record in records)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"SONA_RANKING_EVENTS: {error}") from error


def _occasion(record: dict[str, Any]) -> Occasion:
    words, genres = (tuple(str(word).lower() for word in record.get(name, ())) for name in ("words", "genres"))
    titles = tuple(str(content_id) for content_id in record.get("titles", ()))
    found = Occasion(**{**record, "words": words, "genres": genres, "titles": titles})
    for day in (found.start, found.end):
        if not (match := _DAY.fullmatch(day)):
            raise ValueError(f"{found.name}: {day!r} is not MM-DD")
        date(_LEAP_YEAR, int(match[1]), int(match[2]))
    if not 1.0 <= found.lift <= MAX_OCCASION_LIFT:
        raise ValueError(f"{found.name}: lift must lie between 1 and {MAX_OCCASION_LIFT:g}")
    return found


def occasions(text: str, now: float) -> tuple[Occasion, ...]:
    """Those of the calendar `text` that are on at `now` (Unix seconds), by the date in UTC."""
    return _on(text, int(now // 86_400))


@lru_cache(maxsize=64)
def _on(text: str, day: int) -> tuple[Occasion, ...]:
    today = datetime.fromtimestamp(day * 86_400, UTC).date()
    return tuple(one for one in parse_calendar(text) if one.on(today))
