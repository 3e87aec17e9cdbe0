"""Attention that knows the graph: hops, edges, neighbours, random walks (numbers 18-25)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.dense import scores
from core.attention.masks import hop_bucket, offsets, window_mask
from core.attention.registry import mechanism
from core.errors import InvalidInput
from core.numeric.activations import leaky_relu, masked_softmax, softmax
from core.numeric.poincare import pairwise_poincare_distance

Array = NDArray[Any]
Arrays = Mapping[str, Array]
BLOCK = 2**15  # elements of a hidden layer that are computed at once
GATV2 = "Brody et al. 2022, How Attentive are Graph Attention Networks?"


@mechanism("dual_space", number=18, family="graph", source="SONA specification")
def dual_space(
    q: Array,
    k: Array,
    v: Array,
    *,
    weights: tuple[float, float] | None = None,
    curvature: float = 1.0,
    params: Arrays | None = None,
) -> Array:
    """z = w_e q . k / sqrt d - w_h d_P(q_h, k_h): flat similarity and hierarchy in one score.

    params: projection (d, d_h) to the hyperbolic coordinates and weights (2,); without them q_h = q and both weights
    are 1. `weights` overrides. Points outside the ball are moved to its edge.
    """
    q_h, k_h = (q, k) if params is None else (q @ params["projection"], k @ params["projection"])
    trained = (1.0, 1.0) if params is None else params["weights"]
    chosen = np.asarray(trained if weights is None else weights, dtype=q.dtype)
    if chosen.shape != (2,):
        raise InvalidInput(f"dual_space weights have shape {chosen.shape}, expected (2,)")
    flat, curved = chosen
    return softmax(flat * scores(q, k) - curved * pairwise_poincare_distance(q_h, k_h, curvature)) @ v


def rotary(x: Array, positions: Array | float, base: float = 10000.0) -> Array:
    """Rotate the pairs (x_i, x_{i + d/2}) by position * base^(-2i/d) (Su 2021; pairs as halves).

    x: (..., d); positions: a number or an array that broadcasts to x's leading axes. An odd last coordinate stays.
    """
    half = x.shape[-1] // 2
    angle = np.asarray(positions, dtype=np.float64)[..., None] * base ** (-np.arange(half) / max(half, 1))
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    first, second = x[..., :half], x[..., half : 2 * half]
    turned = [first * cos - second * sin, first * sin + second * cos]
    return np.concatenate(
        [*turned, np.broadcast_to(x[..., 2 * half :], (*turned[0].shape[:-1], x.shape[-1] % 2))], axis=-1
    )


@mechanism(
    "graph_rope", number=19, family="graph", needs=("hops",), source="Su et al. 2021, RoFormer; SONA specification"
)
def graph_rope(q: Array, k: Array, v: Array, *, hops: Array, base: float = 10000.0) -> Array:
    """Dot product after a rotation by the hop distance: z_ij = q_i . R(bucket(hops_ij)) k_j / sqrt d.

    hops: (..., n_q, n), infinite where unreachable. One matrix product per distinct bucket, at most 29 of them.
    """
    bucket = hop_bucket(hops)
    used = np.flatnonzero(np.bincount(bucket.ravel()))
    z = scores(rotary(q[..., None, :, :], -used[:, None], base), k[..., None, :, :])  # (..., buckets, n_q, n)
    batch = np.broadcast_shapes(z.shape[:-3], bucket.shape[:-2])
    layer = np.broadcast_to(np.searchsorted(used, bucket), (*batch, *z.shape[-2:]))[..., None, :, :]
    z = np.take_along_axis(np.broadcast_to(z, (*batch, *z.shape[-3:])), layer, axis=-3)
    return softmax(z[..., 0, :, :]) @ v


def additive_scores(q: Array, k: Array, a: Array, edges: Array | None = None, w_e: Array | None = None) -> Array:
    """a . LeakyReLU(q_i + k_j + e_ij W_e) for projected q (..., n_q, h) and k (..., n, h) -> (..., n_q, n).

    A few queries at a time: the hidden layer then stays in the cache.
    """
    n_q, (n, width) = q.shape[-2], k.shape[-2:]
    rows = max(1, BLOCK // (n * width))
    parts = []
    for start in range(0, n_q, rows):
        hidden = q[..., start : start + rows, None, :] + k[..., None, :, :]
        if edges is not None:
            hidden = hidden + edges[..., start : start + rows, :, :] @ w_e
        parts.append(leaky_relu(hidden) @ a)
    return np.concatenate(parts, axis=-2)


@mechanism(
    "edge_featured", number=20, family="graph", needs=("edge_features",), source=f"{GATV2}; Wang et al. 2021, EGAT"
)
def edge_featured(q: Array, k: Array, v: Array, *, edge_features: Array, params: Arrays) -> Array:
    """z = a . LeakyReLU(W_q q + W_k k + W_e e): the ranking of the keys depends on the query (Brody 2022).

    edge_features: (..., n_q, n, d_e). params: w_q, w_k (d, hidden), w_e (d_e, hidden), a (hidden).
    """
    edges = edge_features.astype(q.dtype, copy=False)
    edges = np.broadcast_to(edges, (*edges.shape[:-3], q.shape[-2], *edges.shape[-2:]))
    return softmax(additive_scores(q @ params["w_q"], k @ params["w_k"], params["a"], edges, params["w_e"])) @ v


@mechanism("local_global", number=21, family="graph", needs=("positions",), source="Beltagy et al. 2020, Longformer")
def local_global(
    q: Array,
    k: Array,
    v: Array,
    *,
    positions: Array,
    query_positions: Array | None = None,
    window: float = 8,
    globals: int = 1,
) -> Array:
    """Keys within `window` of the query's position, and the first `globals` keys for every query (Beltagy 2020)."""
    n = k.shape[-2]
    near = window_mask(offsets(positions, query_positions, q.shape[-2], n), window)
    return masked_softmax(scores(q, k), near | (np.arange(n) < globals)) @ v


@mechanism(
    "gat", number=22, family="graph", needs=("adjacency",), source="Velickovic et al. 2018, Graph Attention Networks"
)
def gat(q: Array, k: Array, v: Array, *, adjacency: Array, params: Arrays) -> Array:
    """z = LeakyReLU(a^T [W q; W k]) over neighbours (Velickovic 2018). adjacency: (..., n_q, n), 0 = no edge.

    params: w (d, hidden), a_q, a_k (hidden). A query without neighbours sees all keys.
    """
    part_q, part_k = q @ (params["w"] @ params["a_q"]), k @ (params["w"] @ params["a_k"])
    return masked_softmax(leaky_relu(part_q[..., :, None] + part_k[..., None, :]), adjacency != 0) @ v


@mechanism("gatv2", number=23, family="graph", needs=("adjacency",), source=GATV2)
def gatv2(q: Array, k: Array, v: Array, *, adjacency: Array, params: Arrays) -> Array:
    """z = a^T LeakyReLU(W [q; k]) over neighbours (Brody 2022), as gat but the ranking depends on the query.

    params: w_q, w_k (d, hidden), the two halves of W, and a (hidden). A query without neighbours sees all keys.
    """
    z = additive_scores(q @ params["w_q"], k @ params["w_k"], params["a"])
    return masked_softmax(z, adjacency != 0) @ v


@mechanism(
    "graphormer",
    number=24,
    family="graph",
    needs=("hops",),
    source="Ying et al. 2021, Do Transformers Really Perform Bad",
)
def graphormer(q: Array, k: Array, v: Array, *, hops: Array, degrees: Array | None = None, params: Arrays) -> Array:
    """z = q . k / sqrt d + b_hops + c_degree(k) (Ying 2021, with its centrality as a term of the score).

    hops: (..., n_q, n); the last entry of hop_bias is for everything farther. degrees: (..., n) of the keys, by default
    how many queries are one hop away; the last entry of degree_bias is for everything larger.
    """
    hop_bias, degree_bias = params["hop_bias"], params["degree_bias"]
    steps = np.minimum(hops, len(hop_bias) - 1).astype(np.int64)
    z = scores(q, k) + hop_bias[steps]
    degrees = np.sum(hops == 1, axis=-2) if degrees is None and hops.ndim > 1 else degrees
    if degrees is not None:
        z = z + degree_bias[np.clip(degrees, 0, len(degree_bias) - 1).astype(np.int64)][..., None, :]
    return softmax(z) @ v


@mechanism(
    "diffusion",
    number=25,
    family="graph",
    needs=("transition",),
    source="Klicpera et al. 2019, Diffusion Improves Graph Learning",
)
def diffusion(
    q: Array,
    k: Array,
    v: Array,
    *,
    transition: Array,
    kernel: str = "ppr",
    restart: float = 0.15,
    time: float = 3.0,
    steps: int = 10,
) -> Array:
    """Random walks that start where the dot product looks: w = sum_t theta_t softmax(z) T^t (Klicpera 2019).

    transition: (..., n, n) between the keys, rows sum to 1 (walkers in empty rows are lost and the rest rescaled).
    theta_t = restart (1 - restart)^t for kernel "ppr", e^-time time^t / t! for "heat", cut after `steps`. If its shape
    is (n_q, n) with n_q != n, its rows are finished kernel rows and are multiplied by exp(z) instead.
    """
    if kernel not in ("ppr", "heat") or restart > 1:
        raise InvalidInput(f"diffusion kernel is ppr or heat and restart at most 1, not {kernel!r} and {restart}")
    step = transition.astype(q.dtype, copy=False)
    z = scores(q, k)
    if step.shape[-2] != k.shape[-2]:
        return masked_softmax(z + np.log(np.maximum(step, np.finfo(q.dtype).tiny)), step > 0) @ v
    walk = softmax(z)
    total = diffusion_coefficient(kernel, 0, restart, time) * walk
    for t in range(1, steps + 1):
        walk = walk @ step
        total = total + diffusion_coefficient(kernel, t, restart, time) * walk
    return (total / total.sum(axis=-1, keepdims=True)) @ v


def diffusion_coefficient(kernel: str, t: int, restart: float, time: float) -> float:
    """theta_t of the personalised-PageRank or the heat kernel, up to a common factor."""
    return (1 - restart) ** t if kernel == "ppr" else time**t / math.factorial(t)
