"""What people who liked the same titles liked, and what they watched next.

Item-item weights of a closed-form linear model (EASE, Steck 2019) are fed with a recency-decayed history and with all
that was ever liked; next-title transitions with the last five titles and with the very last; and there is a linear
model of the whole sequence (core.snapshot.sequences). All are linear in the history, so a request gathers and adds a
few hundred sparse rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking, top
from core.candidates.live import STEPS
from core.candidates.viewer import Viewer
from core.numeric.half import widened
from core.snapshot.snapshot import Neighbours

TRANSITION_WEIGHT = 2.0  # of z-scored transitions against z-scored EASE; best on leave-one-out and streams
TRANSITION_WINDOW = 5  # the snapshot counts transitions over five steps


def spread(neighbours: Neighbours, rows: NDArray, weights: NDArray, size: int) -> NDArray:
    """(size,) float64: sum over rows r of weights[r] times r's neighbour list."""
    index, values = gathered(neighbours, rows, weights)
    return np.bincount(index, values, minlength=size)


def gathered(neighbours: Neighbours, rows: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """(m K,) neighbours of m rows, and weights[r] times the weight of each."""
    values = widened(neighbours.weight.take(rows, axis=0))
    values *= weights[:, None]
    return neighbours.index.take(rows, axis=0).ravel(), values.ravel()


def similar(viewer: Viewer) -> NDArray:
    """(n,) item-item weights of the liked titles, the latest counting most."""
    liked = viewer.liked
    return spread(viewer.snapshot.collaborative, viewer.rows[liked], viewer.recency[liked], len(viewer.allowed))


def following(viewer: Viewer) -> NDArray:
    """(n,) how often others went on from the latest liked titles to each title."""
    latest = viewer.liked[-TRANSITION_WINDOW:]
    return spread(viewer.snapshot.transitions, viewer.rows[latest], viewer.recency[latest], len(viewer.allowed))


def onward(viewer: Viewer) -> NDArray:
    """(n,) how often others went on from the very last liked title to each title."""
    last = viewer.liked[-1:]
    return spread(viewer.snapshot.transitions, viewer.rows[last], viewer.liking[last], len(viewer.allowed))


def live(viewer: Viewer) -> NDArray:
    """(n,) how often others went on from the latest liked titles to each title since the snapshot was built."""
    size = len(viewer.allowed)
    if viewer.live is None:
        return np.zeros(size)
    latest = viewer.liked[-STEPS:]
    return viewer.live.spread(viewer.rows[latest], viewer.recency[latest], size)


def lasting(viewer: Viewer) -> NDArray:
    """(n,) item-item weights of everything liked, long ago or just now."""
    return spread(viewer.snapshot.collaborative, viewer.favourites, viewer.esteem, len(viewer.allowed))


def sequence(viewer: Viewer) -> NDArray:
    """(n,) what the sequence of liked titles leads to; zeros where the snapshot has no such model."""
    parts = []
    for decay, neighbours in viewer.snapshot.sequence.items():
        near = viewer.liked[-horizon(decay) :]
        weights = viewer.liking[near] * np.float32(decay) ** np.arange(len(near) - 1, -1, -1)
        parts.append(gathered(neighbours, viewer.rows[near], weights))
    if not parts:
        return np.zeros(len(viewer.allowed))
    index, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    return np.bincount(index, values, minlength=len(viewer.allowed))


def horizon(decay: float) -> int:
    """Steps after which what decays so counts less than a hundredth."""
    return math.ceil(math.log(0.01) / math.log(decay))


def collaborative_scores(viewer: Viewer) -> NDArray:
    """(n,) z-scores of the first two signals, added up; zeros for a viewer without positive history."""
    return z_scores(similar(viewer)) + TRANSITION_WEIGHT * z_scores(following(viewer))


def collaborative(viewer: Viewer, pool: int) -> Ranking:
    """The `pool` best by `collaborative_scores` among what is allowed."""
    return top(collaborative_scores(viewer), viewer.allowed, pool)


def z_scores(scores: NDArray) -> NDArray:
    """Zero mean, unit variance; a constant vector becomes zeros."""
    centred = scores - scores.sum() / len(scores)
    squares = float(centred @ centred)
    if squares <= 0:
        return np.zeros_like(scores)
    centred *= (len(scores) / squares) ** 0.5
    return centred
