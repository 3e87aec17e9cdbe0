"""Content vectors by latent semantic analysis, and each title's most similar titles by shared features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.numeric.sparse import truncated_svd
from core.snapshot.neighbours import blank, put_dense, row_blocks
from core.snapshot.snapshot import Neighbours


def content_vectors(features: sparse.csr_array, dims: int, rng: np.random.Generator) -> NDArray[np.float16]:
    """(n, d) unit rows, d = min(dims, n, m), at least 1: latent semantic analysis (Deerwester et al. 1990).

    Rows of U S^(3/4) of the (n, m) features: with S, genre and era crowd out the rest; without it a small catalogue's
    rows would all be orthogonal (Bullinaria & Levy 2012 tune this exponent likewise). A title that shares no feature
    with any other keeps a zero row: it is like nothing, not like everything.
    """
    if not features.shape[1]:
        return np.zeros((features.shape[0], 1), np.float16)
    left, singular = truncated_svd(features, dims, rng)
    vectors = left * singular**0.75
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-5).astype(np.float16)


def content_neighbours(features: sparse.csr_array, k: int) -> Neighbours:
    """The k largest products with other titles for each of n titles. Exact, in blocks.

    features: (n, m) of `content_features`. The features themselves and not the vectors: what two titles share exactly
    (a rare keyword, a director) predicts likes better than what the dimensions smooth it to.
    """
    n = features.shape[0]
    lists = blank(n, k)
    transposed = sparse.csr_array(features.T)
    for rows in row_blocks(n):
        scores = (features[rows] @ transposed).toarray()
        scores[np.arange(len(rows)), rows] = 0.0  # before the cut, so that k others remain
        put_dense(lists, rows, scores)
    return lists
