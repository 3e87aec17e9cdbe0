"""Training the graph embedding, and judging it before it may serve, as the encoders are (content_encoder_renewal).

A tenth of the liked titles is kept from the training as if nobody had met them: their likes make no edges. The
embedding is worth having where the graph's lists find those titles' audience better with it than without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.catalog import RelationshipType, Title
from core.embedding.content_encoder_renewal import Judgement, held_back, held_back_ndcg, judged, likes, only
from core.embedding.graph_sage import SageSettings, train_sage
from core.embedding.graph_sage_model import Facts, GraphSage, fact_walk, write_graph_sage
from core.snapshot.collaborative import cosine_neighbours
from core.snapshot.columns import columns_of
from core.snapshot.content import content_neighbours, newness
from core.snapshot.features import content_features
from core.snapshot.graph import Embedded, content_graph, graph_neighbours, walk_matrix
from core.snapshot.inputs import Interactions
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.relationships import EDGES_PER_TYPE, Affinity, prominence_of
from core.snapshot.snapshot import RELATIONSHIP_TYPES

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GraphRenewalSettings:
    """As core.embedding.content_encoder_renewal.RenewalSettings."""

    held_back: float = 0.1
    least_users: int = 30
    certainty: float = 2.0
    training: SageSettings = field(default_factory=SageSettings)
    snapshot: SnapshotParameters = field(default_factory=SnapshotParameters)


@dataclass(frozen=True, slots=True)
class RenewedGraph:
    """A model folder and how it was judged."""

    folder: Path
    version: str
    judgement: Judgement


def renew_graph(
    titles: Sequence[Title],
    interactions: Interactions,
    folder: Path,
    settings: GraphRenewalSettings | None = None,
    progress: Progress = lambda stage: None,
) -> RenewedGraph | None:
    """Train an embedding, write it to `folder` and judge it; None where too little is known to judge anything."""
    settings = settings or GraphRenewalSettings()
    columns = columns_of(titles)
    liked = likes(interactions, columns.keys)
    held = held_back(liked, settings.held_back, settings.training.seed)
    learned, kept = only(liked, ~held), only(liked, held)
    judges = np.flatnonzero((np.diff(learned.indptr) > 0) & (np.diff(kept.indptr) > 0))
    if len(judges) < settings.least_users:
        return None
    progress(f"training a graph embedding on {learned.nnz} likes of {len(columns.titles)} titles")
    facts = Facts.of(columns.titles, settings.training.features, np.random.default_rng(settings.training.seed))
    edges = _edges(columns.titles, facts, learned, settings.snapshot)
    walked = _co_watched(edges, len(columns.titles))
    if not walked.nnz:
        return None
    seen = fact_walk(edges, len(columns.titles), settings.snapshot.walk_weights)
    weights = train_sage(facts.features(columns.titles), seen, walked, settings.training)
    manifest = write_graph_sage(folder, weights, facts)
    progress(f"judging the graph embedding on {int(held.sum())} titles kept back")
    sage = GraphSage.open(folder)
    judgement = _judge(sage, columns.titles, edges, (learned, kept, held, judges), settings)
    return RenewedGraph(folder, manifest.version, judgement)


def _edges(titles: Sequence[Title], facts: Facts, learned: sparse.csr_array, p: SnapshotParameters) -> NDArray[Any]:
    """The content graph as a snapshot would have it, of the likes that may be known."""
    popularity = np.bincount(learned.indices, minlength=len(titles))
    affinity = Affinity(facts.features(titles), prominence_of(popularity))
    together = cosine_neighbours(learned, EDGES_PER_TYPE[RelationshipType.CO_WATCHED], p.cosine_shrinkage)
    return content_graph(titles, affinity, content_neighbours(content_features(titles), p.neighbours), together)


def _co_watched(edges: NDArray[Any], n: int) -> sparse.csr_array:
    chosen = edges[edges["type"] == RELATIONSHIP_TYPES.index(RelationshipType.CO_WATCHED)]
    return sparse.csr_array((chosen["weight"], (chosen["source"], chosen["target"])), shape=(n, n))


def _judge(
    sage: GraphSage, titles: Sequence[Title], edges: NDArray[Any],
    likes: tuple[sparse.csr_array, sparse.csr_array, NDArray[np.bool_], NDArray[np.intp]],
    settings: GraphRenewalSettings,
) -> Judgement:  # fmt: skip
    p, (learned, kept, held, judges) = settings.snapshot, likes
    counts = np.bincount(learned.indices, minlength=len(titles))
    embedded = Embedded(sage.embed(titles, edges, p.walk_weights), newness(counts, p), p.sage_strength)
    walk = walk_matrix(edges, len(titles), p.walk_weights)
    before, after = (
        held_back_ndcg(graph_neighbours(walk, p.neighbours, p.restart_probability, e), learned, kept, held, judges)
        for e in (None, embedded)
    )
    return judged(before, after, len(titles), int(held.sum()), settings.certainty)
