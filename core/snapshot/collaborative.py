"""Who liked this also liked: item-item weights, EASE where there is evidence, cosine where there is little."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from core.snapshot.neighbours import blank, put_dense, row_blocks
from core.snapshot.snapshot import Neighbours

_BLOCK = 512  # rows of a dense block: 512 x 12 000 float32 is 25 MB


def _gram(x: sparse.csr_array) -> NDArray[np.float32]:
    """X^T X of a sparse (users, c) matrix as a dense (c, c) array; in blocks, the sparse product is larger still."""
    transposed = sparse.csr_array(x.T)
    gram = np.empty((x.shape[1], x.shape[1]), np.float32)
    for start in range(0, len(gram), _BLOCK):
        gram[start : start + _BLOCK] = (transposed[start : start + _BLOCK] @ x).toarray()
    return gram


def _invert(gram: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of a positive definite matrix, in place: Cholesky does a third of the work of a general inverse."""
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)  # .T: Fortran order without a copy
    if not failed:
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise np.linalg.LinAlgError("co-occurrences are not positive definite: the regularisation is too small")
    upper = inverse.T  # rows of the upper triangle, C order
    for start in range(0, len(upper), _BLOCK):
        end = start + _BLOCK
        upper[end:, start:end] = upper[start:end, end:].T
        corner = upper[start:end, start:end]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return upper


def ease_weights(x: sparse.csr_array, regularisation: float) -> NDArray[np.float32]:
    """(c, c) weights B of the Embarrassingly Shallow AutoEncoder (Steck 2019, eq. 8): a user's scores are X B.

    x: (users, c) implicit feedback. P = (X^T X + lambda I)^-1, B_ij = -P_ij / P_jj, B_ii = 0. float32 suffices: with
    lambda on the scale that is used here the condition number is far below its 1e7.
    """
    gram = _gram(x)
    gram[np.diag_indices_from(gram)] += regularisation
    weights = _invert(gram)
    diagonal = weights.diagonal().copy()
    for start in range(0, len(weights), _BLOCK):  # in blocks: no second (c, c) array
        weights[start : start + _BLOCK] /= -diagonal
    weights[np.diag_indices_from(weights)] = 0.0
    return weights


def shrunk_cosine(x: sparse.csr_array, rows: NDArray[Any], shrinkage: float) -> NDArray[np.float32]:
    """(m, n) cosine of the titles `rows` with all titles, times n_ij / (n_ij + shrinkage) (Bell & Koren 2007); own 0.

    x: (users, n) zeros and ones. n_ij is the number of users who liked both.
    """
    count = np.asarray(x.sum(axis=0)).ravel()
    shared = (sparse.csr_array(x.T)[rows] @ x).toarray()
    shared[np.arange(len(rows)), rows] = 0.0
    norm = np.sqrt(np.maximum(count[rows, None] * count, 1.0))
    return (shared / norm * (shared / (shared + shrinkage))).astype(np.float32)


def cosine_neighbours(x: sparse.csr_array, k: int, shrinkage: float) -> Neighbours:
    """The k titles of the largest shrunk cosine for each of n titles; x: (users, n) zeros and ones."""
    lists = blank(x.shape[1], k)
    for rows in row_blocks(x.shape[1]):
        put_dense(lists, rows, shrunk_cosine(x, rows, shrinkage))
    return lists


def dense_titles(count: NDArray[Any], min_positives: int, max_titles: int) -> NDArray[np.int64]:
    """Rows that EASE covers, ascending: those with enough positives, at most `max_titles` of them, most liked first."""
    eligible = np.flatnonzero(count >= max(min_positives, 1))
    by_count = eligible[np.argsort(-count[eligible], kind="stable")]
    return np.sort(by_count[:max_titles])


def collaborative_neighbours(
    x: sparse.csr_array, k: int, regularisation: float, min_positives: int, max_titles: int, shrinkage: float
) -> Neighbours:
    """Item-item lists of all n titles from x, (users, n) zeros and ones.

    The k largest positive EASE weights of each covered title; for the others the shrunk cosine, scaled so that their
    strongest neighbours weigh on average what those of the covered titles do, because a request adds up both.
    """
    n = x.shape[1]
    lists = blank(n, k)
    count = np.asarray(x.sum(axis=0)).ravel()
    dense = dense_titles(count, min_positives, max_titles)
    if len(dense):
        weights = ease_weights(sparse.csr_array(x[:, dense]), regularisation)
        for start in range(0, len(dense), _BLOCK):
            put_dense(lists, dense[start : start + _BLOCK], weights[start : start + _BLOCK], dense)
    rest = np.setdiff1d(np.flatnonzero(count), dense)
    strongest = lists.weight[dense, 0].astype(np.float64).mean() if len(dense) else 0.0
    _put_cosine(lists, x, rest, shrinkage, strongest)
    return lists


def _put_cosine(lists: Neighbours, x: sparse.csr_array, rows: NDArray[Any], shrinkage: float, strongest: float) -> None:
    for block in row_blocks(x.shape[1], rows):
        put_dense(lists, block, shrunk_cosine(x, block, shrinkage))
    found = lists.weight[rows, 0].astype(np.float64).mean() if len(rows) else 0.0
    if strongest and found:
        lists.weight[rows] = (lists.weight[rows] * (strongest / found)).astype(np.float16)
