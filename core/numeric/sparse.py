"""Sparse matrices as the snapshot needs them: normalisation, weighted similarity, truncated singular vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def scale_rows(matrix: sparse.csr_array, factors: NDArray[Any]) -> sparse.csr_array:
    """Multiply row i of a (n, m) matrix by factors[i]."""
    scaled = sparse.csr_array(matrix, copy=True)
    scaled.data = scaled.data * np.repeat(factors, np.diff(scaled.indptr)).astype(scaled.data.dtype)
    return scaled


def scale_columns(matrix: sparse.csr_array, factors: NDArray[Any]) -> sparse.csr_array:
    """Multiply column j of a (n, m) matrix by factors[j]."""
    scaled = sparse.csr_array(matrix, copy=True)
    scaled.data = scaled.data * np.asarray(factors, scaled.data.dtype)[scaled.indices]
    return scaled


def _inverse(values: NDArray[Any]) -> NDArray[Any]:
    """1 / values, 0 where values is 0."""
    return np.divide(1.0, values, out=np.zeros_like(values, dtype=np.float64), where=values != 0)


def unit_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows of Euclidean length 1; empty rows stay empty."""
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return scale_rows(matrix, _inverse(norms))


def stochastic_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows of a non-negative matrix that sum to 1; empty rows stay empty."""
    return scale_rows(matrix, _inverse(np.asarray(matrix.sum(axis=1)).ravel()))


def inverse_document_frequency(matrix: sparse.csr_array) -> NDArray[np.float64]:
    """(m,) ln((1 + n) / (1 + df)) for the columns of a (n, m) matrix (Spärck Jones 1972): 0 for what all rows have."""
    frequency = np.bincount(matrix.indices[matrix.data != 0], minlength=matrix.shape[1])
    return np.log((1 + matrix.shape[0]) / (1 + frequency))


def truncated_svd(
    matrix: sparse.csr_array, rank: int, rng: np.random.Generator, oversampling: int = 32, iterations: int = 5
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Leading left singular vectors and values of a sparse (n, m) matrix: U (n, r), s (r,), r = min(rank, n, m).

    Randomised subspace iteration on A A^T (Halko, Martinsson & Tropp 2011, algorithm 4.4): only (n, r) bases are
    orthogonalised, and the last step is a Rayleigh-Ritz one. The largest entry of each vector is positive, so that the
    same matrix and rng always give the same signs.
    """
    matrix = sparse.csr_array(matrix, dtype=np.float32)
    transposed = sparse.csr_array(matrix.T)
    size = min(rank + oversampling, *matrix.shape)
    basis, _ = np.linalg.qr(matrix @ rng.standard_normal((matrix.shape[1], size), dtype=np.float32))
    for _ in range(iterations):
        basis, _ = np.linalg.qr(matrix @ (transposed @ basis))
    projected = transposed @ basis  # (m, size)
    squared, rotation = np.linalg.eigh((projected.T @ projected).astype(np.float64))
    r = min(rank, size)
    largest_first = np.argsort(-squared, kind="stable")[:r]
    left = basis @ rotation[:, largest_first].astype(np.float32)
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(r)])
    signs[signs == 0] = 1.0
    return left * signs, np.sqrt(np.maximum(squared[largest_first], 0.0)).astype(np.float32)
