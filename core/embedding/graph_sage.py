"""GraphSAGE: titles as vectors of their content and of their neighbourhood's, two layers deep, trained in NumPy.

Inductive: the weights say how to combine, not who is where, so a title that came after the training is embedded from
its own features and its edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.numeric.activations import sigmoid
from core.numeric.sparse import stochastic_rows

Floats = NDArray[np.float32]
_ADAM = (0.9, 0.999, 1e-8)


@dataclass(frozen=True, slots=True)
class SageSettings:
    """Among eight sets, by the measure of core.embedding.graph_sage_renewal on ml-latest-small."""

    features: int = 128  # what a title is, before the first layer
    hidden: int = 128
    dims: int = 128
    steps: int = 300
    pairs: int = 2_000  # walks per step
    walk: int = 2  # a positive is at most so many steps away
    negatives: int = 200  # shared by a step's pairs
    weight: float = 10.0  # of all negatives together, against one positive: Q
    sharpness: float = 8.0  # of cosines in the loss, which only reach from -1 to 1; 16 halves the gain
    rate: float = 0.003  # .01 overshoots: a tenth of the gain is left
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class SageWeights:
    """Two layers, each of what a title is (upper half of the rows) and the mean of what its neighbours are (lower)."""

    first: Floats  # (2 f, h)
    second: Floats  # (2 h, d)

    def embed(self, features: Floats, edges: sparse.csr_array) -> Floats:
        """(n, d) unit rows for features (n, f) and non-negative edge weights (n, n)."""
        mean = stochastic_rows(sparse.csr_array(edges, dtype=np.float32))
        below = _with_neighbours(features, mean)
        hidden = np.maximum(below @ self.first, 0)
        return _unit(_with_neighbours(hidden, mean) @ self.second)[0]


def train_sage(
    features: Floats, edges: sparse.csr_array, walked: sparse.csr_array, settings: SageSettings
) -> SageWeights:
    """Weights for which titles that a random walk over `walked` (n, n) joins are alike and others are not.

    features (n, f) and edges (n, n) are what the layers see. `walked` may be other edges: with co-watching there and
    facts here, the embedding foretells co-watching for titles that nobody has watched. With the same edges in both
    places it brings held-back titles on ml-latest-small a third as much.

    The unsupervised loss of Hamilton, Ying & Leskovec (2017, equation 1), -log s(z_u z_v) - Q E log s(-z_u z_n), with a
    mean aggregator weighted by the edges, negatives n by degree^(3/4), and Adam. Edges are capped per type by the
    snapshot, so that all neighbours are taken instead of a sample.
    """
    rng = np.random.default_rng(settings.seed)
    mean = stochastic_rows(sparse.csr_array(edges, dtype=np.float32))
    below = _with_neighbours(features, mean)
    weights = SageWeights(
        _glorot(rng, below.shape[1], settings.hidden), _glorot(rng, 2 * settings.hidden, settings.dims)
    )
    walkers = _Walkers(stochastic_rows(sparse.csr_array(walked, dtype=np.float32)), rng)
    moments = [np.zeros((2, *array.shape), np.float32) for array in (weights.first, weights.second)]
    for step in range(1, settings.steps + 1):
        pairs, others = walkers.pairs(settings.pairs, settings.walk), walkers.negatives(settings.negatives)
        gradients = _gradients(weights, below, mean, pairs, others, settings)
        for array, gradient, moment in zip((weights.first, weights.second), gradients, moments, strict=True):
            _adam(array, gradient, moment, step, settings.rate)
    return weights


class _Walkers:
    """Draws pairs of nodes that a walk joins, and nodes that none does in particular."""

    def __init__(self, mean: sparse.csr_array, rng: np.random.Generator) -> None:
        self._rng, self._targets = rng, mean.indices
        degrees = np.diff(mean.indptr)
        self._starts = np.flatnonzero(degrees)
        # One ascending line for all rows: row i's shares lie between i and i + 1.
        within = np.cumsum(mean.data, dtype=np.float64)
        before = np.concatenate([[0.0], within])[mean.indptr[:-1]]
        row = np.repeat(np.arange(len(degrees)), degrees)
        self._line = row + np.minimum(within - before[row], 1.0 - 1e-9)
        self._last = mean.indptr[1:] - 1
        self._connected = degrees > 0
        common = np.bincount(mean.indices, minlength=len(degrees)) ** 0.75
        self._common = np.cumsum(common) / max(float(common.sum()), 1e-9)

    def pairs(self, count: int, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(count,) starts and where they are after 1 to `most` steps; a walker without a way on stays."""
        start = self._starts[self._rng.integers(len(self._starts), size=count)]
        node, steps = start.copy(), self._rng.integers(1, most + 1, size=count)
        for step in range(most):
            going = (steps > step) & self._connected[node]
            here = node[going]
            edge = np.searchsorted(self._line, here + self._rng.random(len(here)))
            node[going] = self._targets[np.minimum(edge, self._last[here])]
        return start, node

    def negatives(self, count: int) -> NDArray[np.intp]:
        drawn = np.searchsorted(self._common, self._rng.random(count))
        return np.minimum(drawn, len(self._common) - 1)


def _gradients(
    weights: SageWeights, below: Floats, mean: sparse.csr_array, pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    others: NDArray[np.intp], settings: SageSettings,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Of the loss, averaged over the pairs, by both layers' weights. Only the nodes asked about get a second layer."""
    asked, place = np.unique(np.concatenate([*pairs, others]), return_inverse=True)
    start, end, other = np.split(place, [len(pairs[0]), 2 * len(pairs[0])])
    hidden = np.maximum(below @ weights.first, 0)
    near = sparse.csr_array(mean[asked])
    above = np.concatenate([hidden[asked], near @ hidden], axis=1)
    z, norm = _unit(above @ weights.second)
    dz = _loss_gradient(z, start, end, other, settings)
    raw = (dz - z * (dz * z).sum(axis=1, keepdims=True)) / norm  # through the unit length
    back = raw @ weights.second.T
    dhidden = np.asarray(near.T @ back[:, hidden.shape[1] :], dtype=np.float32)
    dhidden[asked] += back[:, : hidden.shape[1]]
    dhidden *= hidden > 0
    return below.T @ dhidden, above.T @ raw


def _loss_gradient(
    z: Floats, start: NDArray[np.intp], end: NDArray[np.intp], other: NDArray[np.intp], settings: SageSettings
) -> Floats:
    """(m, d) of the loss by the unit rows z (m, d)."""
    sharp = np.float32(settings.sharpness)
    u, v, n = z[start], z[end], z[other]
    pull = (sigmoid(sharp * (u * v).sum(axis=1)) - 1)[:, None] * sharp  # < 0: towards each other
    push = sigmoid(sharp * (u @ n.T)) * np.float32(sharp * settings.weight / max(len(other), 1))
    dz = np.zeros_like(z)
    np.add.at(dz, start, pull * v + push @ n)
    np.add.at(dz, end, pull * u)
    np.add.at(dz, other, push.T @ u)
    return dz / np.float32(len(start))


def _with_neighbours(values: Floats, mean: sparse.csr_array) -> Floats:
    return np.concatenate([values, mean @ values], axis=1)


def _unit(values: Floats) -> tuple[Floats, Floats]:
    norm = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values / norm, norm


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    return (rng.standard_normal((rows, columns)) * np.sqrt(2.0 / (rows + columns))).astype(np.float32)


def _adam(array: Floats, gradient: Floats, moment: Floats, step: int, rate: float) -> None:
    """One step in place (Kingma & Ba 2015); moment (2, ...): the running mean and square."""
    first, second, least = _ADAM
    moment[0] += (1 - first) * (gradient - moment[0])
    moment[1] += (1 - second) * (gradient**2 - moment[1])
    array -= rate * (moment[0] / (1 - first**step)) / (np.sqrt(moment[1] / (1 - second**step)) + least)
