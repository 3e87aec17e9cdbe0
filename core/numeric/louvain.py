"""Communities of a weighted undirected graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MIN_GAIN = 1e-7  # of modularity per level; less is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """labels (n,): communities 0, 1, ... by size, largest first, ties by their lowest node; modularity in [-1/2, 1]."""

    labels: NDArray[np.int32]
    modularity: float


def louvain(adjacency: sparse.csr_array, rng: np.random.Generator, resolution: float = 1.0) -> Partition:
    """Louvain's method (Blondel et al. 2008): nodes join the neighbouring community that gains most modularity until
    none gains, then communities become nodes, and so on; at the end single nodes may leave again, so that no move of
    one node would gain.

    adjacency: (n, n) non-negative; W + W^T is taken, so a directed graph may be given. resolution: above 1 for more and
    smaller communities (Reichardt & Bornholdt 2006). rng: the order in which nodes are asked; the same rng and graph
    give the same labels. Nodes without edges are communities of their own.
    """
    graph = sparse.csr_array(adjacency + adjacency.T, dtype=np.float64)
    graph.sort_indices()
    whole, labels = graph, np.arange(graph.shape[0])
    before = modularity(whole, labels, resolution)
    while True:
        moved = _local_moves(graph, np.arange(graph.shape[0]), rng, resolution)
        after = modularity(whole, moved[labels], resolution)
        if after - before <= MIN_GAIN:
            labels = _local_moves(whole, labels, rng, resolution)
            return Partition(_by_size(labels), modularity(whole, labels))
        labels, before = moved[labels], after
        graph = _merged(graph, moved)


def modularity(graph: sparse.csr_array, labels: NDArray[Any], resolution: float = 1.0) -> float:
    """Share of the edge weight within communities beyond what degrees alone would put there (Newman 2006).

    graph: (n, n) symmetric; 0 for a graph without edges.
    """
    total = float(graph.sum())
    if total <= 0:
        return 0.0
    edges = sparse.coo_array(graph)
    row, column = edges.coords
    inside = float(edges.data[labels[row] == labels[column]].sum())
    degrees = np.bincount(labels, np.asarray(graph.sum(axis=1)).ravel())
    return inside / total - resolution * float((degrees**2).sum()) / total**2


def _local_moves(
    graph: sparse.csr_array, begin: NDArray[Any], rng: np.random.Generator, resolution: float
) -> NDArray[np.int64]:
    """(n,) labels 0..c-1 after nodes have moved one by one from `begin` (n,) until nobody gains by moving."""
    n, total = graph.shape[0], float(graph.sum())
    labels, degrees = begin.tolist(), np.asarray(graph.sum(axis=1)).ravel()
    degree, inside = degrees.tolist(), np.bincount(begin, degrees, minlength=n).tolist()  # by node, by community
    start, target, weight = graph.indptr.tolist(), graph.indices.tolist(), graph.data.tolist()
    waiting, queued = rng.permutation(n).tolist(), [True] * n
    for node in waiting:  # grows: the neighbours of what has moved are asked again (Ozaki et al. 2016)
        queued[node] = False
        own, edges = labels[node], range(start[node], start[node + 1])
        pull = {own: 0.0}
        for edge in edges:
            if target[edge] != node:
                label = labels[target[edge]]
                pull[label] = pull.get(label, 0.0) + weight[edge]
        inside[own] -= degree[node]
        best = _most_gain(pull, inside, own, resolution * degree[node] / max(total, 1e-300))
        inside[best] += degree[node]
        if best != own:
            labels[node] = best
            again = [target[e] for e in edges if labels[target[e]] != best and not queued[target[e]]]
            waiting += again
            for neighbour in again:
                queued[neighbour] = True
    return np.unique(labels, return_inverse=True)[1]


def _most_gain(pull: dict[int, float], inside: list[float], own: int, share: float) -> int:
    """The community, of those that pull at a node, that gains most by taking it; its own one among equals."""
    best, most = own, pull[own] - share * inside[own]
    for label, strength in pull.items():
        gain = strength - share * inside[label]
        if gain > most + 1e-12:
            best, most = label, gain
    return best


def _merged(graph: sparse.csr_array, labels: NDArray[np.int64]) -> sparse.csr_array:
    """(c, c) the graph whose nodes are communities; what lay within one becomes its loop."""
    n, communities = len(labels), int(labels.max(initial=-1)) + 1
    member = sparse.csr_array((np.ones(n), (np.arange(n), labels)), shape=(n, communities))
    merged = sparse.csr_array(member.T @ graph @ member)
    merged.sort_indices()
    return merged


def _by_size(labels: NDArray[Any]) -> NDArray[np.int32]:
    _, first, compact, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(size), np.int32)
    rank[np.lexsort((first, -size))] = np.arange(len(size))
    return rank[compact]
