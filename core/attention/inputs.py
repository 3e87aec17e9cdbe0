"""What enters a mechanism: shapes, dtypes and finiteness, checked once for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Array = NDArray[Any]
PER_KEY = ("positions", "timestamps", "groups", "degrees")  # (..., n)
PER_QUERY = ("query_positions", "query_timestamps")  # (..., n_q)
PER_PAIR = ("hops", "adjacency")  # broadcast to (..., n_q, n)
COUNTS = {"heads", "block", "top_k", "stride", "landmarks", "iterations", "steps"}  # whole numbers from 1
POSITIVE = {"tau", "temperature", "epsilon", "curvature", "base"}
NOT_NEGATIVE = {"window", "radius", "globals", "slope", "decay", "restart", "time"}  # infinity allowed


def check_shapes(name: str, q: Any, k: Any, v: Any) -> tuple[Array, Array, Array, tuple[int, ...]]:
    """q, k, v as arrays of one float dtype, and the common leading axes. Raises InvalidInput with both shapes."""
    q, k, v = _floats(name, "q", q), _floats(name, "k", k), _floats(name, "v", v)
    if q.shape[-1] != k.shape[-1]:
        raise InvalidInput(f"{name} attention: q has shape {q.shape} and k has shape {k.shape}; their last axes differ")
    if k.shape[-2] != v.shape[-2]:
        raise InvalidInput(f"{name} attention: k has shape {k.shape} and v has shape {v.shape}; their lengths differ")
    batch: tuple[int, ...] = ()
    if max(q.ndim, k.ndim, v.ndim) > 2:
        try:
            batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        except ValueError as error:
            shapes = f"q has shape {q.shape}, k has shape {k.shape}, v has shape {v.shape}"
            raise InvalidInput(f"{name} attention: {shapes}; their leading axes do not broadcast") from error
    if not (q.dtype.char == k.dtype.char == v.dtype.char):
        q, k, v = (x.astype(np.float64) for x in (q, k, v))
    return q, k, v, batch


def _floats(name: str, label: str, x: Any) -> Array:
    """`x` as a finite float32 or float64 array of rows."""
    try:
        array = x if type(x) is np.ndarray else np.asarray(x)
        array = array if array.dtype.char in "fd" else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} attention: {label} is not an array of numbers: {error}") from error
    if array.ndim < 2 or array.size == 0:
        raise InvalidInput(f"{name} attention: {label} has shape {array.shape}, expected (..., rows, d) and not empty")
    if not np.isfinite(array).all():
        raise InvalidInput(f"{name} attention: {label} contains NaN or infinity")
    return array


def check_settings(name: str, side: dict[str, Any]) -> None:
    """Raise InvalidInput for a setting outside its range."""
    for key in side.keys() & (COUNTS | POSITIVE | NOT_NEGATIVE):
        value = side[key]
        if key in COUNTS:
            fits, range_ = isinstance(value, int | np.integer) and value >= 1, "a whole number of at least 1"
        elif key in POSITIVE:
            fits, range_ = 0 < value < float("inf"), "positive and finite"
        else:
            fits, range_ = value >= 0, "at least 0"
        if not fits:
            raise InvalidInput(f"{name} attention: {key} must be {range_}, not {value!r}")


def check_data(name: str, side: dict[str, Any], batch: tuple[int, ...], n_q: int, n: int) -> None:
    """Replace the data among the side inputs by arrays of the right shape. Raises InvalidInput with both shapes."""
    for key, wanted in _data_shapes(name, side, batch, n_q, n).items():
        array = side[key] = _fitting(name, key, np.asarray(side[key]), wanted)
        if array.dtype.kind == "f":
            bad = np.isnan(array) if key == "hops" else ~np.isfinite(array)  # unreachable: infinitely many hops away
            if bad.any():
                raise InvalidInput(f"{name} attention: {key} contains NaN or infinity")
        if key in ("hops", "adjacency", "transition") and (array < 0).any():
            raise InvalidInput(f"{name} attention: {key} contains negative entries")


def _data_shapes(
    name: str, side: dict[str, Any], batch: tuple[int, ...], n_q: int, n: int
) -> dict[str, tuple[int, ...]]:
    """The shape that each piece of data among the side inputs must broadcast to."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(PER_KEY, (*batch, n))
    shapes |= dict.fromkeys(PER_QUERY, (*batch, n_q)) | dict.fromkeys(PER_PAIR, (*batch, n_q, n))
    if name == "grouped_query":
        del shapes["groups"]  # there a number of heads that share, not data
    if n_q > n and np.shape(side.get("positions", ()))[-1:] == (n_q,):
        shapes["positions"] = (*batch, n_q)  # the first n are those of the keys
    if "edge_features" in side:
        shapes["edge_features"] = (*batch, n_q, n, (np.shape(side["edge_features"]) or (1,))[-1])
    if "transition" in side:
        square = np.shape(side["transition"])[-2:-1] == (n,)
        shapes["transition"] = (*batch, n if square else n_q, n)
    return {key: shape for key, shape in shapes.items() if key in side}


def _fitting(name: str, key: str, array: Array, wanted: tuple[int, ...]) -> Array:
    """`array` if it is numeric and broadcasts to `wanted`; groups may be labels of any kind and are coded here."""
    if key == "groups" and array.dtype.kind in "USO":
        array = np.unique(array, return_inverse=True)[1].reshape(array.shape)
    try:
        fits = array.ndim > 0 and np.broadcast_shapes(array.shape, wanted) == wanted
    except ValueError:
        fits = False
    exact = 0 if key in PER_PAIR else 1 if key in (*PER_KEY, *PER_QUERY) else 2  # last axes that may not be broadcast
    if exact:
        fits = fits and array.shape[-exact:] == wanted[-exact:]
    if not fits or array.dtype.kind not in "biuf":
        raise InvalidInput(f"{name} attention: {key} has shape {array.shape} ({array.dtype}), expected shape {wanted}")
    return array
