"""What a query names: titles, people, genres, platforms, years and the like, resolved against the catalogue.

An index is built once per snapshot; a query then costs a dictionary look-up per run of words.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.routing.corpus import everyday_words
from core.routing.phrases import Phrases, phrases_of
from core.routing.relations import behind, people_of
from core.routing.wording import AFTER_CUES, BEFORE_CUE, TITLE_CUES, folded
from core.snapshot.snapshot import Snapshot

LONGEST = 10  # words of a name that are looked up together
MOST_WORDS = 64  # of a query that are read
MIN_SURNAME = 5  # letters with which a surname alone names somebody
MIN_CORRECTED = 5  # letters of a word in which a slip of the pen is looked for
MAKER = 3  # a title speaks so many times as much for its maker's surname as for a player's
MOST_TITLES = 8  # of one name: a franchise
SHORTEST_PART = 4  # letters of a part of a title that stands for it
_ARTICLES = ("the ", "a ", "an ")


@dataclass(frozen=True, slots=True)
class TitleMention:
    """`rows` of the snapshot that the name fits: whole titles first, then parts of a franchise, the popular before the
    others."""

    name: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PersonMention:
    """`rows` of the titles that a person plays in, directed or created, most popular first."""

    name: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entities:
    """What a query names, in the catalogue's own words. via: rows of the titles by which it names people."""

    titles: tuple[TitleMention, ...] = ()
    people: tuple[PersonMention, ...] = ()
    services: tuple[str, ...] = ()
    phrases: Phrases = field(default_factory=Phrases)
    via: tuple[int, ...] = ()

    def rows(self) -> tuple[int, ...]:
        """The most popular row of each title that is named."""
        return tuple(dict.fromkeys(mention.rows[0] for mention in self.titles))


@dataclass(frozen=True, slots=True)
class EntityIndex:
    """Folded names -> what they name. everyday: words that say nothing alone; words: all words of names, with how
    often they occur."""

    titles: dict[str, tuple[int, ...]]
    people: dict[str, PersonMention]
    services: dict[str, str]
    genres: frozenset[str]
    everyday: frozenset[str]
    words: Counter[str]
    years: NDArray[np.int16]  # (n,) of the rows


# A snapshot takes its index with it.
_INDEXES: WeakKeyDictionary[Snapshot, EntityIndex] = WeakKeyDictionary()


def entity_index(snapshot: Snapshot) -> EntityIndex:
    """The snapshot's index, built when first asked for: about .1 ms a title."""
    index = _INDEXES.get(snapshot)
    if index is None:
        index = _INDEXES[snapshot] = build_index(snapshot)
    return index


def build_index(snapshot: Snapshot) -> EntityIndex:
    """The names of a snapshot's titles, people and services, folded; of a name that several share, the popular
    first."""
    names: defaultdict[str, list[int]] = defaultdict(list)
    whole: defaultdict[str, list[int]] = defaultdict(list)  # the same for whole titles, which come first
    everyday: set[str] = set()
    titles = _by_popularity(snapshot)
    for row, title in titles:
        whole[folded(title.title)].append(row)
        for name in _names(title):
            names[name].append(row)
        everyday.update(folded(title.overview).split())
    people = _people(titles)
    words = Counter(word for name in [*names, *people] for word in name.split())
    return EntityIndex(
        titles={name: _first([*whole.get(name, ()), *rows]) for name, rows in names.items()},
        people=people,
        services=_services(snapshot.vocabulary.services),
        genres=frozenset(snapshot.vocabulary.genres),
        everyday=everyday_words() | everyday,
        words=words,
        years=snapshot.attributes["year"],
    )


def _by_popularity(snapshot: Snapshot) -> list[tuple[int, Title]]:
    """Rows with their titles but episodes: nobody asks for one by a name that is also a film's."""
    order = np.argsort(-snapshot.popularity_all, kind="stable").tolist()
    return [(row, title) for row in order if (title := snapshot.title(row)).type != "episode"]


def _first(rows: list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(rows))[:MOST_TITLES]


def find_entities(snapshot: Snapshot, text: str) -> Entities:
    """What `text` names. Longer names win over shorter ones inside them; a name made of everyday words counts only
    where the words around it, or capital letters, make it a title."""
    index = entity_index(snapshot)
    words = folded(text).split()[:MOST_WORDS]
    found = _look_up(index, words, text)
    if not found.titles and not found.people:
        corrected = [_corrected(index, word) for word in words]
        if corrected != words:
            found = _look_up(index, corrected, text)
    return _with_related(snapshot, index, " ".join(words), found) if found.titles else found


def _with_related(snapshot: Snapshot, index: EntityIndex, text: str, found: Entities) -> Entities:
    """With the people whom the folded text names by a title, and what else they did."""
    people, via = list(found.people), set(found.via)
    for mention in found.titles:
        role = behind(text, mention.name)
        for name in people_of(snapshot.title(mention.rows[0]), role) if role else ():
            rows = index.people[folded(name)].rows
            people.append(PersonMention(name, tuple(row for row in rows if row not in mention.rows)))
            via.update(mention.rows)
    return replace(found, people=tuple(dict.fromkeys(people)), via=tuple(sorted(via)))


def _look_up(index: EntityIndex, words: list[str], text: str) -> Entities:
    titles: list[TitleMention] = []
    people: list[PersonMention] = []
    services: list[str] = []
    rest = list(words)
    for start, stop, name in _spans(words):
        if not all(rest[start:stop]):
            continue
        if name in index.services:
            services.append(index.services[name])
        elif name in index.titles and _is_meant(index, words, start, stop, text):
            titles.append(TitleMention(name, index.titles[name]))
        elif name in index.people:
            people.append(index.people[name])
        else:
            continue
        rest[start:stop] = [""] * (stop - start)  # words are part of one name only
    phrases = phrases_of(rest, index.genres)
    titles = [_of_year(index, mention, phrases) for mention in titles]
    return Entities(tuple(titles), tuple(dict.fromkeys(people)), tuple(dict.fromkeys(services)), phrases)


def _spans(words: list[str]) -> Iterator[tuple[int, int, str]]:
    """Runs of words, longest first, then from the left."""
    for length in range(min(LONGEST, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            yield start, start + length, " ".join(words[start : start + length])


def _is_meant(index: EntityIndex, words: list[str], start: int, stop: int, text: str) -> bool:
    """Whether a run of words that is some title's name stands for it here."""
    if len(words) == stop - start:
        return True
    if not all(word in index.everyday for word in words[start:stop]):
        return True
    if _capitalised(words[start:stop], text) or (stop < len(words) and _YEAR.fullmatch(words[stop])):
        return True
    before = start - 1
    while before > 0 and words[before] in BEFORE_CUE:
        before -= 1
    if before >= 0 and words[before] in TITLE_CUES and not (stop - start == 1 and before != start - 1):
        return stop - start > 1 or stop == len(words) or words[stop] in AFTER_CUES or words[before] in _STRONG
    return start == 0 and stop < len(words) and words[stop] in AFTER_CUES


_STRONG = {"like", "as", "to", "loved", "liked", "enjoyed", "finished", "after", "than", "akin", "resembles"}


def _capitalised(words: list[str], text: str) -> bool:
    """Whether these words are written with capital letters in a text that has small ones, and not as its beginning."""
    written = text.split()
    for place in range(1, len(written) - len(words) + 1):
        run = written[place : place + len(words)]
        if folded(" ".join(run)).split() == words and all(part[:1].isupper() for part in (run[0], run[-1])):
            return not text.isupper()
    return False


def _of_year(index: EntityIndex, mention: TitleMention, phrases: Phrases) -> TitleMention:
    """Of several titles of one name, those from the time that the query names come first."""
    low, high = phrases.year_min, phrases.year_max
    if (low is None and high is None) or len(mention.rows) == 1:
        return mention
    rows = sorted(mention.rows, key=lambda row: not (low or 0) <= index.years[row] <= (high or 9999))
    return TitleMention(mention.name, tuple(rows))


def _names(title: Title) -> Iterator[str]:
    """Names under which people ask for a title: in full, either side of a colon, its franchise; without articles."""
    full = [folded(title.title)]
    head, colon, tail = title.title.partition(":")
    full += [folded(head), folded(tail)] if colon else []
    full += [folded(title.franchise)] if title.franchise else []
    for place, name in enumerate(full):
        if place == 0 or len(name) >= SHORTEST_PART:
            yield name
        bare = next((name.removeprefix(article) for article in _ARTICLES if name.startswith(article)), "")
        if len(bare) >= SHORTEST_PART:
            yield bare


def _people(titles: list[tuple[int, Title]]) -> dict[str, PersonMention]:
    """People by full name, and by a surname that only one has, or under which one has far more work than the next."""
    weights: Counter[str] = Counter()
    works: defaultdict[str, list[int]] = defaultdict(list)
    for row, title in titles:
        makers = {*title.directors, *title.creators}
        for name in sorted({*title.cast, *makers}):
            weights[name] += MAKER if name in makers else 1
            works[name].append(row)
    names = {folded(name): name for name in weights}
    by_surname: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for name, weight in weights.items():
        parts = folded(name).split()
        if len(parts) > 1 and len(parts[-1]) >= MIN_SURNAME:
            by_surname[parts[-1]].append((weight, name))
    for surname, bearers in by_surname.items():
        bearers.sort(reverse=True)
        best = bearers[0][0]
        if best > MAKER and (len(bearers) == 1 or best >= MAKER * bearers[1][0]):
            names.setdefault(surname, bearers[0][1])
    return {key: PersonMention(name, tuple(works[name])) for key, name in names.items()}


def _services(services: tuple[str, ...]) -> dict[str, str]:
    """A service by its name, and by the name without a last word such as TV."""
    names = {folded(service): service for service in services}
    for service in services:
        for ending in (" tv", " plus", " video"):
            if folded(service).endswith(ending):
                names.setdefault(folded(service).removesuffix(ending), service)
    return {name: service for name, service in names.items() if name}


_YEAR = re.compile(r"(19|20)\d\d")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _corrected(index: EntityIndex, word: str) -> str:
    """A word that no name has, as the most frequent word of names one slip away (Damerau 1964); else as it is."""
    if len(word) < MIN_CORRECTED or word in index.words or word in index.everyday:
        return word
    splits = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    near = {a + b[1:] for a, b in splits if b} | {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    near |= {a + letter + b[1:] for a, b in splits if b for letter in _LETTERS}
    near |= {a + letter + b for a, b in splits for letter in _LETTERS}
    known = [other for other in near if other in index.words]
    return max(known, key=lambda other: (index.words[other], other)) if known else word
