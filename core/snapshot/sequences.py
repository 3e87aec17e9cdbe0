"""What comes next in a sequence: a linear model that looks back over two time scales at once.

SLIT (stacked): the whole past of a user, summed up with a fast and with a slow decay, foretells the next title by ridge
regression. Both sums are linear in the history, so the two tables of weights are all that a request needs; and the
normal equations need only how often one title came so many steps after another, never a matrix of prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from core.numeric.vectors import Floats
from core.snapshot.collaborative import dense_titles
from core.snapshot.neighbours import blank, put_dense
from core.snapshot.snapshot import Neighbours

WINDOW = 40  # steps that are looked back; .85^40 = .0015
_FAINT = 1e-3  # decayed weights below are not worth counting


def decayed_pairs(user: NDArray[Any], column: NDArray[Any], size: int, decays: Sequence[float]) -> list[Floats]:
    """For each decay g the (size, size) K_g[a, b] = sum over gaps of g^gap x how often b came gap steps after a.

    user, column: (m,) pairs sorted by user, then time; column -1 is a title that is left out but counts as a step.
    """
    sums = [np.zeros((size, size), np.float32) for _ in decays]
    for gap in range(1, WINDOW + 1):
        if max(decays) ** gap < _FAINT:
            break
        same = (user[gap:] == user[:-gap]) & (column[gap:] >= 0) & (column[:-gap] >= 0)
        ends = (column[:-gap][same], column[gap:][same])
        counts = sparse.csr_array((np.ones(len(ends[0]), np.float32), ends), shape=(size, size))
        counts.sum_duplicates()
        before = np.repeat(np.arange(size), np.diff(counts.indptr))
        for total, decay in zip(sums, decays, strict=True):
            if decay**gap >= _FAINT:
                total[before, counts.indices] += np.float32(decay**gap) * counts.data
    return sums


def sequence_weights(
    user: NDArray[Any], column: NDArray[Any], size: int, decays: Sequence[float], ridge: float
) -> list[Floats]:
    """For each decay g the (size, size) float32 B_g; a user's scores are the sum over g of x_g B_g.

    x_g = sum over past titles of g^(steps since) e(title). B = (A + ridge I)^-1 C with the blocks
    A_gh = [diag(count) + K_g + K_h^T] / (1 - g h) and C_g = K_g / g: least squares over every prefix of every user.
    """
    pairs = decayed_pairs(user, column, size, decays)
    count = np.bincount(column[column >= 0], minlength=size).astype(np.float32)
    normal = np.empty((len(decays) * size, len(decays) * size), np.float32, order="F")
    target = np.empty((len(decays) * size, size), np.float32, order="F")
    for i, (g, of_g) in enumerate(zip(decays, pairs, strict=True)):
        rows = slice(i * size, (i + 1) * size)
        target[rows] = of_g / np.float32(g)
        for j, (h, of_h) in enumerate(zip(decays, pairs, strict=True)):
            block = normal[rows, j * size : (j + 1) * size]
            block[:] = (of_g + of_h.T) / np.float32(1 - g * h)
            block[np.diag_indices(size)] += count / np.float32(1 - g * h)
    normal[np.diag_indices_from(normal)] += np.float32(ridge)
    _, solved, failed = lapack.sposv(normal, target, lower=1, overwrite_a=1, overwrite_b=1)
    if failed:
        raise np.linalg.LinAlgError("sequences are not positive definite: the regularisation is too small")
    return [solved[i * size : (i + 1) * size] for i in range(len(decays))]


def sequence_neighbours(
    user: NDArray[Any],
    row: NDArray[Any],
    n: int,
    k: int,
    decays: Sequence[float],
    ridge: float,
    min_positives: int,
    max_titles: int,
) -> list[Neighbours]:
    """For each decay the k largest positive weights of each of n titles; empty for titles with little evidence.

    user, row: (m,) positive pairs sorted by user, then time.
    """
    lists = [blank(n, k) for _ in decays]
    dense = dense_titles(np.bincount(row, minlength=n), min_positives, max_titles)
    if not len(dense):
        return lists
    column = np.full(n, -1, np.int64)
    column[dense] = np.arange(len(dense))
    weights = sequence_weights(user, column[row], len(dense), decays, ridge)
    for neighbours, found in zip(lists, weights, strict=True):
        put_dense(neighbours, dense, found, dense)
    return lists
