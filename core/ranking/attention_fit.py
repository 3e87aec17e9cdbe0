"""Learning attention over the signals from examples, and keeping it only where held-back examples say that it helps.

The loss is that of `core.ranking.fit`, the cross-entropy of the liked title among its pool, through the attention row.
How a row moves with query and keys is measured instead of derived, so that any mechanism can be learned; requests
differ in a few hundred ways, which one batched call answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.fusion import FEATURES, MECHANISMS, FusionAttention, attention_rows, circumstances
from core.candidates.signals import STRATEGY_OF
from core.ranking.examples import Examples
from core.ranking.fit import cross_entropy, gains

DIMS = 4  # of query and keys. Validation: 4 gains .0075 on MovieTweetings, 2 .0044, 8 .0057; nothing elsewhere
VARIANCE = 0.01  # of their entries around even attention; .03 gains .0064, .003 .0062
ITERATIONS = 60
STEP = 1e-4  # of the measured slopes, in float64
HELD_BACK = 0.3  # latest share of the examples, which decides whether attention is kept
MIN_HELD_BACK = 100  # examples; fewer decide nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """What held-back examples said of a mechanism: mean gain in NDCG@10 over plain weights, and its standard error with
    viewers as clusters."""

    mechanism: str
    gain: float
    error: float

    @property
    def kept(self) -> bool:
        """Whether it gains more than one standard error."""
        return self.gain > self.error


def learn_attention(
    examples: Examples, weights: NDArray, devices: Sequence[str], mechanisms: Sequence[str] = MECHANISMS
) -> tuple[tuple[FusionAttention, ...], tuple[Verdict, ...]]:
    """The mechanisms that help by more than one standard error, fitted to all examples, and what was found of each.

    examples: oldest first; weights: (4, s) of plain fusion; devices: names of the examples' device codes.
    """
    held = np.arange(len(examples)) >= round((1 - HELD_BACK) * len(examples))
    if np.count_nonzero(held) < MIN_HELD_BACK:
        return (), ()
    early, late = examples.take(~held), examples.take(held)
    usual = gains(late, weights)
    kept, verdicts = [], []
    for mechanism in mechanisms:
        found = fit_attention(early, weights, devices, mechanism)
        change = attended_gains(found, late, weights, devices) - usual
        verdicts.append(Verdict(mechanism, float(change.mean()), clustered_error(change, late.user)))
        if verdicts[-1].kept:
            kept.append(fit_attention(examples, weights, devices, mechanism))
    return tuple(kept), tuple(verdicts)


def fit_attention(examples: Examples, weights: NDArray, devices: Sequence[str], mechanism: str) -> FusionAttention:
    """The embedding and keys that minimise the cross-entropy of the examples, normal around where they begin.

    The embedding begins at zero, even attention; the keys in different directions, so that no two signals look alike.
    """
    from scipy.optimize import minimize  # heavy, and only the job fits

    strategies = tuple(STRATEGY_OF.get(name, name) for name in examples.names)
    features = (*FEATURES, *(f"device {name}" for name in devices))
    ways, which = _ways(examples, devices)
    holds = np.array([[name in holding for name in features] for _, holding in ways], np.float64)  # (u, f)
    first = first_keys(len(strategies))
    even = attention_rows(mechanism, np.zeros((1, DIMS)), first, strategies)
    plain = weights[[bucket for bucket, _ in ways]] / even  # (u, s)
    grouped = replace(examples, bucket=which)
    size = len(features) * DIMS
    start = np.concatenate([np.zeros(size), first.ravel()])

    def loss(flat: NDArray) -> tuple[float, NDArray]:
        embedding, keys = flat[:size].reshape(-1, DIMS), flat[size:].reshape(-1, DIMS)
        rows, by_query, by_key = _rows_and_slopes(mechanism, holds @ embedding, keys, strategies)
        value, slope = cross_entropy(grouped, plain * rows)
        slope *= plain
        d_embedding = holds.T @ np.einsum("us,dus->ud", slope, by_query)
        gradient = np.concatenate([d_embedding.ravel(), np.einsum("us,kus->k", slope, by_key)])
        away = flat - start
        return value + 0.5 / VARIANCE * float(away @ away), gradient + away / VARIANCE

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x.astype(np.float32)
    arrays = found[:size].reshape(-1, DIMS), found[size:].reshape(-1, DIMS)
    return FusionAttention(mechanism, features, tuple(examples.names), strategies, *arrays)


def attended_gains(attention: FusionAttention, examples: Examples, weights: NDArray, devices: Sequence[str]) -> NDArray:
    """(m,) NDCG@10 of each example with the weights that a request in its circumstances would have."""
    ways, which = _ways(examples, devices)
    attended = np.array([weights[bucket] * attention.factors(holding) for bucket, holding in ways])
    return gains(replace(examples, bucket=which), attended)


def _ways(examples: Examples, devices: Sequence[str]) -> tuple[list[tuple[int, tuple[str, ...]]], NDArray[Any]]:
    """The u different (length of history, features that hold), and (m,) which of them each example is."""
    places: dict[tuple[int, tuple[str, ...]], int] = {}
    facts = (examples.bucket, examples.hour, examples.weekday, examples.session, examples.device)
    which = np.empty(len(examples), np.int32)
    for i, (bucket, hour, weekday, session, device) in enumerate(
        zip(*(column.tolist() for column in facts), strict=True)
    ):
        name = devices[device] if 0 <= device < len(devices) else None
        way = (bucket, circumstances(bucket, hour, weekday, session, name))
        which[i] = places.setdefault(way, len(places))
    return list(places), which


def first_keys(signals: int) -> NDArray:
    """(s, d) directions of length sqrt(d): drawn once, the same in every build."""
    drawn = np.random.default_rng(0).standard_normal((signals, DIMS))
    keys: NDArray = drawn * np.sqrt(DIMS) / np.linalg.norm(drawn, axis=1, keepdims=True)
    return keys


def _rows_and_slopes(
    mechanism: str, queries: NDArray, keys: NDArray, strategies: tuple[str, ...]
) -> tuple[NDArray, NDArray, NDArray]:
    """Rows (u, s) of queries (u, d), and by central differences their slopes along each part of the query (d, u, s) and
    each entry of the keys (s d, u, s)."""
    by_query = STEP * np.eye(DIMS)[:, None, :]
    by_key = STEP * np.eye(keys.size).reshape(keys.size, *keys.shape)

    def rows(q: NDArray, k: NDArray) -> NDArray:
        return attention_rows(mechanism, q, k, strategies)

    along_query = (rows(queries + by_query, keys) - rows(queries - by_query, keys)) / (2 * STEP)
    along_keys = (rows(queries, keys + by_key) - rows(queries, keys - by_key)) / (2 * STEP)
    return rows(queries, keys), along_query, along_keys


def clustered_error(change: NDArray, user: NDArray) -> float:
    """Standard error of the mean of `change` (m,), the examples of one viewer being one cluster."""
    _, which = np.unique(user, return_inverse=True)
    return float(np.sqrt(np.sum(np.bincount(which.ravel(), change - change.mean()) ** 2)) / len(change))
