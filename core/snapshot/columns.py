"""Titles as columns: attributes, availability, vocabulary, ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.catalog import TITLE_TYPES, Title, content_key
from core.errors import InvalidInput
from core.snapshot.snapshot import ATTRIBUTES, AVAILABILITY, NO_GENRE

_MAX_GENRES = 32  # bits of the genre mask; the rarest genres beyond are not filterable


@dataclass(frozen=True, slots=True)
class Columns:
    """n titles in ascending order of their key, and what is filtered by. See core.snapshot.snapshot for the arrays."""

    titles: tuple[Title, ...]
    keys: NDArray[np.uint64]
    attributes: NDArray[Any]
    availability: NDArray[Any]
    genres: tuple[str, ...]  # most frequent first
    languages: tuple[str, ...]
    franchises: tuple[str, ...]
    services: tuple[str, ...]
    regions: tuple[str, ...]


def _names(values: Iterable[str | None]) -> dict[str, int]:
    """Sorted distinct names -> codes."""
    return {name: code for code, name in enumerate(sorted({value for value in values if value}))}


def _genre_codes(titles: Sequence[Title]) -> dict[str, int]:
    counts = Counter(genre for title in titles for genre in title.genres)
    by_frequency = sorted(counts, key=lambda genre: (-counts[genre], genre))
    return {genre: code for code, genre in enumerate(by_frequency[:_MAX_GENRES])}


def _bounded(value: int | None, dtype: str) -> int:
    """A non-negative number that fits the column, -1 when unknown."""
    return -1 if value is None else min(max(value, 0), int(np.iinfo(dtype).max))


def _attributes(
    titles: Sequence[Title],
    row_of: dict[str, int],
    genres: dict[str, int],
    languages: dict[str, int],
    franchises: dict[str, int],
) -> NDArray[Any]:
    table = np.zeros(len(titles), ATTRIBUTES)
    for row, title in enumerate(titles):
        codes = [genres[genre] for genre in title.genres if genre in genres]
        table[row] = (
            TITLE_TYPES.index(title.type),
            _bounded(title.maturity, "i1"),
            _bounded(title.year, "i2"),
            _bounded(title.runtime_minutes, "i2"),
            languages.get(title.language or "", -1),
            franchises.get(title.franchise or "", -1),
            row_of.get(title.series_id or "", -1),
            sum(1 << code for code in set(codes)),
            codes[0] if codes else NO_GENRE,
        )
    return table


def _availability(titles: Sequence[Title], services: dict[str, int], regions: dict[str, int]) -> NDArray[Any]:
    entries = sorted(
        (
            row,
            services[entry.service],
            regions[entry.region],
            entry.added_at,
            np.inf if entry.expires_at is None else entry.expires_at,
        )
        for row, title in enumerate(titles)
        for entry in title.availability
    )
    return np.array(entries, AVAILABILITY)


def columns_of(titles: Iterable[Title]) -> Columns:
    """Sort titles by key and code their facts. Raises InvalidInput for no title at all or two with the same key."""
    by_key = sorted(titles, key=lambda title: content_key(title.content_id))
    keys = np.array([content_key(title.content_id) for title in by_key], np.uint64)
    if not by_key:
        raise InvalidInput("a snapshot needs at least one title")
    if len(repeated := np.flatnonzero(keys[1:] == keys[:-1])):
        raise InvalidInput(f"two titles have the content_id {by_key[int(repeated[0])].content_id}, or one of equal key")
    row_of = {title.content_id: row for row, title in enumerate(by_key)}
    genres = _genre_codes(by_key)
    languages, franchises = _names(t.language for t in by_key), _names(t.franchise for t in by_key)
    services = _names(entry.service for t in by_key for entry in t.availability)
    regions = _names(entry.region for t in by_key for entry in t.availability)
    return Columns(
        titles=tuple(by_key),
        keys=keys,
        attributes=_attributes(by_key, row_of, genres, languages, franchises),
        availability=_availability(by_key, services, regions),
        genres=tuple(genres),
        languages=tuple(languages),
        franchises=tuple(franchises),
        services=tuple(services),
        regions=tuple(regions),
    )
