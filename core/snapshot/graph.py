"""The content graph as a random walk, and each title's personalised PageRank over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.catalog import RelationshipType, Title
from core.numeric.pagerank import personalised_pagerank
from core.numeric.sparse import scale_rows, stochastic_rows
from core.snapshot.features import phrases
from core.snapshot.neighbours import blank, put_dense
from core.snapshot.relationships import (
    Affinity,
    co_watched,
    same_franchise,
    sequels,
    shared_genres,
    shared_names,
    similar_titles,
    sorted_edges,
)
from core.snapshot.snapshot import RELATIONSHIP_TYPES, Neighbours

# Share of each type of relationship in a step of the walk. Among six sets on two real data sets, by eye and by how well
# the walk predicts what a user likes next: upstream's metadata weights alone (genre .35, cast .25, director .20, theme
# .20) reach NDCG@10 .071 and .039, these .100 and .084. Genres lead to blockbusters, so they count least.
WALK_WEIGHTS = {
    RelationshipType.CO_WATCHED: 0.30,
    RelationshipType.SIMILAR_TO: 0.20,
    RelationshipType.SAME_DIRECTOR: 0.15,
    RelationshipType.SAME_FRANCHISE: 0.10,
    RelationshipType.SAME_CAST: 0.10,
    RelationshipType.SAME_GENRE: 0.10,
    RelationshipType.SEQUEL_OF: 0.05,
}

_SEEDS_AT_ONCE = 256  # a block of 256 x 10 000 float32 is 10 MB and stays near the cache


def content_graph(
    titles: Sequence[Title], affinity: Affinity, content: Neighbours, together: Neighbours
) -> NDArray[Any]:
    """(e,) RELATIONSHIPS of n titles, sorted by source. `content` are content lists, `together` co-occurrence lists.

    The creators of a series count as its directors.
    """
    makers = [phrases((*title.directors, *title.creators)) for title in titles]
    return sorted_edges(
        [
            sequels(titles),
            same_franchise(titles, affinity),
            shared_names(RelationshipType.SAME_DIRECTOR, makers, affinity),
            shared_names(RelationshipType.SAME_CAST, [phrases(title.cast) for title in titles], affinity),
            shared_genres(titles, affinity),
            similar_titles(content),
            co_watched(together),
        ]
    )


def walk_matrix(edges: NDArray[Any], n: int, weights: Mapping[RelationshipType, float]) -> sparse.csr_array:
    """(n, n) transition matrix: choose a type of relationship by `weights`, then an edge of that type by its weight.

    A title's share of a type is shrunk to weights[type] s / (s + 1), s being the sum of its edges of that type: one
    supporting actor in common is no reason to go there every sixth step. What is left over goes to the other types.
    Rows sum to 1; a title without edges has an empty row. Sequels are walked in both directions.
    """
    total = sparse.csr_array((n, n), dtype=np.float64)
    for code, kind in enumerate(RELATIONSHIP_TYPES):
        chosen = edges[edges["type"] == code]
        step = sparse.csr_array(
            (chosen["weight"].astype(np.float64), (chosen["source"], chosen["target"])), shape=(n, n)
        )
        if kind is RelationshipType.SEQUEL_OF:
            step = step + step.T
        strength = np.asarray(step.sum(axis=1)).ravel()
        total = total + scale_rows(sparse.csr_array(step), weights[kind] / (strength + 1.0))
    return stochastic_rows(sparse.csr_array(total))


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Where GraphSAGE puts n titles: `vectors` (n, d) unit rows; `newness` (n,) in [0, 1], how much each title needs
    it; `strength` of the best fit, in terms of the most visited title."""

    vectors: NDArray[np.float32]
    newness: NDArray[np.float32]
    strength: float


def by_facts(edges: NDArray[Any]) -> NDArray[Any]:
    """The edges that a title has before anybody has watched it."""
    return edges[edges["type"] != RELATIONSHIP_TYPES.index(RelationshipType.CO_WATCHED)]


def graph_neighbours(
    walk: sparse.csr_array, k: int, restart_probability: float, embedded: Embedded | None = None
) -> Neighbours:
    """The k titles that a walk with restart from each title visits most, by the share of its time spent there.

    With an embedding, new titles are also there by how much closer they are than the k-th closest title: no walk leads
    to who has no company yet.
    """
    n = walk.shape[0]
    lists = blank(n, k)
    walk = sparse.csr_array(walk, dtype=np.float32)
    for start in range(0, n, _SEEDS_AT_ONCE):
        rows = np.arange(start, min(start + _SEEDS_AT_ONCE, n))
        restart = np.zeros((len(rows), n), np.float32)
        restart[np.arange(len(rows)), rows] = 1.0
        visits = personalised_pagerank(walk, restart, restart_probability, tolerance=1e-3)
        visits[np.arange(len(rows)), rows] = 0.0
        if embedded is not None:
            visits += visits.max(axis=1, keepdims=True) * _closeness(embedded, rows, k)
            visits[np.arange(len(rows)), rows] = 0.0
        put_dense(lists, rows, visits)
    return lists


def _closeness(embedded: Embedded, rows: NDArray[Any], k: int) -> NDArray[np.float32]:
    """(m, n) in [0, strength]: the cosine's excess over the k-th closest title's, as a share of what is possible, for
    new titles; 1 would be the same vector."""
    cosine = embedded.vectors[rows] @ embedded.vectors.T
    k = min(k, cosine.shape[1])
    least = np.partition(cosine, -k, axis=1)[:, -k][:, None]
    excess = np.clip((cosine - least) / np.maximum(1.0 - least, 1e-6), 0.0, 1.0)
    return np.asarray(embedded.strength * excess * embedded.newness, dtype=np.float32)
