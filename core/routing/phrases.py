"""What the words of a query say beside names: genres wanted and unwanted, languages, places, kinds, years, mood."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.routing.wording import (
    ALSO,
    DECADES,
    GENRES,
    LANGUAGES,
    MOOD_OF,
    NEGATIONS,
    NOT_A_LANGUAGE,
    OWN_SERVICES,
    REGION_CUES,
    REGIONS,
    TYPES,
)

_YEAR = re.compile(r"(19|20)\d\d")
_DECADE = re.compile(r"((?:19|20)?\d0)s")
_BY_WORD = {phrase: genre for genre, phrases in GENRES.items() for phrase in phrases}
_LONGEST = 3  # words of the longest phrase for a genre
_OPEN_BEFORE, _OPEN_AFTER = {"before", "until"}, {"after", "since", "newer"}


@dataclass(frozen=True, slots=True)
class Phrases:
    """Genres and types as the catalogue names them; languages and regions as ISO codes; years inclusive."""

    genres: tuple[str, ...] = ()
    exclude_genres: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    year_min: int | None = None
    year_max: int | None = None
    mood: str | None = None
    own_services: bool = False  # "on my platforms"


def phrases_of(words: Sequence[str], known_genres: Collection[str]) -> Phrases:
    """words: folded; "" where a name stood. known_genres: the catalogue's; others are no filter."""
    text = " ".join(words)
    wanted, unwanted = _genres(words, known_genres)
    low, high = _years(words)
    places = [place for place, word in enumerate(words) if place and words[place - 1] in REGION_CUES]
    ahead = [" ".join(words[place : place + size]) for place in places for size in (2, 1)]
    kinds = {TYPES[word] for word in words if word in TYPES}
    return Phrases(
        genres=wanted,
        exclude_genres=unwanted,
        languages=_unique(LANGUAGES[word] for word in _languages(words)),
        regions=_unique(REGIONS[name] for name in ahead if name in REGIONS and name != "us"),
        types=tuple(kinds) if len(kinds) == 1 else (),
        year_min=low,
        year_max=high,
        mood=min((MOOD_OF[phrase] for phrase in MOOD_OF if _has(text, phrase)), default=(0, None))[1],
        own_services=any(_has(text, phrase) for phrase in OWN_SERVICES),
    )


def _has(text: str, phrase: str) -> bool:
    return f" {phrase} " in f" {text} "


def _unique(values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))  # type: ignore[call-overload]


def _languages(words: Sequence[str]) -> list[str]:
    following = [*words, ""][1:]
    return [
        word for word, after in zip(words, following, strict=True) if word in LANGUAGES and after not in NOT_A_LANGUAGE
    ]


def _singular(phrase: str) -> str:
    if phrase.endswith("ies"):
        return phrase[:-3] + "y"
    return phrase[:-1] if phrase.endswith("s") and not phrase.endswith("ss") else phrase


def _genres(words: Sequence[str], known: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    wanted: list[str] = []
    unwanted: list[str] = []
    place = 0
    while place < len(words):
        for size in range(_LONGEST, 0, -1):
            phrase = " ".join(words[place : place + size])
            genre = _BY_WORD.get(phrase) or _BY_WORD.get(_singular(phrase))
            if genre:
                negated = any(word in NEGATIONS for word in words[max(place - 2, 0) : place])
                also = ALSO.get(_singular(phrase), ())
                (unwanted if negated else wanted).extend(g for g in (genre, *also) if g in known)
                break
        place += size
    return _unique(wanted), _unique(genre for genre in unwanted if genre not in wanted)


def _years(words: Sequence[str]) -> tuple[int | None, int | None]:
    """From a year, a decade, two of them, or one with before or after; (None, None) where no time is named."""
    spans = []
    for place, word in enumerate(words):
        span = _span(word)
        if span is None:
            continue
        before = words[place - 1] if place else ""
        low, high = (None if before in _OPEN_BEFORE else span[0]), (None if before in _OPEN_AFTER else span[1])
        if before in _OPEN_BEFORE:
            high = span[0] - 1
        spans.append((low, high))
    lows, highs = [low for low, _ in spans], [high for _, high in spans]
    low = None if not spans or None in lows else min(low for low in lows if low is not None)
    high = None if not spans or None in highs else max(high for high in highs if high is not None)
    return low, high


def _span(word: str) -> tuple[int, int] | None:
    if _YEAR.fullmatch(word):
        return int(word), int(word)
    decade = _DECADE.fullmatch(word)
    if decade:
        first = int(decade.group(1))
        first += 0 if first > 1000 else 1900 if first >= 20 else 2000
        return first, first + 9
    return (DECADES[word], DECADES[word] + 9) if word in DECADES else None
