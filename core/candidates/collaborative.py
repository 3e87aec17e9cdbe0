"""What people who liked the same titles liked, and what they watched next.

Item-item weights of a closed-form linear model (EASE, Steck 2019) fed with a recency-decayed history, plus windowed
next-title transitions. Both are linear in the history, so a request gathers and adds a few hundred sparse rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer
from core.snapshot.snapshot import Neighbours

TRANSITION_WEIGHT = 2.0  # of z-scored transitions against z-scored EASE; best on leave-one-out and streams
TRANSITION_WINDOW = 5  # the snapshot counts transitions over five steps


def spread(neighbours: Neighbours, rows: NDArray, weights: NDArray, size: int) -> NDArray:
    """(size,) float64: sum over rows r of weights[r] times r's neighbour list."""
    if not len(rows):
        return np.zeros(size)
    values = neighbours.weight[rows] * weights[:, None]
    return np.bincount(neighbours.index[rows].ravel(), values.ravel(), minlength=size)


def collaborative_scores(viewer: Viewer) -> NDArray:
    """(n,) combined z-scores; zeros for a viewer without positive history."""
    liked = viewer.recency > 0
    rows, weights = viewer.rows[liked], viewer.recency[liked]
    size = len(viewer.allowed)
    similar = z_scores(spread(viewer.snapshot.collaborative, rows, weights, size))
    latest = slice(-TRANSITION_WINDOW, None)
    following = z_scores(spread(viewer.snapshot.transitions, rows[latest], weights[latest], size))
    return similar + TRANSITION_WEIGHT * following


def collaborative(viewer: Viewer, pool: int) -> Ranking:
    return top(collaborative_scores(viewer), viewer.allowed, pool)


def z_scores(scores: NDArray) -> NDArray:
    """Zero mean, unit variance; a constant vector becomes zeros."""
    centred = scores - scores.sum() / len(scores)
    squares = float(centred @ centred)
    if squares <= 0:
        return np.zeros_like(scores)
    centred *= (len(scores) / squares) ** 0.5
    return centred
