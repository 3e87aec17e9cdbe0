"""Finding titles by the words of their names, people, keywords and descriptions.

BM25F (Robertson, Zaragoza & Taylor 2004): term frequencies of a title's fields are normalised by the field's length,
weighted and added before they saturate. Everything but the query is known when the snapshot is built, so that each
posting holds its final weight and a search adds up a few posting lists.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title

_WORD = re.compile(r"\w+")
SATURATION = 1.2  # BM25's k1, its usual value

# Field -> weight, how far its length counts, its texts. A name or a person is what is searched for by its letters; a
# title of one word is not better than one of three.
FIELDS: tuple[tuple[float, float, Callable[[Title], tuple[str, ...]]], ...] = (
    (3.0, 0.3, lambda title: (title.title, title.franchise or "")),
    (2.0, 0.3, lambda title: (*title.cast, *title.directors, *title.creators)),
    (2.0, 0.5, lambda title: title.keywords),
    (1.5, 0.3, lambda title: (*title.genres, str(title.year or ""))),
    (1.0, 0.75, lambda title: (title.overview,)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """m terms in ascending order of their bytes, and the titles that have them.

    terms: all of them joined, term j at start[j]:start[j + 1]; postings of term j: rows and weights at
    first[j]:first[j + 1].
    """

    terms: bytes
    start: NDArray[np.int64]  # (m + 1,)
    first: NDArray[np.int64]  # (m + 1,)
    rows: NDArray[np.int32]  # (p,)
    weights: NDArray[np.float16]  # (p,)

    def match(self, text: str, n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(n,) relevance of each title to a text, the sum over the text's terms, 0 for none of them; and (n,) which
        titles have every term."""
        places = [self._find(term) for term in sorted(set(tokens(text)))]
        lists = [slice(self.first[j], self.first[j + 1]) for j in places if j >= 0]
        if not lists:
            return np.zeros(n), np.zeros(n, np.bool_)
        rows = np.concatenate([self.rows[part] for part in lists])
        weights = np.concatenate([self.weights[part] for part in lists])
        relevance = np.bincount(rows, weights, minlength=n).astype(np.float64)
        return relevance, np.bincount(rows, minlength=n) == len(places)

    def scores(self, text: str, n: int) -> NDArray[np.float64]:
        """(n,) relevance of each title to a text."""
        return self.match(text, n)[0]

    def _find(self, term: str) -> int:
        """Place of a term, -1 for an unknown one."""
        wanted, low, high = term.encode(), 0, len(self.start) - 1
        while low < high:
            middle = (low + high) // 2
            if self.terms[self.start[middle] : self.start[middle + 1]] < wanted:
                low = middle + 1
            else:
                high = middle
        found = low < len(self.start) - 1 and self.terms[self.start[low] : self.start[low + 1]] == wanted
        return low if found else -1


def tokens(text: str) -> list[str]:
    """Words and numbers in lower case, without accents and plural or possessive s. No stop words: It and Her are
    films, and what every blurb says weighs next to nothing anyway."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return [_stem(word) for word in _WORD.findall(plain.replace("'", " ").replace("’", " "))]


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def build_lexicon(titles: Sequence[Title]) -> Lexicon:
    """The lexicon of titles in the order of their rows."""
    frequencies: list[defaultdict[str, float]] = [defaultdict(float) for _ in titles]
    for weight, length_share, texts_of in FIELDS:
        counts = [Counter(token for text in texts_of(title) for token in tokens(text)) for title in titles]
        lengths = np.array([count.total() for count in counts], float)
        relative = lengths / max(lengths.mean(), 1e-9) if len(lengths) else lengths
        for found, count, length in zip(frequencies, counts, relative, strict=True):
            for term, times in count.items():
                found[term] += weight * times / (1 - length_share + length_share * length)
    postings: defaultdict[bytes, list[tuple[int, float]]] = defaultdict(list)
    for row, found in enumerate(frequencies):
        for term, frequency in found.items():
            postings[term.encode()].append((row, frequency / (SATURATION + frequency)))
    return _laid_out(postings, len(titles))


def _laid_out(postings: dict[bytes, list[tuple[int, float]]], n: int) -> Lexicon:
    terms = sorted(postings)
    sizes = np.array([len(postings[term]) for term in terms], np.int64)
    rarity = np.log1p((n - sizes + 0.5) / (sizes + 0.5))
    weights = [value * rarity[j] for j, term in enumerate(terms) for _, value in postings[term]]
    return Lexicon(
        terms=b"".join(terms),
        start=np.concatenate([[0], np.cumsum([len(term) for term in terms])]).astype(np.int64),
        first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        rows=np.array([row for term in terms for row, _ in postings[term]], np.int32),
        weights=np.array(weights, np.float16),
    )
