"""Vectors: validation, length, cosine, the best k. Everything that enters the numeric code passes through here once."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Floats = NDArray[np.float32]
FLOAT32 = np.dtype(np.float32)


@lru_cache(maxsize=64)
def finite_probe(dim: int) -> Floats:
    """The vector p whose dot product with x (dim,) is finite exactly if x is. Its elements are small, so that no finite
    float32 overflows; infinity and NaN survive the product."""
    probe = np.full(dim, 1e-15, dtype=np.float32)
    probe.flags.writeable = False
    return probe


def is_finite(x: Floats) -> bool:
    """True if no element is NaN or infinite: one matrix-vector product instead of a mask of the same size."""
    rows = x.reshape(-1, x.shape[-1]) if x.ndim and x.size else x.reshape(-1, 1)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return bool(np.isfinite(rows @ finite_probe(rows.shape[1])).all())


def require_finite(x: object, name: str, shape: tuple[int | None, ...] | None = None) -> Floats:
    """`x` as a contiguous float32 array of the wanted shape, every element finite.

    shape: one entry per axis, None = any length; omitted = any shape. Raises InvalidInput, which names the argument.
    The result may share memory with `x`.
    """
    try:
        with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinite and is refused below
            array = np.ascontiguousarray(x, dtype=np.float32) if np.ndim(x) else np.asarray(x, dtype=np.float32)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is not an array of numbers: {error}") from error
    if shape is not None:
        fits = array.ndim == len(shape)
        if not fits or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
            wanted = "x".join("any" if axis is None else str(axis) for axis in shape)
            raise InvalidInput(f"{name} has shape {array.shape}, expected ({wanted})")
    if not is_finite(array):
        raise InvalidInput(f"{name} contains NaN or infinity")
    return array


def require_vector(x: object, dim: int, name: str) -> Floats:
    """`x` as a finite float32 vector of `dim` elements; well under a microsecond when it already is one."""
    if type(x) is np.ndarray and x.dtype is FLOAT32 and x.shape == (dim,):
        try:
            if math.isfinite(x.dot(finite_probe(dim))):
                return x
        except RuntimeWarning:  # both infinities, where warnings are errors
            pass
    return require_finite(x, name, (dim,))


def require_number(x: object, name: str) -> float:
    """`x` as a finite float. Raises InvalidInput."""
    try:
        number = float(x)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{name} is not a number: {x!r}") from error
    if not math.isfinite(number):
        raise InvalidInput(f"{name} is {number}")
    return number


def unit(x: Floats) -> Floats:
    """`x` / |x|; a zero vector stays zero. x: (d,)."""
    wide = x.astype(np.float64)  # no float32 overflows or vanishes when squared in double precision
    length = math.sqrt(wide.dot(wide))
    return (wide * (1.0 / length)).astype(np.float32) if length > 0.0 else x


def unit_rows(x: Floats) -> Floats:
    """Every row divided by its length; zero rows stay zero. x: (n, d)."""
    peak = np.abs(x).max(axis=1, keepdims=True, initial=0.0)
    scaled = x / np.where(peak > 0, peak, 1)  # so that neither huge nor tiny rows overflow when squared
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)


def cosine(a: Floats, b: Floats) -> Any:
    """Cosine similarity: a float for two vectors, (n,) for a matrix (n, d) and a vector, (n, m) for two matrices.

    Zero vectors have cosine 0 to everything. Raises InvalidInput if the dimensions differ.
    """
    if a.shape[-1] != b.shape[-1]:
        raise InvalidInput(f"cosine of {a.shape[-1]} and {b.shape[-1]} dimensions")
    left = unit_rows(np.atleast_2d(a))
    right = unit_rows(np.atleast_2d(b))
    similarity = left @ right.T
    if a.ndim == 1:
        similarity = similarity[0]
    if b.ndim == 1:
        similarity = similarity[..., 0]
    return float(similarity) if a.ndim == b.ndim == 1 else similarity


def top_k(scores: Floats, k: int) -> NDArray[np.intp]:
    """Indices of the k largest scores, best first; equal scores in index order. scores: (n,). O(n + k log k)."""
    k = min(max(k, 0), len(scores))
    if k == 0:
        return np.empty(0, dtype=np.intp)
    if k < len(scores):
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= kth)  # with ties, more than k: the stable sort below keeps the first
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
