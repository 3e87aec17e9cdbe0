"""The parts of a snapshot, one function each: what is computed from titles and interactions, and its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.catalog import TITLE_TYPES, RelationshipType, Title, content_key, title_to_record
from core.embedding.content_encoder_pair import PlacedTitles
from core.embedding.graph_sage_model import GraphSage
from core.embedding.quantized import quantize_rows
from core.numeric.louvain import louvain
from core.numeric.topk import keep_largest
from core.snapshot.collaborative import collaborative_neighbours, cosine_neighbours, dense_titles
from core.snapshot.columns import Columns
from core.snapshot.content import Audience, content_neighbours, content_vectors, newness
from core.snapshot.distributions import (
    conditional,
    daypart_of,
    decayed_popularity,
    season_of,
    segment_popularity,
    title_share,
    weekend_of,
)
from core.snapshot.features import content_features
from core.snapshot.folder import Folder
from core.snapshot.graph import Embedded, content_graph, graph_neighbours, walk_matrix
from core.snapshot.inputs import Interactions
from core.snapshot.kindred import kindred_viewers
from core.snapshot.lexicon import build_lexicon
from core.snapshot.neighbours import blank, put_sparse
from core.snapshot.next_title_network import NextTitleNetwork, untrained, weights_of
from core.snapshot.next_title_training import Recipe, carried_over, train
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.positives import Positives
from core.snapshot.relationships import EDGES_PER_TYPE, Affinity, prominence_of, strengthened
from core.snapshot.sequences import sequence_neighbours
from core.snapshot.snapshot import DAYPARTS, SEASONS, Neighbours, Vocabulary
from core.snapshot.text import TextVectors
from core.snapshot.transitions import next_title_weights


def starts_of(rows: NDArray[Any], n: int) -> NDArray[np.int64]:
    """(n + 1,) where the entries of each of n rows begin in the ascending `rows`."""
    return np.searchsorted(rows, np.arange(n + 1)).astype(np.int64)


def write_catalogue(folder: Folder, columns: Columns) -> None:
    """Titles in the order of their keys, with attributes, availability and ids."""
    n = len(columns.keys)
    lines = [
        json.dumps(title_to_record(title), ensure_ascii=False, sort_keys=True).encode() + b"\n"
        for title in columns.titles
    ]
    folder.array("keys", columns.keys)
    folder.array("attributes", columns.attributes)
    folder.array("availability", columns.availability)
    folder.array("availability_start", starts_of(columns.availability["row"], n))
    folder.pieces("ids", [title.content_id.encode() for title in columns.titles])
    folder.pieces("titles", lines, folder.path / "titles.jsonl")


def write_popularity(
    folder: Folder, interactions: Interactions, positives: Positives, now: float, p: SnapshotParameters
) -> tuple[str, ...]:
    """Popularity in time, context and segment; returns the names of the segments that are large enough."""
    row, at, n, prior = positives.row, positives.at, positives.n, p.context_prior_events
    share = title_share(row, n)
    folder.array("popularity", decayed_popularity(row, at, n, now, p.popularity_half_life_days * 86_400))
    folder.array("popularity_all", np.bincount(row, minlength=n).astype(np.float32))
    folder.array("dayparts", conditional(daypart_of(at), row, len(DAYPARTS), share, prior))
    folder.array("weekend", conditional(weekend_of(at), row, 2, share, prior))
    folder.array("devices", conditional(positives.device, row, len(interactions.device_names), share, prior))
    folder.array("seasons", conditional(season_of(at), row, SEASONS, share, prior))
    names, segments = segment_popularity(interactions, positives.user, row, share, prior, p.segment_min_users)
    folder.array("segments", segments)
    return names


def write_collaborative(folder: Folder, positives: Positives, p: SnapshotParameters) -> Neighbours:
    """Who liked this liked that: EASE for titles with enough positives, cosine for the others."""
    lists = collaborative_neighbours(
        positives.matrix(),
        p.neighbours,
        p.ease_regularisation * max(len(positives.row), 1) ** 0.5,
        p.ease_min_positives,
        p.ease_max_titles,
        p.cosine_shrinkage,
    )
    folder.neighbours("collaborative", lists)
    return lists


def write_transitions(folder: Folder, positives: Positives, p: SnapshotParameters) -> None:
    """What is liked next after a title."""
    weights = next_title_weights(
        positives.user, positives.row, positives.n, p.transition_window, p.transition_decay, p.transition_shrinkage
    )
    lists = blank(positives.n, p.neighbours)
    put_sparse(lists, np.arange(positives.n), keep_largest(weights, p.neighbours + 1))
    folder.neighbours("transitions", lists)


def write_sequence(folder: Folder, positives: Positives, p: SnapshotParameters) -> None:
    """As `write_collaborative` on histories that fade: one pair of files per decay of `sequence_decays`."""
    ridge = p.sequence_regularisation * max(len(positives.row), 1) ** 0.5
    found = sequence_neighbours(
        positives.user,
        positives.row,
        positives.n,
        p.neighbours,
        p.sequence_decays,
        ridge,
        p.ease_min_positives,
        p.sequence_max_titles,
    )
    for i, lists in enumerate(found):
        folder.neighbours(f"sequence_{i}", lists)


def write_kindred(folder: Folder, positives: Positives, p: SnapshotParameters) -> None:
    """Orders of likes of people without names, see core.snapshot.kindred."""
    people = kindred_viewers(positives, p.kindred_viewers, p.kindred_likes, p.kindred_per_title)
    for name in ("rows", "owner", "places", "first"):
        folder.array(f"kindred_{name}", getattr(people, name))


def write_next_title(
    folder: Folder,
    positives: Positives,
    p: SnapshotParameters,
    earlier: NextTitleNetwork | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> NextTitleNetwork | None:
    """The network that expects the next title, None where there are too few likes to train it.

    One that was trained on earlier likes goes on from there, which takes fewer passes.
    """
    likes, rng = np.bincount(positives.row, minlength=positives.n), np.random.default_rng(p.seed)
    titles = dense_titles(likes, p.ease_min_positives, p.next_title_max_titles)
    if len(positives.row) < p.next_title_positives or not len(titles):
        return None
    network = untrained(titles.astype(np.int32), likes[titles], p.next_title_dims, rng)
    recipe = Recipe(p.next_title_passes, p.next_title_steps)
    if earlier:
        network, recipe = carried_over(earlier, network), recipe.shortened(p.next_title_again)
    network = train(network, positives.user, positives.row, recipe, rng, progress)
    folder.array("next_title_titles", network.titles)
    for name, values in weights_of(network).items():
        folder.array(f"next_title_{name}", values)
    return network


def write_content(
    folder: Folder,
    columns: Columns,
    positives: Positives,
    placed: PlacedTitles | None,
    p: SnapshotParameters,
) -> tuple[Neighbours, NDArray[np.float16]]:
    """Returns the lists of shared features, which the graph stands on, and the vectors."""
    features = content_features(columns.titles)
    lists = content_neighbours(features, p.neighbours)
    vectors = content_vectors(features, p.dims, np.random.default_rng(p.seed))
    folder.array("vectors", vectors)
    if placed is None:
        folder.neighbours("content", lists)
        return lists, vectors
    encoded, fans = placed.over(columns.keys)
    counts = np.bincount(positives.row, minlength=positives.n)
    audience = Audience(encoded, fans, newness(counts, p), p.audience_strength)
    folder.neighbours("content", content_neighbours(features, p.neighbours, audience))
    folder.array("encoded", encoded.astype(np.float16))
    return lists, vectors


def write_search(folder: Folder, columns: Columns, text: TextVectors | None, p: SnapshotParameters) -> None:
    """What a text query is compared with: the words of every title, and the vectors if there are any."""
    lexicon = build_lexicon(columns.titles)
    folder.array("lexicon_terms", np.frombuffer(lexicon.terms, np.uint8))
    for name in ("start", "first", "rows", "weights"):
        folder.array(f"lexicon_{name}", getattr(lexicon, name))
    if text and len(columns.keys) <= p.text_max_titles:
        rows = quantize_rows(text.over(columns.keys), "int8")
        folder.array("text_codes", rows.codes)
        folder.array("text_scales", rows.scales)


def write_graph(
    folder: Folder,
    titles: Sequence[Title],
    positives: Positives,
    content: tuple[Neighbours, NDArray[np.float16]],
    p: SnapshotParameters,
    reinforced: Mapping[tuple[str, str, str], float],
    sage: GraphSage | None = None,
) -> tuple[int, dict[str, float]]:
    """Edges, walk lists and communities; returns the number of edges and what is known of the communities.

    sage: where new titles are in the graph. Use changes the walk only: the edges stay as they were found, so that the
    next build does not strengthen them twice.
    """
    lists, vectors = content
    popularity = np.bincount(positives.row, minlength=positives.n)
    affinity = Affinity(vectors.astype(np.float32), prominence_of(popularity))
    together = cosine_neighbours(
        positives.matrix(), EDGES_PER_TYPE[RelationshipType.CO_WATCHED], p.cosine_shrinkage
    )  # fmt: skip
    edges = content_graph(titles, affinity, lists, together)
    folder.array("relationships", edges)
    folder.array("relationships_start", starts_of(edges["source"], positives.n))
    keys = np.array([content_key(title.content_id) for title in titles], np.uint64)
    walk = walk_matrix(strengthened(edges, keys, reinforced), positives.n, p.walk_weights)
    embedded = None
    if sage is not None:
        embedded = Embedded(sage.embed(titles, edges, p.walk_weights), newness(popularity, p), p.sage_strength)
    folder.neighbours("graph", graph_neighbours(walk, p.neighbours, p.restart_probability, embedded))
    found = louvain(walk, np.random.default_rng(p.seed), p.community_resolution)
    folder.array("communities", found.labels)
    return len(edges), {"count": int(found.labels.max()) + 1, "modularity": round(found.modularity, 4)}


def write_vocabulary(folder: Folder, columns: Columns, interactions: Interactions, segments: tuple[str, ...]) -> None:
    """The words that codes in the other files stand for, as JSON."""
    vocabulary = Vocabulary(
        genres=columns.genres,
        languages=columns.languages,
        types=TITLE_TYPES,
        franchises=columns.franchises,
        services=columns.services,
        regions=columns.regions,
        segments=segments,
        devices=interactions.device_names,
    )
    (folder.path / "vocabulary.json").write_text(json.dumps(asdict(vocabulary), indent=1) + "\n")
