"""Dense attention: every query may see every key (numbers 1-3, 6-9, 11, 13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.masks import causal_mask, offsets
from core.attention.registry import mechanism
from core.errors import InvalidInput
from core.numeric.activations import masked_softmax, softmax, sparsemax

Array = NDArray[Any]
Arrays = Mapping[str, Array]
ATTENTION = "Vaswani et al. 2017, Attention Is All You Need"


def scores(q: Array, k: Array) -> Array:
    """q . k / sqrt(d) for every query and key, (..., n_q, n)."""
    return (q * q.dtype.type(q.shape[-1] ** -0.5)) @ np.swapaxes(k, -1, -2)


def unit_length(x: Array) -> Array:
    """Rows of length 1; zero rows stay zero."""
    length = np.sqrt(np.einsum("...i,...i->...", x, x))[..., None]
    return x / np.maximum(length, np.finfo(x.dtype).tiny)


def choose_heads(heads: int | None, d: int, d_v: int = 0) -> int:
    """`heads`, or the largest of 8, 4, 2, 1 that divides d and d_v. InvalidInput if the wanted number does not."""
    if heads is None:
        return next(h for h in (8, 4, 2, 1) if d % h == 0 and d_v % h == 0)
    if d % heads or d_v % heads:
        raise InvalidInput(
            f"{heads} heads do not divide the last axes of q, shape (..., {d}), and v, shape (..., {d_v})"
        )
    return heads


def split_heads(x: Array, heads: int) -> Array:
    """(..., n, d) -> (..., heads, n, d / heads)."""
    return np.swapaxes(x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads), -2, -3)


def merge_heads(x: Array) -> Array:
    """(..., heads, n, d) -> (..., n, heads * d): the inverse of `split_heads`."""
    x = np.swapaxes(x, -2, -3)
    return x.reshape(*x.shape[:-2], -1)


def project(x: Array, params: Arrays | None, name: str) -> Array:
    """x W, or x itself without parameters."""
    return x if params is None else x @ params[name]


@mechanism("dot_product", number=1, family="core", source=ATTENTION)
def dot_product(q: Array, k: Array, v: Array) -> Array:
    """softmax(q . k / sqrt d) v (Vaswani 2017)."""
    return softmax(scores(q, k)) @ v


@mechanism("multi_head", number=2, family="core", source=ATTENTION, row_weights=False)
def multi_head(q: Array, k: Array, v: Array, *, heads: int | None = None, params: Arrays | None = None) -> Array:
    """Each of `heads` slices attends on its own, results concatenated (Vaswani 2017).

    params: projections w_q, w_k (d, d), w_v, w_o (d_v, d_v); without them the slices are those of q, k, v themselves.
    """
    heads = choose_heads(heads, q.shape[-1], v.shape[-1])
    q, k, v = (split_heads(project(x, params, name), heads) for x, name in ((q, "w_q"), (k, "w_k"), (v, "w_v")))
    return project(merge_heads(softmax(scores(q, k)) @ v), params, "w_o")


@mechanism("flash", number=3, family="core", source="Dao et al. 2022, FlashAttention")
def flash(q: Array, k: Array, v: Array, *, block: int = 64, causal: bool = False) -> Array:
    """Equals dot_product (or causal), computed over blocks of keys (Dao 2022)."""
    return flash_forward(q, k, v, block, causal)[0]


def flash_forward(q: Array, k: Array, v: Array, block: int = 64, causal: bool = False) -> tuple[Array, Array]:
    """Attention and the log-sum-exp of the scores, ((..., n_q, d_v), (..., n_q)), with O(n_q * block) working memory.

    A running maximum and sum are rescaled whenever a block raises the maximum (Milakov & Gimelshein 2018).
    """
    n_q, n = q.shape[-2], k.shape[-2]
    none = np.zeros((1, 1), dtype=q.dtype)
    top, total, out = none - np.inf, none, none
    for start in range(0, n, block):
        z = scores(q, k[..., start : start + block, :])
        if causal:
            z = np.where(np.arange(start, min(start + block, n)) <= np.arange(n_q)[:, None], z, -np.inf)
        peak = z.max(axis=-1, keepdims=True)
        raised = np.maximum(top, peak)  # finite from the first block on: key 0 is visible to every query
        e = np.exp(z - raised)
        shrink = np.exp(top - raised)
        out = shrink * out + e @ v[..., start : start + block, :]
        total = shrink * total + e.sum(axis=-1, keepdims=True)
        top = raised
    return out / total, (top + np.log(total))[..., 0]


@mechanism("multi_query", number=6, family="core", source="Shazeer 2019, Fast Transformer Decoding")
def multi_query(q: Array, k: Array, v: Array, *, heads: int | None = None, params: Arrays | None = None) -> Array:
    """All query heads share one key and one value head (Shazeer 2019): grouped_query with one group."""
    return grouped_query(q, k, v, heads=heads, groups=1, params=params)


@mechanism("grouped_query", number=7, family="core", source="Ainslie et al. 2023, GQA", row_weights=False)
def grouped_query(
    q: Array, k: Array, v: Array, *, heads: int | None = None, groups: int | None = None, params: Arrays | None = None
) -> Array:
    """The query heads of a group share its key and value head (Ainslie 2023).

    The shared key head is the mean of the group's key slices, the paper's conversion from multi-head. The shared value
    head is the group's whole slice of v, and the heads' outputs are averaged (an output projection of stacked
    identities), so that one key gives its value. groups = heads is multi_head, 1 group is multi_query; the default is
    half as many groups as heads.
    """
    d, d_v = q.shape[-1], v.shape[-1]
    heads = choose_heads(heads, d)  # values are split by group only
    if groups is None:
        groups = next(g for g in range(max(heads // 2, 1), 0, -1) if heads % g == 0 and d_v % g == 0)
    if groups < 1 or heads % groups or d_v % groups:
        raise InvalidInput(f"{groups} groups do not divide {heads} heads of q, shape {q.shape}, and v, shape {v.shape}")
    q, k, v = (project(x, params, name) for x, name in ((q, "w_q"), (k, "w_k"), (v, "w_v")))
    keys = split_heads(k, heads)
    keys = keys.reshape(*keys.shape[:-3], groups, heads // groups, *keys.shape[-2:]).mean(axis=-3, keepdims=True)
    queries = split_heads(q, heads)
    queries = queries.reshape(*queries.shape[:-3], groups, heads // groups, *queries.shape[-2:])
    shared = softmax(scores(queries, keys)).mean(axis=-3)  # (..., groups, n_q, n)
    return project(merge_heads(shared @ split_heads(v, groups)), params, "w_o")


@mechanism("latent", number=8, family="core", source="DeepSeek-AI 2024, DeepSeek-V2 (MLA)", row_weights=False)
def latent(q: Array, k: Array, v: Array, *, params: Arrays) -> Array:
    """Keys c W_uk and values c W_uv rebuilt from one shared latent c = [k; v] W_d of length rank (DeepSeek-V2).

    W_uk is absorbed into the query, so only c is kept per key. params: down (d + d_v, rank), up_k (rank, d), up_v
    (rank, d_v), at first an orthonormal basis and its transpose: lossless where rank = d + d_v (the default while that
    is at most 128), otherwise values are rebuilt with an error and the softmax laws hold for the rebuilt ones.
    """
    axes = np.broadcast_shapes(k.shape[:-1], v.shape[:-1])
    pair = [np.broadcast_to(x, (*axes, x.shape[-1])) for x in (k, v)]
    c = np.concatenate(pair, axis=-1) @ params["down"]
    absorbed = (q * q.dtype.type(q.shape[-1] ** -0.5)) @ params["up_k"].T
    return softmax(absorbed @ np.swapaxes(c, -1, -2)) @ c @ params["up_v"]


@mechanism("causal", number=9, family="core", source=ATTENTION)
def causal(
    q: Array, k: Array, v: Array, *, positions: Array | None = None, query_positions: Array | None = None
) -> Array:
    """Dot product over the keys whose position is not later than the query's (Vaswani 2017).

    Positions default to row numbers. A query earlier than every key has seen nothing: its output is zero.
    """
    offset = offsets(positions, query_positions, q.shape[-2], k.shape[-2])
    return masked_softmax(scores(q, k), causal_mask(offset), blind_sees_all=False) @ v


@mechanism("cosine", number=11, family="core", source="Liu et al. 2022, Swin Transformer V2")
def cosine(q: Array, k: Array, v: Array, *, tau: float = 10.0) -> Array:
    """softmax(tau cos(q, k)) v (Liu 2022, with tau for 1 / tau): long vectors get no extra weight."""
    return softmax(tau * (unit_length(q) @ np.swapaxes(unit_length(k), -1, -2))) @ v


@mechanism("sparsemax", number=13, family="core", source="Martins & Astudillo 2016, From Softmax to Sparsemax")
def sparsemax_attention(q: Array, k: Array, v: Array) -> Array:
    """Scores projected on the simplex instead of softmax (Martins 2016): most weights are exactly zero."""
    return sparsemax(scores(q, k)) @ v
