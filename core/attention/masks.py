"""Who sees whom: offsets between query and key positions, hop buckets, window and causal masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
EXACT_HOPS = 8
FARTHEST_HOP = 2**20  # stands for unreachable


def offsets(positions: Array | None, query_positions: Array | None, n_q: int, n: int) -> Array:
    """Key position minus query position, (..., n_q, n).

    positions: (..., n), the row numbers when None. Query i sits at positions[i] unless query_positions (..., n_q) says
    otherwise; queries beyond the last position sit on it.
    """
    if positions is None:
        positions = np.arange(max(n_q, n))
    if query_positions is None:
        query_positions = positions[..., np.minimum(np.arange(n_q), positions.shape[-1] - 1)]
    return positions[..., None, :n] - query_positions[..., :, None]


def window_mask(offset: Array, window: float) -> Array:
    """True where |i - j| <= window."""
    return np.abs(offset) <= window


def causal_mask(offset: Array) -> Array:
    """True where the key is not later than the query."""
    return offset <= 0


def hop_bucket(hops: Array) -> Array:
    """Hop distances as bucket numbers: exact up to 8, then 8 + ceil(log2 hops); infinite is the last bucket, 28."""
    near = np.clip(np.asarray(hops, dtype=np.float64), 0, FARTHEST_HOP)
    far = EXACT_HOPS + np.ceil(np.log2(np.maximum(near, 1)))
    return np.where(near <= EXACT_HOPS, np.rint(near), far).astype(np.int64)
