"""Facts of titles and ratings as data sets write them, in the catalogue's own words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from core.catalog import Title, title_from_record
from core.importers.report import RowRejected
from core.interaction import MAX_STARS, Interaction, InteractionType

NO_GENRES = "(no genres listed)"
# The catalogue's genre names are lower case and in full; these are the other spellings in use.
_GENRES = {
    "sci-fi": "science fiction",
    "sci_fi": "science fiction",
    "scifi": "science fiction",
    "children's": "family",
    "children": "family",
    "film-noir": "film noir",
}
_NOT_A_GENRE = {"imax", NO_GENRES, "unknown", "\\n", ""}
_YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
_ARTICLE = re.compile(r"^(.*), (The|A|An|Le|La|Les|L'|Il|Lo|Gli|El|Los|Las|Der|Die|Das|Un|Une|Una)$")
_TYPES = {"tv": "series", "show": "series", "tvseries": "series", "film": "movie"}
# Certificate -> minimum age in years. One that is not here is unknown.
_AGES = {
    "G": 0, "U": 0, "TV-Y": 0, "TV-G": 0, "APPROVED": 0, "PASSED": 0,
    "TV-Y7": 7, "PG": 8, "TV-PG": 8, "GP": 8, "M/PG": 8,
    "PG-13": 13, "TV-14": 14, "R": 17, "TV-MA": 17, "NC-17": 18, "X": 18,
    "12": 12, "12A": 12, "15": 15, "16": 16, "18": 18,
}  # fmt: skip
_FIRST_YEAR, _LAST_YEAR = 1870, 2100
NO_MOMENT = "timestamp is neither Unix seconds nor RFC 3339 with its offset"


def genre_names(names: Iterable[Any]) -> tuple[str, ...]:
    """Genres in the catalogue's spelling, without repeats and without what is no genre (IMAX, none listed)."""
    spelled = (_GENRES.get(name, name) for name in (str(given).strip().lower() for given in names))
    return tuple(dict.fromkeys(name for name in spelled if name not in _NOT_A_GENRE))


def name_and_year(text: str) -> tuple[str, int | None]:
    """("The Matrix", 1999) from "Matrix, The (1999)"."""
    text = text.strip()
    year = None
    if match := _YEAR.search(text):
        text, year = text[: match.start()].strip(), int(match.group(1))
    if match := _ARTICLE.match(text):
        article = match.group(2)
        text = f"{article}{'' if article.endswith(chr(39)) else ' '}{match.group(1)}"
    return text, year if year and _FIRST_YEAR <= year <= _LAST_YEAR else None


def listed_title(prefix: str, item: str, text: str, genres: Iterable[str]) -> Title:
    """A title from an id, "Name (year)" and genres. Raises RowRejected without an id or a name."""
    name, year = name_and_year(text)
    if not item or not name:
        raise RowRejected("no id or no title")
    return Title(prefix + item, name, year=year, genres=genre_names(genres))


def described_title(record: Mapping[str, Any], prefix: str) -> Title:
    """A title from a JSON record in this project's or in common spellings. Raises RowRejected, InvalidInput.

    `platforms`, `popularity` and votes are not taken: they name no time or region, and a popularity of today would leak
    into an evaluation of yesterday.
    """
    facts = dict(record)
    own_id = first(record, "content_id", "item_id", "id")
    if own_id is None:
        raise RowRejected("no id or no title")
    facts["content_id"] = f"{prefix}{own_id}"
    if record.get("series_id") is not None:
        facts["series_id"] = f"{prefix}{record['series_id']}"
    kind = str(record.get("type") or "movie").lower()
    facts["type"] = _TYPES.get(kind, kind)
    facts["genres"] = genre_names(several(record.get("genres")))
    for name in ("keywords", "cast", "directors", "creators"):
        facts[name] = [str(value) for value in several(record.get(name))]
    facts["runtime_minutes"] = first(record, "runtime_minutes", "runtime")
    facts["country"] = next((str(country) for country in several(record.get("country"))), None)
    facts["maturity"] = first(record, "maturity") or _AGES.get(str(record.get("certificate", "")).upper())
    facts["overview"] = str(first(record, "overview", "wiki_extract") or "")
    return title_from_record(facts)


def first(record: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that is present and not null."""
    return next((record[name] for name in names if record.get(name) is not None), None)


def several(value: Any) -> list[Any]:
    """A list as it is, one text as a list of one, nothing as none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def number(text: str, what: str) -> float:
    """A finite number. Raises RowRejected naming `what`."""
    try:
        value = float(text)
    except ValueError:
        raise RowRejected(f"{what} is not a number") from None
    if not math.isfinite(value):
        raise RowRejected(f"{what} is not a number")
    return value


def moment(text: str) -> float:
    """Unix seconds from Unix seconds or RFC 3339. Raises RowRejected."""
    try:
        value = float(text)
    except ValueError:
        value = _rfc3339(text)
    if not math.isfinite(value):
        raise RowRejected(NO_MOMENT)
    if value < 0:
        raise RowRejected("timestamp before 1970")
    return value


def _rfc3339(text: str) -> float:
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise RowRejected(NO_MOMENT) from None
    if written.tzinfo is None:  # whose noon that is, nobody knows
        raise RowRejected(NO_MOMENT)
    return written.timestamp()


def rating_event(
    origin: str, user: str, item: str, rating: str, timestamp: str, best: float, prefix: str
) -> Interaction:
    """A rating as an event; `best` is the highest rating of the scale, which becomes five stars.

    The id is made of the row itself, so that importing a file again, or a newer release of it, adds nothing twice.
    Raises RowRejected.
    """
    if not user or not item:
        raise RowRejected("no user or no item")
    value, at = number(rating, "rating"), moment(timestamp)
    if not 0 <= value <= best:
        raise RowRejected(f"rating outside 0..{best:g}")
    return Interaction(
        event_id=f"{origin}:{user}:{item}:{timestamp}:{rating}",
        user_id=prefix + user,
        content_id=prefix + item,
        type=InteractionType.RATING_EXPLICIT,
        occurred_at=at,
        rating=value * MAX_STARS / best,
    )
