"""The catalogue as arrays: what is on, who made it, what it resembles, what came before it, how well known it is.

n titles; every array is indexed by row, the position of a title in the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.errors import InvalidInput
from core.local.simulator.taste import SATURATION, Taste, acclaim, archetypes, fame, stable_normal, title_features

NEIGHBOURS = 15

# Popularity before anybody watched: log weights of fame, of the language, of being new, of stars and of sheer luck.
FAME, ENGLISH, RECENT, STARS, LUCK = 1.0, 0.5, 0.3, 0.25, 0.45


@dataclass(frozen=True, eq=False)
class Screen:
    """Everything of a catalogue that viewers react to; computed once, shared by all of them."""

    titles: tuple[Title, ...]
    rows: dict[str, int]  # content id -> row
    features: tuple[tuple[str, ...], ...]  # (n,) title_features
    postings: dict[str, NDArray[np.int32]]  # feature -> rows that have it

    @cached_property
    def appetites(self) -> dict[str, NDArray[np.float32]]:
        """Archetype -> (n,) saturated affinity; see core.local.simulator.taste."""
        result = {}
        for name, archetype in archetypes().items():
            raw = np.zeros(len(self.titles), np.float32)
            for feature, weight in archetype.weights.items():
                raw[self.postings.get(feature, _NONE)] += np.float32(weight)
            result[name] = SATURATION * np.tanh(raw / SATURATION)
        return result

    @cached_property
    def acclaim(self) -> NDArray[np.float32]:
        """(n,) quality of every title, the same for all viewers."""
        return np.array([acclaim(title.content_id) for title in self.titles], np.float32)

    def scores(self, taste: Taste) -> NDArray[np.float32]:
        """(n,) `taste.score` of every title."""
        total = self.acclaim.copy()
        for name, share in taste.mixture:
            total += np.float32(share) * self.appetites[name]
        for feature, weight in taste.favourites:
            total[self.postings.get(feature, _NONE)] += np.float32(weight)
        return total

    @cached_property
    def popularity(self) -> NDArray[np.float32]:
        """(n,) log popularity with mean 0 and standard deviation 1."""
        stars = np.array([self._stardom(features) for features in self.features])
        log = np.array([_log_popularity(title) for title in self.titles]) + STARS * np.log1p(stars)
        return ((log - log.mean()) / max(float(log.std()), 1e-6)).astype(np.float32)

    def _stardom(self, features: Sequence[str]) -> int:
        """How often the people of a title appear elsewhere."""
        return sum(len(self.postings[feature]) - 1 for feature in features if feature.startswith("person:"))

    @cached_property
    def parent(self) -> NDArray[np.int32]:
        """(n,) row of an episode's series, else -1."""
        return np.array([self.rows.get(title.series_id or "", -1) for title in self.titles], np.int32)

    @cached_property
    def genres(self) -> dict[str, NDArray[np.int32]]:
        """Genre -> rows, in order of the genres' names."""
        names = sorted(feature for feature in self.postings if feature.startswith("genre:"))
        return {name.removeprefix("genre:"): self.postings[name] for name in names}

    @cached_property
    def predecessor(self) -> NDArray[np.int32]:
        """(n,) row of the previous film or series of the same franchise, else -1."""
        result = np.full(len(self.titles), -1, np.int32)
        for feature, rows in self.postings.items():
            if not feature.startswith("franchise:"):
                continue
            for kind in ("movie", "series"):
                chain = [int(row) for row in rows if self.titles[row].type == kind]
                chain.sort(key=lambda row: (self.titles[row].year or 0, self.titles[row].content_id))
                result[chain[1:]] = chain[:-1]
        return result

    @cached_property
    def follow_ups(self) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], ...]:
        """(n,) rows of a title's sequel, and rows of a series' episodes."""
        sequels: list[list[int]] = [[] for _ in self.titles]
        episodes: list[list[int]] = [[] for _ in self.titles]
        for row in range(len(self.titles)):
            if self.predecessor[row] >= 0:
                sequels[self.predecessor[row]].append(row)
            if self.parent[row] >= 0:
                episodes[self.parent[row]].append(row)
        pairs = zip(sequels, episodes, strict=True)
        return tuple((np.array(next_up, np.int32), np.array(parts, np.int32)) for next_up, parts in pairs)

    @cached_property
    def makers(self) -> tuple[NDArray[np.int32], ...]:
        """(n,) rows of the other titles by the same directors and creators."""
        return tuple(self._same_makers(row) for row in range(len(self.titles)))

    def _same_makers(self, row: int) -> NDArray[np.int32]:
        names = (*self.titles[row].directors, *self.titles[row].creators)
        works = [self.postings[f"person:{name}"] for name in names]
        same = np.unique(np.concatenate(works)) if works else _NONE
        return same[same != row]

    @cached_property
    def similar(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(n, k) rows most alike, best first, and their likeness in [0, 1]: shared features by rarity (Jaccard)."""
        n, k = len(self.titles), min(NEIGHBOURS, len(self.titles) - 1)
        rarity = {feature: float(np.log((n + 1) / len(rows))) for feature, rows in self.postings.items()}
        mass = np.array([sum(rarity[feature] for feature in features) for features in self.features])
        rows, likeness = np.zeros((n, k), np.int32), np.zeros((n, k), np.float32)
        for row, features in enumerate(self.features):
            shared = np.zeros(n)
            for feature in features:
                shared[self.postings[feature]] += rarity[feature]
            ratio = shared / (mass + mass[row] - shared)
            ratio[row] = -1.0
            best = np.argpartition(-ratio, k - 1)[:k] if k else _NONE
            rows[row] = best[np.argsort(-ratio[best], kind="stable")]
            likeness[row] = ratio[rows[row]]
        return rows, likeness


_NONE = np.zeros(0, np.int32)


def open_screen(titles: Sequence[Title]) -> Screen:
    """Encode a catalogue. Raises InvalidInput when it is empty or two titles have the same id."""
    rows = {title.content_id: row for row, title in enumerate(titles)}
    if not titles or len(rows) != len(titles):
        raise InvalidInput("a catalogue needs titles, each with an id of its own")
    features = tuple(title_features(title) for title in titles)
    postings: dict[str, list[int]] = {}
    for row, feature in _pairs(features):
        postings.setdefault(feature, []).append(row)
    arrays = {feature: np.array(holders, np.int32) for feature, holders in postings.items()}
    return Screen(tuple(titles), rows, features, arrays)


def _pairs(features: Sequence[Sequence[str]]) -> Iterator[tuple[int, str]]:
    for row, names in enumerate(features):
        for name in names:
            yield row, name


def _log_popularity(title: Title) -> float:
    english = ENGLISH * (title.language == "en")
    recent = RECENT * max(0.0, ((title.year or 1980) - 1980) / 40.0)
    luck = LUCK * stable_normal(title.content_id + "/luck")
    return FAME * fame().get(title.content_id, 0.0) + english + recent + luck
