"""Diversity: maximal marginal relevance with a cap per genre."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNKNOWN_GENRE = 255  # never capped


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
    count = min(limit, len(relevance))
    top = float(relevance.max(initial=0.0))
    value = (lambda_ / top if top > 0 else 0.0) * relevance  # -inf once chosen
    vectors = np.ascontiguousarray(vectors, np.float32)
    similarity = (1 - lambda_) * (vectors @ vectors.T)
    redundancy = np.zeros(len(value), np.float32)
    free = value.copy()  # -inf too for the genres that are full
    per_genre = max(1, math.ceil(genre_cap * limit))
    counts = [0] * 256
    codes = genres.tolist()
    chosen: list[int] = []
    while len(chosen) < count:
        score = free - redundancy
        best = int(score.argmax())
        if score[best] == -np.inf:  # only full genres are left
            best = int((value - redundancy).argmax())
        chosen.append(best)
        value[best] = free[best] = -np.inf
        genre = codes[best]
        counts[genre] += genre != UNKNOWN_GENRE
        if counts[genre] == per_genre:
            free[genres == genre] = -np.inf
        np.maximum(redundancy, similarity[best], out=redundancy)
    return chosen
