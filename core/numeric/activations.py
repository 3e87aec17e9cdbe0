"""Activation functions and normalisers. All keep the dtype of their input and never overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def softmax(z: Array, axis: int = -1) -> Array:
    """exp(z) / sum exp(z) along `axis`, shifted by the maximum so that no exponential overflows."""
    e = z - z.max(axis=axis, keepdims=True)
    np.exp(e, out=e)
    e /= e.sum(axis=axis, keepdims=True)
    return e


def masked_softmax(z: Array, visible: Array, blind_sees_all: bool = True) -> Array:
    """Softmax over the visible entries of the last axis; the others get weight 0.

    z: (..., n); visible: bool, broadcast to z. A row that sees nothing ignores the mask, or, with
    `blind_sees_all=False`, is all zeros.
    """
    masked = np.where(visible, z, -np.inf)
    top = masked.max(axis=-1, keepdims=True)
    blind = np.isneginf(top)
    if blind.any():
        if blind_sees_all:
            masked = np.where(blind, z, masked)
            top = np.where(blind, z.max(axis=-1, keepdims=True), top)
        else:
            top = np.where(blind, z.dtype.type(0), top)
    masked -= top
    e = np.exp(masked, out=masked)
    total = e.sum(axis=-1, keepdims=True)
    e /= np.where(total > 0, total, z.dtype.type(1))
    return e


def log_sum_exp(z: Array, axis: int = -1) -> Array:
    """log sum exp(z) along `axis`, which is dropped. Rows that are all -infinity are not allowed."""
    top = z.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(z - top).sum(axis=axis))


def sparsemax(z: Array) -> Array:
    """Euclidean projection of each row of z (..., n) on the simplex (Martins & Astudillo 2016)."""
    shifted = z - z.max(axis=-1, keepdims=True)
    descending = -np.sort(-shifted, axis=-1)
    rank = np.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    summed = np.cumsum(descending, axis=-1)
    support = (1 + rank * descending > summed).sum(axis=-1, keepdims=True)
    threshold = (np.take_along_axis(summed, support - 1, axis=-1) - 1) / support.astype(z.dtype)
    return np.maximum(shifted - threshold, 0)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written with tanh, which saturates instead of overflowing."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def silu(x: Array) -> Array:
    """x sigmoid(x), also called swish (Elfwing et al. 2018)."""
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    """x Phi(x) by the tanh approximation of Hendrycks & Gimpel 2016, within 5e-4 of the exact value."""
    bounded = np.clip(x, -10, 10)  # beyond, the gate is 0 or 1 to the last bit; the cube would overflow
    return x * (0.5 * np.tanh(0.7978845608028654 * (bounded + 0.044715 * bounded**3)) + 0.5)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where positive, alpha (exp(x) - 1) elsewhere (Clevert et al. 2016)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_plus_one(x: Array) -> Array:
    """elu(x) + 1 as max(x, 0) + exp(min(x, 0)): always positive until exp underflows, and faster than expm1."""
    below = np.minimum(x, 0)
    np.exp(below, out=below)
    below += np.maximum(x, 0)
    return below


def leaky_relu(x: Array, slope: float | Array = 0.2) -> Array:
    """x where positive, slope * x elsewhere: a number in [0, 1] or an array of any slopes (PReLU, He et al. 2015)."""
    if isinstance(slope, float):
        below = x * slope
        return np.maximum(x, below, out=below)
    below = np.minimum(x, 0)  # max + slope * min: three vectorised passes, where a mask would branch
    below *= slope
    below += np.maximum(x, 0)
    return below


def layer_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """Rows of x (..., d) shifted to mean 0 and scaled to variance 1 (Ba et al. 2016), without gain and bias.

    `epsilon` is relative to the mean square of the row, so that tiny rows keep their direction.
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    floor = epsilon * np.mean(x * x, axis=-1, keepdims=True) + np.finfo(x.dtype).tiny
    return centred / np.sqrt(variance + floor)
