"""Patterns laid out for searching, in the space and the rows of one snapshot. Immutable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from core.catalog import content_key
from core.numeric.vectors import Floats, top_k, unit_rows
from core.patterns.circumstances import MATCHING, Circumstances, Codebook, agreement
from core.patterns.known import KnownPattern, content_space, topics
from core.snapshot.snapshot import Snapshot

MIN_SIMILARITY = 0.7  # below, a pattern is about something else
OVER_FETCH = 4  # times as many by similarity as are wanted, from which circumstances choose
EMBED_AT_ONCE = 4096  # patterns whose titles' topics are gathered together: 15 MB


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A pattern found: its place in the index, the cosine, and the share of circumstances that agree."""

    place: int
    similarity: float
    agreement: float


@dataclass(frozen=True, slots=True, eq=False)
class PatternIndex:
    """p patterns. directions (p, d) unit rows, zero for what cannot be embedded here; codes (p, 4) circumstances;
    boosts (p,); rows and weights: results as snapshot rows, those of pattern i from start[i] to start[i + 1]."""

    space: str
    patterns: tuple[KnownPattern, ...]
    directions: Floats
    codes: NDArray[np.int16]
    codebook: Codebook
    boosts: Floats
    start: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: Floats

    def __len__(self) -> int:
        return len(self.patterns)

    def search(
        self, query: Floats, wanted: Circumstances, k: int, min_similarity: float = MIN_SIMILARITY
    ) -> list[Match]:
        """At most k patterns of cosine >= min_similarity to a query (d,) of this space whose circumstances match, best
        first by cosine x (1 + agreement) / 2. A zero query finds nothing."""
        length = float(np.sqrt(query.dot(query)))
        if not len(self.patterns) or length < 1e-12:
            return []
        cosines = self.directions.dot(query / np.float32(length))
        near = top_k(cosines, OVER_FETCH * k)
        near = near[cosines[near] >= min_similarity]
        agreeing = agreement(self.codes[near], self.codebook.look_up(wanted))
        fit = agreeing >= MATCHING
        near, agreeing = near[fit], agreeing[fit]
        order = np.argsort(-cosines[near] * (1.0 + agreeing), kind="stable")[:k]
        return [Match(int(near[i]), float(cosines[near[i]]), float(agreeing[i])) for i in order]

    def results_of(self, place: int) -> tuple[NDArray[np.int32], Floats]:
        """Snapshot rows and signed strengths of one pattern's results."""
        part = slice(int(self.start[place]), int(self.start[place + 1]))
        return self.rows[part], self.weights[part]

    def found(self, match: Match) -> KnownPattern:
        """The pattern with its similarity set."""
        return replace(self.patterns[match.place], similarity=match.similarity)


def lay_out(patterns: Sequence[KnownPattern], snapshot: Snapshot) -> PatternIndex:
    """The patterns in the snapshot's content space; those of another space are embedded anew from their titles."""
    space = content_space(snapshot)
    directions = np.zeros((len(patterns), topics(snapshot).shape[1]), np.float32)
    foreign = []
    for place, pattern in enumerate(patterns):
        if pattern.space == space and pattern.embedding.shape == directions[place].shape:
            directions[place] = pattern.embedding
        else:
            foreign.append(place)
    for first in range(0, len(foreign), EMBED_AT_ONCE):
        places = foreign[first : first + EMBED_AT_ONCE]
        directions[places] = re_embedded([patterns[place] for place in places], snapshot)
    codebook = Codebook()
    start, rows, weights = _rows([pattern.results for pattern in patterns], snapshot)
    return PatternIndex(
        space,
        tuple(patterns),
        unit_rows(directions) if len(patterns) else directions,
        codebook.encode([pattern.circumstances for pattern in patterns]),
        codebook,
        np.array([pattern.boost for pattern in patterns], np.float32),
        start,
        rows,
        weights,
    )


def re_embedded(patterns: Sequence[KnownPattern], snapshot: Snapshot) -> Floats:
    """(p, d) embeddings of the patterns in the snapshot's space, from their anchors or else from what they led to."""
    liked = [pattern.anchors or {n: w for n, w in pattern.results.items() if w > 0} for pattern in patterns]
    start, rows, weights = _rows(liked, snapshot)
    vectors = topics(snapshot)[rows].astype(np.float32) * weights[:, None]
    totals = np.zeros((len(patterns), vectors.shape[1]), np.float32)
    filled = np.flatnonzero(np.diff(start) > 0)
    if len(filled):
        totals[filled] = np.add.reduceat(vectors, start[filled], axis=0)
    return totals


def _rows(several: Sequence[Mapping[str, float]], snapshot: Snapshot) -> tuple[NDArray[np.int64], NDArray, Floats]:
    """Known titles of several mappings as rows and weights with their starts (n + 1,)."""
    names = {name for weights in several for name in weights}
    keys = np.array([content_key(name) for name in names], np.uint64)
    row_of = dict(zip(names, snapshot.rows(keys).tolist() if len(keys) else (), strict=True))
    known = [[(row_of[name], weight) for name, weight in one.items() if row_of[name] >= 0] for one in several]
    start = np.fromiter(accumulate(map(len, known), initial=0), np.int64, len(known) + 1)
    pairs = list(_flat(known))
    rows = np.array([row for row, _ in pairs], np.int32)
    return start, rows, np.array([weight for _, weight in pairs], np.float32)


def _flat(several: Sequence[Sequence[tuple[int, float]]]) -> Iterator[tuple[int, float]]:
    for pairs in several:
        yield from pairs
