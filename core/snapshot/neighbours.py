"""Making padded neighbour lists out of dense scores or sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.numeric.topk import keep_largest, largest_per_row
from core.snapshot.snapshot import Neighbours

# Neighbours weaker than float16's smallest step are dropped rather than stored with weight 0.
_SMALLEST = float(np.finfo(np.float16).smallest_subnormal)


_BLOCK_ENTRIES = 6_000_000  # of a dense block: 24 MB in float32


def row_blocks(n: int, rows: NDArray[Any] | None = None) -> list[NDArray[np.int64]]:
    """Cut `rows` (default: all n) into blocks whose dense (rows, n) scores stay small."""
    rows = np.arange(n) if rows is None else rows
    size = max(_BLOCK_ENTRIES // max(n, 1), 16)
    return np.split(rows, range(size, len(rows), size)) if len(rows) else []


def blank(n: int, k: int) -> Neighbours:
    """Lists without a neighbour: the own row with weight 0, k times."""
    index = np.repeat(np.arange(n, dtype=np.int32)[:, None], k, axis=1)
    return Neighbours(index, np.zeros((n, k), np.float16))


def put_dense(
    lists: Neighbours,
    rows: NDArray[Any],
    scores: NDArray[Any],
    columns: NDArray[Any] | None = None,
) -> None:
    """Write the lists of `rows` (m,): the largest positive `scores` (m, c), whose columns are `columns` (c,)."""
    index, value = largest_per_row(scores, lists.index.shape[1])
    target = index if columns is None else columns[index]
    _put(lists, rows, target, np.where(target == rows[:, None], 0.0, value))


def _put(lists: Neighbours, rows: NDArray[Any], target: NDArray[Any], value: NDArray[Any]) -> None:
    width = target.shape[1]
    weight = np.where(value >= _SMALLEST, value, 0.0).astype(np.float16)
    order = np.argsort(-weight.astype(np.float32), axis=1, kind="stable")  # a dropped own row leaves a hole
    weight = np.take_along_axis(weight, order, axis=1)
    target = np.where(weight > 0, np.take_along_axis(target, order, axis=1), rows[:, None])
    lists.index[rows, :width] = target
    lists.weight[rows, :width] = weight


def put_sparse(lists: Neighbours, rows: NDArray[Any], scores: sparse.csr_array) -> None:
    """Write the lists of `rows` (m,): the largest positive stored entries of `scores` (m, n), own rows left out."""
    scores = keep_largest(scores, lists.index.shape[1] + 1)  # one more, because the own row may be among them
    counts = np.diff(scores.indptr)
    width = int(counts.max(initial=0))
    target = np.repeat(rows[:, None], width, axis=1)
    value = np.zeros(target.shape, np.float32)
    within = np.arange(width) < counts[:, None]
    target[within], value[within] = scores.indices, scores.data
    value[target == rows[:, None]] = 0.0
    order = np.argsort(-value, axis=1, kind="stable")[:, : lists.index.shape[1]]
    _put(lists, rows, np.take_along_axis(target, order, axis=1), np.take_along_axis(value, order, axis=1))
