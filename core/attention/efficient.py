"""Attention without the full score matrix, or with a cheaper one (numbers 4, 10, 12, 36-38)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.dense import scores
from core.attention.registry import mechanism
from core.numeric.activations import elu_plus_one, layer_norm, silu, softmax

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def _kernel_attention(features_q: Array, features_k: Array, v: Array) -> Array:
    """phi(q) (sum phi(k) v^T) / phi(q) . sum phi(k), (..., n_q, m), (..., n, m), (..., n, d_v) -> (..., n_q, d_v).

    Linear in the number of keys; for few queries the other order of the same product is cheaper.
    """
    (n_q, m), (n, d_v) = features_q.shape[-2:], v.shape[-2:]
    turned = np.swapaxes(features_k, -1, -2)
    few = n_q * n * (m + d_v) < (n + n_q) * m * d_v
    mixed = (features_q @ turned) @ v if few else features_q @ (turned @ v)
    return mixed / (features_q @ features_k.sum(axis=-2)[..., None])


@mechanism("linear", number=4, family="core", source="Katharopoulos et al. 2020, Transformers are RNNs")
def linear(q: Array, k: Array, v: Array) -> Array:
    """Kernel attention with phi(x) = elu(x) + 1 (Katharopoulos 2020).

    Features are divided by their row's largest, which cancels for the query and keeps huge keys finite; the small
    constant keeps the sum positive when every element is very negative.
    """
    phi_q, phi_k = (elu_plus_one(x) + x.dtype.type(1e-6) for x in (q, k))
    phi_q = phi_q / phi_q.max(axis=-1, keepdims=True)
    return _kernel_attention(phi_q, phi_k / phi_k.max(axis=(-1, -2), keepdims=True), v)


@mechanism(
    "performer", number=10, family="core", source="Choromanski et al. 2021, Rethinking Attention with Performers"
)
def performer(q: Array, k: Array, v: Array, *, params: Arrays) -> Array:
    """FAVOR+: positive orthogonal random features estimate the softmax kernel; the error falls with their number.

    params: features (m, d). phi(x) = exp(a |w|^2 + b w . x - |x|^2 / 2), b = sqrt(1 - 4a): a = 0 is Choromanski 2021,
    and `feature_damping` picks the a of least variance. Each query and the set of keys are shifted by their largest
    exponent, which cancels. Ours: the estimate is shrunk towards the mean of the values by s / (s + d/2), s being how
    many features effectively support the query, so that too few of them, or very long vectors, are never much worse
    than that mean.
    """
    scale, d = q.dtype.type(q.shape[-1] ** -0.25), q.shape[-1]
    w = params["features"].T
    damping = feature_damping(k * scale).astype(q.dtype)
    stretch = np.sqrt(1 - 4 * damping)

    def features(x: Array, axes: tuple[int, ...]) -> Array:
        exponent = stretch * (x @ w) - 0.5 * np.einsum("...i,...i->...", x, x)[..., None]
        exponent = exponent + damping * np.einsum("ij,ij->j", w, w)
        return np.exp(exponent - exponent.max(axis=axes, keepdims=True)) + x.dtype.type(1e-7)

    phi_q, phi_k = features(q * scale, (-1,)), features(k * scale, (-1, -2))
    support = phi_q * phi_k.sum(axis=-2, keepdims=True)
    support = support / support.sum(axis=-1, keepdims=True)
    effective = 1 / np.einsum("...i,...i->...", support, support)[..., None]
    trust = effective / (effective + q.dtype.type(d / 2))
    estimate = _kernel_attention(phi_q, phi_k, v)
    return trust * estimate + (1 - trust) * v.mean(axis=-2, keepdims=True)


def feature_damping(k: Array) -> Array:
    """The a <= 0 that minimises the variance of the kernel estimate for queries as long as the keys, (..., 1, 1).

    Likhosherstov et al. 2022 (Chefs' Random Tables) with |q + k|^2 taken as twice the keys' mean square.
    """
    d = k.shape[-1]
    spread = 2 * np.mean(np.einsum("...i,...i->...", k, k).astype(np.float64), axis=-1)[..., None, None]
    spread = np.maximum(spread, 1e-6)
    rho = (np.sqrt((2 * spread + d) ** 2 + 8 * spread * d) - 2 * spread - d) / (4 * spread)
    return np.minimum((1 - 1 / rho) / 8, 0)


@mechanism(
    "gated",
    number=12,
    family="core",
    source="Zhai et al. 2024, Actions Speak Louder than Words (HSTU)",
    softmax=False,
    row_weights=False,
)
def gated(q: Array, k: Array, v: Array) -> Array:
    """Layer norm of SiLU(q . k) v / n: pointwise gates, so that intensity is not normalised away (HSTU)."""
    gates = silu(q @ np.swapaxes(k, -1, -2)) / q.dtype.type(k.shape[-2])
    return layer_norm(gates @ v)


def segment_means(x: Array, count: int) -> Array:
    """Means of `count` consecutive segments of rows, sizes differing by at most one. (..., n, d) -> (..., count, d)."""
    starts = np.arange(count) * x.shape[-2] // count
    sizes = np.diff(np.append(starts, x.shape[-2])).astype(x.dtype)
    return np.add.reduceat(x, starts, axis=-2) / sizes[:, None]


@mechanism(
    "nystrom",
    number=36,
    family="specialized",
    source="Xiong et al. 2021, Nystromformer",
    softmax=False,
    row_weights=False,
)
def nystrom(q: Array, k: Array, v: Array, *, landmarks: int = 16) -> Array:
    """softmax(q K~) pinv(softmax(Q~ K~)) softmax(Q~ k) v with segment means as landmarks Q~, K~ (Xiong 2021).

    Exact with as many landmarks as rows. Weights may be negative. What the pseudo-inverse loses of a row's sum of 1
    goes to the mean of the values, so that equal values give that value. Small singular values are cut at 1e-3 of the
    largest, which bounds how far the inverse can amplify.
    """
    few_q = segment_means(q, min(landmarks, q.shape[-2]))
    few_k = segment_means(k, min(landmarks, k.shape[-2]))
    bridge = softmax(scores(few_q, few_k).astype(np.float64))
    left = softmax(scores(q, few_k)) @ np.linalg.pinv(bridge, rcond=1e-3).astype(q.dtype)
    lost = 1 - left.sum(axis=-1, keepdims=True)
    return left @ (softmax(scores(few_q, k)) @ v) + lost * v.mean(axis=-2, keepdims=True)


@mechanism("linformer", number=37, family="specialized", source="Wang et al. 2020, Linformer")
def linformer(q: Array, k: Array, v: Array, *, params: Arrays) -> Array:
    """softmax(q (E k)) (E v) with one projection E of the keys' axis to a shorter one (Wang 2020, shared E).

    params: pooling (length, n). It starts as means over random groups of keys, so that the rows are weights; with
    length = n it only reorders the keys and the result is exact. Trained ones may have any sign.
    """
    pooling = params["pooling"]
    return softmax(scores(q, pooling @ k)) @ (pooling @ v)


@mechanism("induced_set", number=38, family="specialized", source="Lee et al. 2019, Set Transformer")
def induced_set(q: Array, k: Array, v: Array, *, params: Arrays) -> Array:
    """Inducing points attend to the set, queries attend to them (Lee 2019 without the feed-forward layers).

    params: points (m, d). O((n_q + n) m); the order of the keys does not matter.
    """
    reading = softmax(scores(params["points"], k))  # (..., m, n)
    return softmax(scores(q, reading @ k)) @ (reading @ v)
