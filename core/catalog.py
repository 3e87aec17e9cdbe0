"""The catalogue's nouns: titles, their availability and their relationships."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from core.errors import InvalidInput

TITLE_TYPES = ("movie", "series", "episode")


class RelationshipType(StrEnum):
    """What an edge of the title graph says; SEQUEL_OF has a direction, from the sequel to what came before."""

    SIMILAR_TO = "SIMILAR_TO"
    SEQUEL_OF = "SEQUEL_OF"
    SAME_GENRE = "SAME_GENRE"
    SAME_CAST = "SAME_CAST"
    SAME_DIRECTOR = "SAME_DIRECTOR"
    SAME_FRANCHISE = "SAME_FRANCHISE"
    CO_WATCHED = "CO_WATCHED"


@dataclass(frozen=True, slots=True)
class Availability:
    """A title on one service in one region. Times are Unix seconds; `expires_at` None means open-ended."""

    service: str
    region: str
    added_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Title:
    """One movie, series or episode. Unknown facts are None or empty, never guessed."""

    content_id: str
    title: str
    type: str = "movie"
    year: int | None = None
    genres: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    directors: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    franchise: str | None = None
    series_id: str | None = None
    runtime_minutes: int | None = None
    seasons: int | None = None
    language: str | None = None
    country: str | None = None
    maturity: int | None = None  # minimum age in years
    overview: str = ""
    availability: tuple[Availability, ...] = ()


def content_key(content_id: str) -> int:
    """64-bit key of a title: stable across snapshots, models and machines (BLAKE2b, 8 bytes, big-endian)."""
    return int.from_bytes(hashlib.blake2b(content_id.encode(), digest_size=8).digest(), "big")


def content_hash(title: Title) -> str:
    """Hash of everything but the availability: changes exactly when the title must be embedded again."""
    facts = {name: value for name, value in asdict(title).items() if name != "availability"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def title_to_record(title: Title) -> dict[str, Any]:
    """Plain JSON form with unknown facts left out."""
    record = {name: value for name, value in asdict(title).items() if value not in (None, (), "")}
    if title.availability:
        record["availability"] = [asdict(entry) for entry in title.availability]
    return record


_TUPLES = ("genres", "keywords", "cast", "directors", "creators")


def title_from_record(record: Mapping[str, Any]) -> Title:
    """Read a title; facts this version does not know are ignored. Raises InvalidInput when one it knows is unusable."""
    known = {name: record[name] for name in Title.__slots__ if record.get(name) is not None}
    content_id, name = str(known.get("content_id", "")).strip(), str(known.get("title", "")).strip()
    if not content_id or not name:
        raise InvalidInput("a title needs content_id and title")
    if known.get("type", "movie") not in TITLE_TYPES:
        raise InvalidInput(f"type of {content_id} is {known['type']!r}, not one of {', '.join(TITLE_TYPES)}")
    try:
        for key in _TUPLES:
            known[key] = tuple(str(value) for value in known.get(key, ()))
        for key in ("year", "runtime_minutes", "seasons", "maturity"):
            if key in known:
                known[key] = int(known[key])
        known["availability"] = tuple(Availability(**entry) for entry in known.get("availability", ()))
        known.update(content_id=content_id, title=name)
        return Title(**known)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"title {content_id}: {error}") from error
