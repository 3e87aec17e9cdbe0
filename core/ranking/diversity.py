"""Diversity: maximal marginal relevance with a cap per genre."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def diversify(
    relevance: NDArray,
    vectors: NDArray,
    genres: NDArray,
    limit: int,
    lambda_: float = 0.7,
    genre_cap: float = 0.4,
) -> list[int]:
    """Maximal Marginal Relevance (Carbonell & Goldstein 1998) under a genre cap.

    relevance: (n,) fused scores, scaled here so that the best is 1; vectors: (n, d) unit rows; genres: (n,) primary
    genre codes, 255 unknown and never capped. Returns at most `limit` positions, best first. At most
    ceil(genre_cap * limit) share a primary genre, unless nothing else is left. lambda_ = 1 is pure relevance.
    """
    top = float(relevance.max(initial=0.0))
    scaled = relevance / top if top > 0 else relevance
    vectors = np.ascontiguousarray(vectors, np.float32)
    redundancy = np.zeros(len(scaled), np.float32)
    open_ = np.ones(len(scaled), bool)
    per_genre = max(1, math.ceil(genre_cap * limit))
    counts = np.zeros(256, np.int64)
    chosen: list[int] = []
    while len(chosen) < limit and open_.any():
        fresh = open_ & (counts[genres] < per_genre)
        score = lambda_ * scaled - (1 - lambda_) * redundancy
        best = int(np.argmax(np.where(fresh if fresh.any() else open_, score, -np.inf)))
        chosen.append(best)
        open_[best] = False
        counts[genres[best]] += genres[best] != 255
        redundancy = np.maximum(redundancy, vectors @ vectors[best])
    return chosen
