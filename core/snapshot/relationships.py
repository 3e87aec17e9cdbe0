"""Typed edges of the content graph, from metadata and from watching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.catalog import RelationshipType, Title, content_key
from core.numeric.topk import keep_largest, largest_per_row
from core.snapshot.features import phrases, weighted_terms
from core.snapshot.neighbours import row_blocks
from core.snapshot.snapshot import RELATIONSHIP_TYPES, RELATIONSHIPS, Neighbours

# At most this many edges of a type leave a title: about 50 in all.
EDGES_PER_TYPE = {
    RelationshipType.SIMILAR_TO: 10,
    RelationshipType.SEQUEL_OF: 1,
    RelationshipType.SAME_GENRE: 8,
    RelationshipType.SAME_CAST: 8,
    RelationshipType.SAME_DIRECTOR: 8,
    RelationshipType.SAME_FRANCHISE: 8,
    RelationshipType.CO_WATCHED: 10,
}
_MIN_SHARED_GENRES = 2  # one genre in common is what a fifth of any catalogue has


@dataclass(frozen=True, slots=True, eq=False)
class Affinity:
    """Which of many equally related titles come first: the more similar and the better known.

    vectors: (n, d) float32 unit rows; prominence: (n,) in [0, 1]. Without it, forty films of one director would tie.
    """

    vectors: NDArray[np.float32]
    prominence: NDArray[np.float32]

    def of(self, source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float32]:
        """(e,) factors in [1/2, 1] for e pairs of rows."""
        cosine = np.einsum("ed,ed->e", self.vectors[source], self.vectors[target])
        return (0.5 + 0.25 * np.clip(cosine, 0, 1) + 0.25 * self.prominence[target]).astype(np.float32)

    def among(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """(len(rows), n) factors from `rows` to every title."""
        cosine = np.clip(self.vectors[rows] @ self.vectors.T, 0, 1)
        return 0.5 + 0.25 * cosine + 0.25 * self.prominence


def prominence_of(popularity: NDArray[Any]) -> NDArray[np.float32]:
    """(n,) log popularity scaled to [0, 1]: the tenth viewer says more than the thousandth."""
    known = np.log1p(np.asarray(popularity, np.float64))
    return (known / max(known.max(initial=0.0), 1e-9)).astype(np.float32)


def _edges(kind: RelationshipType, source: NDArray[Any], target: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    edges = np.zeros(len(source), RELATIONSHIPS)
    edges["source"], edges["target"] = source, target
    edges["type"], edges["weight"] = RELATIONSHIP_TYPES.index(kind), weight
    return edges[edges["weight"] > 0]


def _edges_of_block(kind: RelationshipType, rows: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """The largest scores (m, n) of each of `rows` as edges, own rows left out."""
    scores[np.arange(len(rows)), rows] = 0.0
    target, weight = largest_per_row(scores, EDGES_PER_TYPE[kind])
    return _edges(kind, np.repeat(rows, target.shape[1]), target.ravel(), weight.ravel())


def shared_names(kind: RelationshipType, names: Sequence[Sequence[str]], affinity: Affinity) -> NDArray[Any]:
    """Edges between titles that share people: cosine of their IDF-weighted names (n lists), times affinity."""
    terms = weighted_terms(names)
    transposed = sparse.csr_array(terms.T)
    parts = []
    for rows in row_blocks(len(names)):
        shared = sparse.coo_array(terms[rows] @ transposed)
        row, target = shared.coords
        others = rows[row] != target
        row, target, weight = row[others], target[others], np.minimum(shared.data[others], 1.0)
        weight = weight * affinity.of(rows[row], target)
        best = keep_largest(sparse.csr_array((weight, (row, target)), shape=shared.shape), EDGES_PER_TYPE[kind])
        parts.append(_edges(kind, np.repeat(rows, np.diff(best.indptr)), best.indices, best.data))
    return np.concatenate(parts)


def shared_genres(titles: Sequence[Title], affinity: Affinity) -> NDArray[Any]:
    """Edges between titles that share two genres or more: IDF-weighted cosine of the genres, times affinity."""
    terms = weighted_terms([phrases(title.genres) for title in titles]).toarray()
    present = (terms > 0).astype(np.float32)
    parts = []
    for rows in row_blocks(len(titles)):
        scores = (terms[rows] @ terms.T) * affinity.among(rows)
        scores *= present[rows] @ present.T >= _MIN_SHARED_GENRES
        parts.append(_edges_of_block(RelationshipType.SAME_GENRE, rows, scores))
    return np.concatenate(parts)


def similar_titles(content: Neighbours) -> NDArray[Any]:
    """The nearest content neighbours as edges."""
    return _from_lists(RelationshipType.SIMILAR_TO, content)


def co_watched(lists: Neighbours) -> NDArray[Any]:
    """Titles that the same people liked, from co-occurrence lists, as edges."""
    return _from_lists(RelationshipType.CO_WATCHED, lists)


def _from_lists(kind: RelationshipType, lists: Neighbours) -> NDArray[Any]:
    k = EDGES_PER_TYPE[kind]
    source = np.repeat(np.arange(len(lists.index)), lists.index[:, :k].shape[1])
    return _edges(kind, source, lists.index[:, :k].ravel(), np.minimum(lists.weight[:, :k].ravel(), 1.0))


def families(titles: Sequence[Title]) -> list[NDArray[np.int64]]:
    """Rows that belong together: titles of one franchise, and a series with its episodes."""
    franchise_of = {title.content_id: title.franchise for title in titles}
    members: dict[str, list[int]] = {}
    for row, title in enumerate(titles):
        series = title.series_id or title.content_id
        franchise = title.franchise or franchise_of.get(series)
        members.setdefault(f"franchise {franchise}" if franchise else f"series {series}", []).append(row)
    return [np.array(rows) for _, rows in sorted(members.items()) if len(rows) > 1]


def same_franchise(titles: Sequence[Title], affinity: Affinity) -> NDArray[Any]:
    """Edges within a family: affinity, times 1 / (1 + years between / 10); an episode's own series comes first."""
    row_of = {title.content_id: row for row, title in enumerate(titles)}
    parent = np.array([row_of.get(title.series_id or "", -1) for title in titles])
    year = np.array([np.nan if title.year is None else title.year for title in titles])
    parts = [np.zeros(0, RELATIONSHIPS)]
    for rows in families(titles):
        for block in row_blocks(len(rows), rows):
            source, target = np.repeat(block, len(rows)), np.tile(rows, len(block))
            years = np.nan_to_num(np.abs(year[source] - year[target]), nan=10.0)
            scores = affinity.of(source, target) / (1 + years / 10)
            # A franchise is left through its films and series; an episode is reached from its siblings and its series.
            scores[(parent[target] >= 0) & (parent[source] != parent[target]) & (parent[target] != source)] *= 0.5
            scores[parent[source] == target] = 1.0
            scores[source == target] = 0.0
            table = scores.reshape(len(block), len(rows))
            best, weight = largest_per_row(table, EDGES_PER_TYPE[RelationshipType.SAME_FRANCHISE])
            source = np.repeat(block, best.shape[1])
            parts.append(_edges(RelationshipType.SAME_FRANCHISE, source, rows[best].ravel(), weight.ravel()))
    return np.concatenate(parts)


def _people(title: Title) -> set[str]:
    return set(phrases((*title.cast, *title.directors)))


def sequels(titles: Sequence[Title]) -> NDArray[Any]:
    """Edges film -> the latest earlier film of its franchise that shares a director or actor with it.

    A film that shares nobody with its predecessors is a reboot; where people are unknown, the year alone decides.
    """
    pairs: list[tuple[int, int]] = []
    for rows in families(titles):
        films = [row for row in rows if titles[row].type == "movie" and titles[row].year is not None]
        films.sort(key=lambda row: (titles[row].year, titles[row].content_id))
        for position, film in enumerate(films):
            earlier = [row for row in films[:position] if titles[row].year != titles[film].year]
            for row in reversed(earlier):
                mine, theirs = _people(titles[film]), _people(titles[row])
                if not mine or not theirs or mine & theirs:
                    pairs.append((film, row))
                    break
    source, target = np.array(pairs, np.int64).reshape(-1, 2).T
    return _edges(RelationshipType.SEQUEL_OF, source, target, np.ones(len(pairs)))


def strengthened(
    edges: NDArray[Any], keys: NDArray[np.uint64], factors: Mapping[tuple[str, str, str], float]
) -> NDArray[Any]:
    """The edges with the weights that use has given them: factors by (source id, target id, type); others keep theirs.

    keys (n,): of the titles, ascending. What is no edge of this build, or names an unknown title, is left out.
    """
    if not factors or not len(keys):
        return edges
    ends = np.array([[content_key(source), content_key(target)] for source, target, _ in factors], np.uint64)
    rows = np.minimum(np.searchsorted(keys, ends), len(keys) - 1)
    known = (keys[rows] == ends).all(axis=1)
    types = np.array([RELATIONSHIP_TYPES.index(RelationshipType(kind)) for *_, kind in factors])
    walked = _edge_codes(rows[known, 0], rows[known, 1], types[known], len(keys))
    order = np.argsort(walked)
    codes = _edge_codes(edges["source"], edges["target"], edges["type"], len(keys))
    place = np.minimum(np.searchsorted(walked[order], codes), max(len(walked) - 1, 0))
    found = walked[order][place] == codes if len(walked) else np.zeros(len(edges), bool)
    changed = edges.copy()
    changed["weight"][found] *= np.array(list(factors.values()), np.float32)[known][order][place[found]]
    return changed


def _edge_codes(source: NDArray[Any], target: NDArray[Any], kind: NDArray[Any], n: int) -> NDArray[np.int64]:
    """One number for each (source, target, type)."""
    pairs = source.astype(np.int64) * n + target.astype(np.int64)
    return pairs * len(RELATIONSHIP_TYPES) + kind.astype(np.int64)


def sorted_edges(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """All edges, by source, type, descending weight, target."""
    edges = np.concatenate(list(parts))
    return edges[np.lexsort((edges["target"], -edges["weight"], edges["type"], edges["source"]))]
