"""The k largest entries of each row, dense or sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def largest_per_row(scores: NDArray[Any], k: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Columns and values of the k largest entries of each row of `scores` (m, n), largest first, ties by column.

    Returns (m, min(k, n)) indices and values. Which of several entries tied at the cut survive is not defined.
    """
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        index = np.argpartition(scores, -k, axis=1)[:, -k:]
    else:
        index = np.broadcast_to(np.arange(k), scores.shape)
    index = np.sort(index, axis=1)
    order = np.argsort(-np.take_along_axis(scores, index, axis=1), axis=1, kind="stable")
    index = np.take_along_axis(index, order, axis=1)
    return index, np.take_along_axis(scores, index, axis=1)


def keep_largest(matrix: sparse.csr_array, k: int) -> sparse.csr_array:
    """The same matrix with at most the k largest stored entries of each row, ties by column.

    Entries of a row are stored largest first (the column indices are not sorted).
    """
    matrix = sparse.csr_array(matrix)
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    rank = np.arange(len(row)) - matrix.indptr[row]  # rows stay together, so positions in `order` rank within the row
    kept = order[rank < k]
    counts = np.minimum(np.diff(matrix.indptr), k)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_array((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)
