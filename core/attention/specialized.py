"""Attention for platforms, groups, time, targets and matchings (numbers 28, 29, 32-34, 39)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.dense import ATTENTION, project, scores
from core.attention.masks import offsets
from core.attention.registry import mechanism
from core.numeric.activations import layer_norm, leaky_relu, masked_softmax, softmax

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@mechanism("cross", number=28, family="specialized", source=ATTENTION)
def cross(q: Array, k: Array, v: Array, *, params: Arrays | None = None) -> Array:
    """Queries of one platform or user, keys and values of another; each side layer-normalised, then projected.

    Normalising apart makes two embedding spaces of different offset and scale comparable. params: w_q, w_k (d, d),
    optional.
    """
    return softmax(scores(project(layer_norm(q), params, "w_q"), project(layer_norm(k), params, "w_k"))) @ v


@mechanism(
    "hierarchical",
    number=29,
    family="specialized",
    needs=("groups",),
    source="Yang et al. 2016, Hierarchical Attention Networks",
)
def hierarchical(q: Array, k: Array, v: Array, *, groups: Array) -> Array:
    """Softmax inside each group, then over the groups' summaries (Yang 2016, with q as the context vector).

    groups: (..., n) labels of the keys. A group's key is its members' keys by their weights, so that its score is the
    weighted mean of theirs: a large group has no advantage.
    """
    z = scores(q, k)
    labels, codes = np.unique(groups, return_inverse=True)
    member = codes.reshape(groups.shape)[..., None, :] == np.arange(len(labels))[:, None]  # (..., groups, n)
    inside = masked_softmax(z[..., None, :, :], member[..., :, None, :], blind_sees_all=False)  # (..., groups, n_q, n)
    summary = (inside * z[..., None, :, :]).sum(axis=-1)  # (..., groups, n_q)
    between = masked_softmax(np.swapaxes(summary, -1, -2), member.any(axis=-1)[..., None, :])
    return (inside * np.swapaxes(between, -1, -2)[..., None]).sum(axis=-3) @ v


@mechanism(
    "alibi", number=32, family="specialized", needs=("positions",), source="Press et al. 2022, Train Short, Test Long"
)
def alibi(
    q: Array, k: Array, v: Array, *, positions: Array, query_positions: Array | None = None, slope: float = 0.0625
) -> Array:
    """z = q . k / sqrt d - slope |i - j| (Press 2022); one head, so one slope, the middle of the paper's."""
    far = np.abs(offsets(positions, query_positions, q.shape[-2], k.shape[-2]))
    return softmax(scores(q, k) - (slope * far).astype(q.dtype)) @ v


@mechanism("temporal", number=33, family="specialized", needs=("timestamps",), source="Li et al. 2020, TiSASRec")
def temporal(
    q: Array,
    k: Array,
    v: Array,
    *,
    timestamps: Array,
    query_timestamps: Array | None = None,
    decay: float = 0.1,
    bucketed: bool = False,
) -> Array:
    """z = q . k / sqrt d - decay dt; with `bucketed`, dt is floor(log2(1 + dt)) (Li 2020, with a fixed interval bias).

    timestamps: (..., n) of the keys, in any unit, decay per that unit. Queries are made at the latest of them unless
    query_timestamps (..., n_q) says otherwise.
    """
    times = timestamps.astype(np.float64)  # seconds since 1970 do not fit float32
    asked = times.max(axis=-1, keepdims=True) if query_timestamps is None else query_timestamps.astype(np.float64)
    interval = np.abs(asked[..., :, None] - times[..., None, :])
    interval = np.floor(np.log2(1 + interval)) if bucketed else interval
    return softmax(scores(q, k) - (decay * interval).astype(q.dtype)) @ v


@mechanism(
    "target",
    number=34,
    family="specialized",
    source="Zhou et al. 2018, Deep Interest Network",
    softmax=False,
    row_weights=False,
)
def target(q: Array, k: Array, v: Array, *, params: Arrays) -> Array:
    """sum MLP(q, k, q - k, q * k) v, not normalised over the history: strong interest stays strong (Zhou 2018).

    params: w_q, w_k, w_difference, w_product (d, hidden), the four parts of the first layer, b_1, slope (PReLU), w_2
    (hidden) and b_2 (1).
    """
    part_q = q @ (params["w_q"] + params["w_difference"]) + params["b_1"]
    part_k = k @ (params["w_k"] - params["w_difference"])
    product = k[..., None, :, :] @ (q[..., :, :, None] * params["w_product"])  # (q * k) W, one product per query
    hidden = leaky_relu(part_q[..., :, None, :] + part_k[..., None, :, :] + product, params["slope"])
    return (hidden @ params["w_2"] + params["b_2"]) @ v


@mechanism("sinkhorn", number=39, family="specialized", source="Sander et al. 2022, Sinkformers")
def sinkhorn(q: Array, k: Array, v: Array, *, iterations: int = 5, epsilon: float = 1.0) -> Array:
    """Weights exp(z / epsilon) normalised over queries and keys in turn: a doubly stochastic plan (Sander 2022).

    Every row sums to 1, and every column tends to n_q / n: queries share the keys out, so a single query sees the mean.
    """
    z = scores(q, k) / q.dtype.type(epsilon)
    for _ in range(iterations):  # in logarithms, so that nothing underflows
        z = z - _log_sum(z, -2)
        z = z - _log_sum(z, -1)
    return softmax(z) @ v


def _log_sum(z: Array, axis: int) -> Array:
    top = z.max(axis=axis, keepdims=True)
    return top + np.log(np.exp(z - top).sum(axis=axis, keepdims=True))
