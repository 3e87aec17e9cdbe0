"""Attention over a chosen part of the keys (numbers 26, 27, 30, 31, 35).

A query whose part is empty sees all keys: an isolated node still gets the context there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.dense import scores, unit_length
from core.attention.masks import offsets, window_mask
from core.attention.registry import mechanism
from core.numeric.activations import masked_softmax

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@mechanism(
    "neighborhood",
    number=26,
    family="specialized",
    needs=("hops",),
    instead={"hops": "positions"},
    source="Hassani et al. 2023, Neighborhood Attention Transformer",
)
def neighborhood(
    q: Array,
    k: Array,
    v: Array,
    *,
    hops: Array | None = None,
    positions: Array | None = None,
    query_positions: Array | None = None,
    radius: float = 2,
) -> Array:
    """Only keys within `radius` hops, or within `radius` positions where no hops are given (Hassani 2023).

    hops: (..., n_q, n); positions: (..., n).
    """
    if hops is None:
        hops = np.abs(offsets(positions, query_positions, q.shape[-2], k.shape[-2]))
    return masked_softmax(scores(q, k), hops <= radius) @ v


def strided_mask(n_q: int, n: int, stride: int) -> Array:
    """True where key j is in query i's block of `stride`, ends a block, or is a multiple of `stride` away (n_q, n)."""
    i, j = np.arange(n_q)[:, None], np.arange(n)
    return (i // stride == j // stride) | (j % stride == stride - 1) | ((i - j) % stride == 0)


@mechanism(
    "sparse",
    number=27,
    family="specialized",
    source="Child et al. 2019, Generating Long Sequences with Sparse Transformers",
)
def sparse(q: Array, k: Array, v: Array, *, stride: int | None = None) -> Array:
    """Strided and fixed patterns together (Child 2019), not causal; stride defaults to sqrt(n)."""
    n_q, n = q.shape[-2], k.shape[-2]
    return masked_softmax(scores(q, k), strided_mask(n_q, n, stride or max(1, round(n**0.5)))) @ v


@mechanism(
    "sliding_window", number=30, family="specialized", needs=("positions",), source="Beltagy et al. 2020, Longformer"
)
def sliding_window(
    q: Array, k: Array, v: Array, *, positions: Array, query_positions: Array | None = None, window: float = 8
) -> Array:
    """Keys with |i - j| <= window (Beltagy 2020)."""
    return (
        masked_softmax(scores(q, k), window_mask(offsets(positions, query_positions, q.shape[-2], k.shape[-2]), window))
        @ v
    )


@mechanism("big_bird", number=31, family="specialized", needs=("positions",), source="Zaheer et al. 2020, Big Bird")
def big_bird(
    q: Array,
    k: Array,
    v: Array,
    *,
    positions: Array,
    params: Arrays,
    query_positions: Array | None = None,
    window: float = 3,
    globals: int = 1,
) -> Array:
    """Window, the first `globals` keys, and a few random keys per query (Zaheer 2020).

    params: random_keys (rows, randoms) in [0, 1): query i uses row i modulo rows, and u means key floor(u n).
    """
    n_q, n = q.shape[-2], k.shape[-2]
    drawn = params["random_keys"][np.arange(n_q) % len(params["random_keys"])]
    random = np.zeros((n_q, n), dtype=bool)
    random[np.arange(n_q)[:, None], np.clip(drawn * n, 0, n - 1).astype(np.int64)] = True
    near = window_mask(offsets(positions, query_positions, n_q, n), window)
    return masked_softmax(scores(q, k), near | random | (np.arange(n) < globals)) @ v


def hash_buckets(x: Array, rotations: Array) -> Array:
    """Angular hashes: argmax of [x R; -x R] in each round (Kitaev 2020). (..., n, d) -> (..., rounds, n)."""
    turned = unit_length(x)[..., None, :, :] @ rotations
    return np.concatenate([turned, -turned], axis=-1).argmax(axis=-1)


@mechanism("lsh", number=35, family="specialized", source="Kitaev et al. 2020, Reformer")
def lsh(q: Array, k: Array, v: Array, *, params: Arrays) -> Array:
    """Softmax over the keys that share the query's bucket in any round (Kitaev 2020).

    params: rotations (rounds, d, buckets / 2).
    """
    of_q, of_k = hash_buckets(q, params["rotations"]), hash_buckets(k, params["rotations"])
    together = (of_q[..., :, None] == of_k[..., None, :]).any(axis=-3)
    return masked_softmax(scores(q, k), together) @ v
