"""Fitting the weights of fusion to examples: a conditional logit over titles, held near what is known to work.

A viewer likes title i with odds exp(sum_s w_s standing_s(i)) (McFadden 1974). Each length of history has weights of its
own, all of them drawn towards the prior ones plus a common change, so that a length with few examples follows the
others. The loss is convex; equal examples give equal weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.ranking.examples import TARGET, Examples

K = 10
ITERATIONS = 200
_BLOCK = 512  # examples whose scores are held at a time


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """Variances, in squared log-odds: of the change that all lengths of history share, and of each one's own."""

    common: float = 1.0
    own: float = 0.25


def fit_weights(examples: Examples, prior: NDArray, shrinkage: Shrinkage, strength: float = 1.0) -> NDArray:
    """(b, s) non-negative weights of the s signals for each of b lengths of history, float64.

    prior: (b, s). The loss is `strength` x the sum over examples of -log P(liked title | its pool) + the negative log
    density of the changes under the two variances; strength below 1 because examples of one viewer repeat each other.
    """
    from scipy.optimize import minimize  # heavy, and only the job fits

    precision = _precision(len(prior), shrinkage)

    def loss(flat: NDArray) -> tuple[float, NDArray]:
        weights = flat.reshape(prior.shape)
        value, gradient = cross_entropy(examples, weights)
        pulled = precision @ (weights - prior)
        total = strength * value + 0.5 * float(np.sum((weights - prior) * pulled))
        return total, (strength * gradient + pulled).ravel()

    bounds = [(0.0, None)] * prior.size
    found = minimize(loss, prior.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS})
    weights: NDArray = found.x.reshape(prior.shape)
    return weights


def _precision(lengths: int, shrinkage: Shrinkage) -> NDArray:
    """(b, b) inverse covariance of the changes: own I + common 1 1^T, inverted (Sherman & Morrison 1950)."""
    common, own = shrinkage.common, shrinkage.own
    return (np.eye(lengths) - np.full((lengths, lengths), common / (own + lengths * common))) / own


def cross_entropy(examples: Examples, weights: NDArray) -> tuple[float, NDArray]:
    """Sum over examples of -log P(liked title | pool), and its gradient (b, s)."""
    total, gradient = 0.0, np.zeros(weights.shape)
    for start in range(0, len(examples), _BLOCK):
        block = slice(start, start + _BLOCK)
        standings, bucket = examples.standings[block], examples.bucket[block]
        scores = scores_of(standings, weights[bucket])
        scores -= scores.max(axis=1, keepdims=True)
        odds = examples.mass[block] * np.exp(scores)
        share = odds / odds.sum(axis=1, keepdims=True)
        total -= float(np.sum(np.log(np.maximum(share[:, TARGET], 1e-30))))
        share[:, TARGET] -= 1.0
        per_example = np.einsum("mp,mps->ms", share, standings, optimize=True)
        np.add.at(gradient, bucket, per_example)
    return total, gradient


def scores_of(standings: NDArray, weights: NDArray) -> NDArray:
    """(m, p) from standings (m, p, s) and each example's weights (m, s)."""
    scores: NDArray = np.matmul(standings, weights[:, :, None].astype(np.float32))[:, :, 0]
    return scores


def gains(examples: Examples, weights: NDArray) -> NDArray:
    """(m,) NDCG@10 of each example, the rest of the catalogue estimated from the pool; ties count against."""
    found = []
    for start in range(0, len(examples), _BLOCK):
        block = slice(start, start + _BLOCK)
        scores = scores_of(examples.standings[block], weights[examples.bucket[block]])
        ahead = np.sum(examples.mass[block] * (scores >= scores[:, TARGET, None]), axis=1)  # the title itself is one
        found.append(np.where(ahead <= K, 1.0 / np.log2(1.0 + np.maximum(ahead, 1.0)), 0.0))
    return np.concatenate(found) if found else np.empty(0)


def as_matrix(weights: Sequence[dict[str, float]], names: Sequence[str]) -> NDArray:
    """(b, s) from one mapping per length of history."""
    return np.array([[row.get(name, 0.0) for name in names] for row in weights])
