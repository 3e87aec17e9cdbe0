"""What a title is, as text for the text encoder and as structured features for the content encoder."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from core.catalog import Title
from core.errors import CorruptData
from core.snapshot.features import FIELDS

TEXT_FORMAT = 1  # counts the changes of `text_of`: a text written otherwise has another vector
MAX_KEYWORDS = 20

# Values between two knots are shared by both, so that 1999 is near 2001. Years, minutes, ages, seasons.
KNOTS: dict[str, tuple[int, ...]] = {
    "year": (1930, 1950, 1960, 1970, 1980, 1985, 1990, 1995, 2000, 2005, 2010, 2015, 2020, 2025, 2030),
    "runtime": (15, 30, 45, 60, 80, 90, 100, 110, 120, 135, 150, 180, 240),
    "maturity": (0, 7, 12, 14, 16, 18),
    "seasons": (1, 2, 4, 8, 16),
}
FACTS, FACTS_SHARE = "facts", 0.15  # beside the shares of the text fields, which sum to 1
MAX_TERMS = 8_192  # of the vocabulary, the most frequent ones: 16 MB of weights at 512 dimensions


def text_of(title: Title) -> str:
    """What the title is about, written out for a text encoder: genres, overview, keywords.

    Names are left out, of the title and of people: they are found by their letters, and the encoder takes them
    literally (Burning for a slow burn, 24 for a time loop). On 150 pairs of keywords in the demo's 854 films and series
    NDCG@10 is .51 without names, .40 with the title and .28 with the people too. Only a title of which nothing else is
    known is told by its name, or all of those would be alike.
    """
    about = title.overview.strip()
    name = "" if about else title.title
    sentences = (name, ", ".join(title.genres), about, ", ".join(title.keywords[:MAX_KEYWORDS]))
    return ". ".join(sentence.rstrip(". ") for sentence in sentences if sentence) + "."


def fact_terms(title: Title) -> dict[str, float]:
    """Year, runtime, age rating, seasons and country as terms "name:knot" with weights; what is unknown has none.

    A number between two knots is split between them, weights summing to 1 (linear interpolation). What audiences said
    of a title, ratings and votes, is left out: it is made by the interactions that the encoder is to foretell.
    """
    numbers = {
        "year": title.year,
        "runtime": title.runtime_minutes,
        "maturity": title.maturity,
        "seasons": title.seasons,
    }
    terms: dict[str, float] = {}
    for name, number in numbers.items():
        if number is not None:
            terms |= _between_knots(name, number)
    if title.country:
        terms[f"country:{title.country.casefold()}"] = 1.0
    return terms


def _between_knots(name: str, number: int) -> dict[str, float]:
    knots = KNOTS[name]
    number = min(max(number, knots[0]), knots[-1])
    above = next(place for place, knot in enumerate(knots) if knot >= number)
    if knots[above] == number:
        return {f"{name}:{number}": 1.0}
    low, high = knots[above - 1], knots[above]
    share = (number - low) / (high - low)
    return {f"{name}:{low}": 1.0 - share, f"{name}:{high}": share}


def _field_terms(title: Title) -> list[tuple[str, float, dict[str, float]]]:
    """(field, share, term -> weight before the inverse document frequency) of every field, as in content_features."""
    fields = [
        (field, share, {term: 1.0 + math.log(count) for term, count in Counter(terms_of(title)).items()})
        for field, share, terms_of in FIELDS
    ]
    return [*fields, (FACTS, FACTS_SHARE, fact_terms(title))]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The terms that structured features know. A model ships with the one it was trained on.

    terms: m names "field/term", sorted; frequency (m,): titles of the `titles` that it was made from with the term.
    """

    terms: tuple[str, ...]
    frequency: tuple[int, ...]
    titles: int

    @classmethod
    def of(cls, titles: Sequence[Title], max_terms: int = MAX_TERMS) -> Vocabulary:
        """The most frequent terms that at least two titles have; ties by name."""
        counts = Counter(
            f"{field}/{term}" for title in titles for field, _, terms in _field_terms(title) for term in terms
        )
        shared = [term for term, count in counts.items() if count > 1]
        chosen = sorted(sorted(shared, key=lambda term: (-counts[term], term))[:max_terms])
        return cls(tuple(chosen), tuple(counts[term] for term in chosen), len(titles))

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {term: place for place, term in enumerate(self.terms)}

    @cached_property
    def _idf(self) -> list[float]:
        """(m + 1,) ln((1 + titles) / (1 + frequency)); the last one for terms outside the vocabulary."""
        return [math.log((1 + self.titles) / (1 + min(count, self.titles))) for count in (*self.frequency, 1)]

    def features(self, titles: Iterable[Title]) -> sparse.csr_array:
        """(n, m) float32: each field a TF-IDF block of length sqrt(share), the facts as they are times sqrt(share).

        A term outside the vocabulary has no column but counts for the length of its field's block.
        """
        indptr, indices, data = [0], [], []
        for title in titles:
            entries = [entry for field in _field_terms(title) for entry in self._block(*field)]
            for place, weight in sorted(entries):
                indices.append(place)
                data.append(weight)
            indptr.append(len(indices))
        return sparse.csr_array(
            (np.array(data, np.float32), np.array(indices, np.int32), np.array(indptr, np.int64)),
            shape=(len(indptr) - 1, len(self)),
        )

    def _block(self, field: str, share: float, terms: dict[str, float]) -> list[tuple[int, float]]:
        """(column, weight) of one field of one title; plain numbers, because fields have a handful of terms."""
        unknown = len(self)
        entries = [(self._places.get(f"{field}/{term}", unknown), weight) for term, weight in terms.items()]
        scale = math.sqrt(share)
        if field != FACTS:
            entries = [(place, weight * self._idf[place]) for place, weight in entries]
            scale /= max(math.sqrt(sum(weight * weight for _, weight in entries)), 1e-12)
        return [(place, weight * scale) for place, weight in entries if place < unknown and weight]

    def to_bytes(self) -> bytes:
        """The vocabulary as JSON; the same one always gives the same bytes."""
        record = {"titles": self.titles, "terms": dict(zip(self.terms, self.frequency, strict=True))}
        return json.dumps(record, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Vocabulary:
        """Inverse of `to_bytes`. Raises CorruptData."""
        try:
            record = json.loads(data)
            terms = sorted(record["terms"])
            return cls(tuple(terms), tuple(int(record["terms"][term]) for term in terms), int(record["titles"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptData(f"not a vocabulary: {error!r}") from error
