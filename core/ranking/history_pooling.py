"""A viewer's history as one query vector, pooled by attention mechanisms with what is really known of the titles.

Keys and values are the vectors of the latest likes, the query their usual pooling by recency. Side inputs: when each
was liked, their order, genres as groups, and how each is connected with the latest one in the graph, by content and by
audience. So graph, temporal and hierarchical mechanisms attend to what they were made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention import attend, describe
from core.numeric.vectors import Floats
from core.profile.preference import DAY_S
from core.snapshot.snapshot import Neighbours, Snapshot

HEAD_GROUPS = "grouped_query"  # its groups are a number of heads, not labels of the titles
FAR = 3.0  # hops between titles that neither know each other nor have a neighbour in common


def pooled(
    snapshot: Snapshot,
    vectors: Floats,
    rows: NDArray[Any],
    at: NDArray[Any],
    now: float,
    usual: Floats,
    shares: Mapping[str, float],
) -> Floats:
    """(d,) of length 1: the mix by `shares` of what each mechanism makes of the titles; zeros where `usual` is.

    vectors: (k, d) of the titles `rows` (k,), oldest first; at: (k,) Unix seconds; usual: (d,) their usual pooling.
    """
    if not usual.any() or not len(rows):
        return usual
    # Dot products of unit vectors hardly differ: at length d^(1/4) a score is a cosine.
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    keys = vectors / np.maximum(lengths, 1e-12) * np.float32(vectors.shape[1] ** 0.25)
    query = usual[None] * np.float32(vectors.shape[1] ** 0.25)
    known = side_inputs(snapshot, rows, at, now)
    total = np.zeros(vectors.shape[1], np.float32)
    for name, share in shares.items():
        takes = describe(name).accepts - ({"groups"} if name == HEAD_GROUPS else set())
        side = {label: given for label, given in known.items() if label in takes}
        total += np.float32(share) * attend(name, query, keys, vectors, **side)[0]
    length = float(np.sqrt(total @ total))
    return total / np.float32(length) if np.isfinite(length) and length > 1e-12 else usual


def side_inputs(snapshot: Snapshot, rows: NDArray[Any], at: NDArray[Any], now: float) -> dict[str, NDArray[Any]]:
    """What mechanisms may ask for about k titles as seen from the latest one, the query's place, by name."""
    graph = weights_to(snapshot.graph, rows)
    edges = np.stack(
        [weights_to(lists, rows) for lists in (snapshot.graph, snapshot.content, snapshot.collaborative)], -1
    )
    hops = np.where(graph > 0, 1.0, np.where(_in_common(snapshot.graph, rows), 2.0, FAR))
    hops[rows == rows[-1]] = 0.0
    reach = graph.copy()
    reach[rows == rows[-1]] = max(float(graph.max()), 1e-6)
    return {
        "timestamps": np.asarray(at, np.float64) / DAY_S,
        "query_timestamps": np.array([now / DAY_S]),
        "positions": np.arange(len(rows), dtype=np.float64),
        "query_positions": np.array([len(rows) - 1.0]),
        "groups": snapshot.attributes["primary"][rows].astype(np.int64),
        "hops": hops[None],
        "adjacency": (hops[None] <= 2.0).astype(np.float32),
        "edge_features": edges[None].astype(np.float32),
        "transition": (reach / reach.sum())[None],
    }


def weights_to(lists: Neighbours, rows: NDArray[Any]) -> NDArray[np.float64]:
    """(k,) weight of each of `rows` among the neighbours of the last one, the strongest of them 1; 0 for the others."""
    place = lists.index[rows[-1]]
    weight = lists.weight[rows[-1]].astype(np.float64)
    if not weight.max(initial=0.0) > 0:
        return np.zeros(len(rows))
    same = rows[:, None] == place
    found: NDArray[np.float64] = (same * weight).max(axis=1) / weight.max()
    return found


def _in_common(lists: Neighbours, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """(k,) whether a title and the last one have a neighbour in common."""
    last = lists.index[rows[-1]][lists.weight[rows[-1]] > 0]
    return np.asarray((np.isin(lists.index[rows], last) & (lists.weight[rows] > 0)).any(axis=1))
