"""Item-item weights of the peers, in closed form and independent of the serving code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def ease_weights(interactions: sparse.csr_array, ridge: float) -> NDArray:
    """(c, c) float32 item-item weights of EASE (Steck 2019): B = -P / diag(P), diagonal 0, P = (X'X + ridge I)^-1.

    interactions: (u, c) 0/1. Scores are history @ B.
    """
    gram = (interactions.T @ interactions).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def cosine_weights(interactions: sparse.csr_array, neighbours: int) -> NDArray:
    """(c, c) float32: cosine of item columns, each column keeping its largest (Deshpande & Karypis 2004)."""
    gram = (interactions.T @ interactions).toarray().astype(np.float32)
    norm = np.sqrt(np.maximum(np.diag(gram), 1e-9))
    weights = gram / norm[:, None] / norm[None, :]
    np.fill_diagonal(weights, 0.0)
    if neighbours < len(weights):
        smallest = np.partition(weights, -neighbours, axis=0)[-neighbours]
        weights[weights < smallest[None, :]] = 0.0
    return weights


def transition_weights(
    sequences: Sequence[NDArray], size: int, window: int = 5, decay: float = 0.8, shrinkage: float = 20.0
) -> sparse.csr_array:
    """(size, size): sum over gaps g = 1..window of decay^(g-1) N_g[a, b], over the row's sum + shrinkage.

    sequences: columns of each user in order; N_g[a, b] counts how often b came g places after a.
    """
    flat = np.concatenate(sequences) if len(sequences) else np.empty(0, np.int64)
    owner = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    counts = sparse.csr_array((size, size), dtype=np.float32)
    for gap in range(1, window + 1):
        same = owner[gap:] == owner[:-gap]
        ends = (flat[:-gap][same], flat[gap:][same])
        weight = np.full(len(ends[0]), decay ** (gap - 1), np.float32)
        counts = counts + sparse.csr_array((weight, ends), shape=(size, size))
    scale = 1.0 / (np.asarray(counts.sum(axis=1)).ravel() + shrinkage)
    return sparse.csr_array(sparse.diags_array(scale) @ counts)


def z_scores(scores: NDArray) -> NDArray:
    """(b, c) each row with mean 0 and deviation 1; a constant row becomes zeros, what is not finite stays so."""
    spread = scores.std(axis=1, keepdims=True)
    centred = scores - scores.mean(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread != 0)
