"""What an adapter is asked: the recent likes of a user as one vector of the space."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.adaptation.space import Space
from core.numeric.vectors import Floats

RECENT = 10  # liked titles in a query; 10 was at least as good as 3 and better than 1 in offline trials
DECAY = 0.8  # per title back, as in the ranking's history
SESSION_WEIGHT = 2.0  # of titles of the session that goes on: what is watched now says more about tonight


def recency_weights(positives: int, in_session: int = 0) -> Floats:
    """(min(positives, RECENT),) float32 weights of the latest likes, oldest first: 0.8^age, those of the latest
    `in_session` doubled. Read-only."""
    return _recency_weights(min(positives, RECENT), min(in_session, RECENT))


@lru_cache(maxsize=(RECENT + 1) ** 2)
def _recency_weights(positives: int, in_session: int) -> Floats:
    age = np.arange(positives - 1, -1, -1)
    weights = (DECAY**age * np.where(age < in_session, SESSION_WEIGHT, 1.0)).astype(np.float32)
    weights.flags.writeable = False
    return weights


def query_vector(space: Space, rows: NDArray[np.integer], weights: Floats) -> Floats:
    """(d,) float32 of length 1: the sum of weights[i] times sources[rows[i]].

    rows (k,): snapshot rows, -1 for a title that the snapshot does not know; weights (k,), see `recency_weights`.
    Zeros when nothing is known of the titles: every adapter is silent then.
    """
    known = rows >= 0
    total = weights[known].astype(np.float32) @ space.sources[rows[known]]
    norm = float(np.sqrt(total @ total))
    return total / np.float32(norm) if norm > 1e-12 else np.zeros(space.sources.shape[1], np.float32)
