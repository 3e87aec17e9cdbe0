"""Diversity: maximal marginal relevance with caps per genre and per franchise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.numeric.half import widened

UNKNOWN_GENRE, NO_FRANCHISE = 255, -1  # never capped


class Cap:
    """At most `most` chosen titles of one code; `unknown` is none. lasting: holds even when nothing else is left."""

    def __init__(self, codes: NDArray, unknown: int, most: int, lasting: bool) -> None:
        self.lasting = lasting
        self._codes, self._unknown, self._most = codes, unknown, most
        self._listed: list[int] = codes.tolist()
        self._taken: dict[int, int] = {}

    def count(self, place: int, score: NDArray) -> None:
        """Count a chosen title; once its code is full, the scores of all that have it become -inf."""
        code = self._listed[place]
        if code == self._unknown:
            return
        taken = self._taken[code] = self._taken.get(code, 0) + 1
        if taken == self._most:
            score[self._codes == code] = -np.inf

    def close(self, score: NDArray) -> None:
        """Close every code that is full in other scores."""
        full = [code for code, taken in self._taken.items() if taken >= self._most]
        score[np.isin(self._codes, full)] = -np.inf


def genre_cap(genres: NDArray, share: float, limit: int, lasting: bool = False) -> Cap:
    """At most ceil(share * limit) titles of one primary genre. genres: (n,) codes, 255 unknown."""
    return Cap(genres, UNKNOWN_GENRE, max(1, math.ceil(share * limit)), lasting)


def diversify(
    relevance: NDArray, vectors: NDArray, limit: int, lambda_: float = 0.7, caps: tuple[Cap, ...] = ()
) -> list[int]:
    """Maximal Marginal Relevance (Carbonell & Goldstein 1998) under caps.

    relevance: (n,) fused scores, scaled here so that the best is 1; vectors: (n, d) unit rows. Returns at most `limit`
    positions, best first. Caps that do not last are lifted when nothing else is left. lambda_ = 1 is pure relevance.
    """
    count = min(limit, len(relevance))
    best_relevance = float(relevance.max(initial=0.0))
    value = (lambda_ / best_relevance if best_relevance > 0 else 0.0) * relevance
    vectors = widened(vectors) if vectors.dtype == np.float16 else np.ascontiguousarray(vectors, np.float32)
    likeness = vectors @ vectors.T
    likeness *= np.float32(1 - lambda_)
    # Row i: what each title is worth once i is chosen. Its score is the least of the rows of all that are chosen.
    worth = value - np.maximum(likeness, 0.0)
    score = value.copy()  # -inf once chosen, and where a cap is reached
    chosen: list[int] = []
    while len(chosen) < count:
        best = int(score.argmax())
        if score[best] == -np.inf:
            lasting = tuple(cap for cap in caps if cap.lasting)
            if len(lasting) == len(caps):
                break
            caps, score = lasting, worth[chosen].min(axis=0)
            score[chosen] = -np.inf
            for cap in caps:
                cap.close(score)
            continue
        chosen.append(best)
        np.minimum(score, worth[best], out=score)
        score[best] = -np.inf
        for cap in caps:
            cap.count(best, score)
    return chosen
