"""Content vectors by latent semantic analysis, and each title's most similar titles by shared features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.numeric.sparse import truncated_svd
from core.snapshot.neighbours import blank, put_dense, row_blocks
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Neighbours


@dataclass(frozen=True, slots=True, eq=False)
class Audience:
    """Where the content encoder puts n titles: `vectors` (n, d) and `fans` (n, d), the user vectors of who liked just
    that title, unit rows; `newness` (n,) in [0, 1], how much each title needs it; `strength` beside shared features."""

    vectors: NDArray[np.float32]
    fans: NDArray[np.float32]
    newness: NDArray[np.float32]
    strength: float


def newness(counts: NDArray[np.integer], p: SnapshotParameters) -> NDArray[np.float32]:
    """(n,) 1 for a title that nobody liked, 1/2 at `audience_half_likes`: its own likes take over from the encoder."""
    return np.asarray(1.0 / (1.0 + counts / p.audience_half_likes), dtype=np.float32)


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


def content_neighbours(features: sparse.csr_array, k: int, audience: Audience | None = None) -> Neighbours:
    """The k titles that go best with each of n titles. Exact, in blocks.

    features: (n, m) of `content_features`; without an audience a neighbour's weight is the product of the two rows. The
    features themselves and not vectors made of them: what two titles share exactly (a rare keyword, a director)
    predicts likes better than what the dimensions smooth it to. With an audience, a new title also weighs by how much
    the encoder's fit exceeds what the k best-fitting titles have at least: who has no history yet is not only found by
    shared words. Vectors of the texts are left out: cosine^6 beside shared features foretold likes on ml-latest-small
    (3 000 titles, three splits) by -.011 to +.008 NDCG@10; by .020 to .028 with the names of titles and people in the
    texts, but such texts are no good to search in (core.embedding.features.text_of).
    """
    n = features.shape[0]
    lists = blank(n, k)
    transposed = sparse.csr_array(features.T)
    for rows in row_blocks(n):
        scores = (features[rows] @ transposed).toarray()
        if audience is not None and audience.strength > 0:
            scores += audience.strength * _suited(audience, rows, k)
        scores[np.arange(len(rows)), rows] = 0.0  # before the cut, so that k others remain
        put_dense(lists, rows, scores)
    return lists


def _suited(audience: Audience, rows: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """(m, n) newness of each title times the excess of its fit with the fans of `rows` (m,) over the k-th best fit."""
    fit = audience.fans[rows] @ audience.vectors.T
    k = min(k, fit.shape[1])
    least = np.partition(fit, -k, axis=1)[:, -k][:, None]
    return np.asarray(np.maximum(fit - least, 0) * audience.newness, dtype=np.float32)
