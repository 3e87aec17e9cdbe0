"""From facts to preference: how much a title counts, how that fades, and the vector that sums it up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.profile.state import Fact

DAY_S = 86_400.0
DECAY_PER_HALF_LIFE = 0.95  # specification: 0.95 ^ (days / 30)
DECAY_DAYS = 30.0
GENRE_SMOOTHING = 0.1  # share of a new observation in the genre affinity's moving average


def decay(days: NDArray | float) -> NDArray | float:
    """Time decay 0.95^(days/30): 1 today, .95 after 30 days, .857 after 90."""
    return DECAY_PER_HALF_LIFE ** (np.asarray(days) / DECAY_DAYS)


def engagement(
    progress: NDArray | float,
    stars: NDArray | float = np.nan,
    rewatched: NDArray | bool = False,
    dismissed: NDArray | bool = False,
) -> NDArray:
    """Engagement in [0, 1]: completion .4, rating .3, rewatch .2, dismissal -.5 (specification section 4).

    progress: share watched 0..1; stars: 1..5 or NaN where unrated. Arrays of one shape, or scalars.
    Below 30 % watched, completion scores less than half.
    """
    completion = 0.5 + (np.asarray(progress) - 0.3) / 1.4
    rated = np.where(np.isnan(stars), 0.15 * completion, 0.3 * (np.nan_to_num(stars) - 1) / 4)
    score = 0.4 * completion + rated + 0.2 * np.asarray(rewatched) - 0.5 * np.asarray(dismissed)
    return np.clip(score, 0.0, 1.0)


def genre_affinity(affinity: float, observed: float) -> float:
    """Exponential moving average of engagement with a genre; .5 is neutral: .5 then .8 -> .53."""
    return (1 - GENRE_SMOOTHING) * affinity + GENRE_SMOOTHING * observed


# By flags: looking up costs a tenth of comparing bit by bit, and most histories are short.
_ALL_FACTS = range(2 * max(Fact))
_ACTED = np.array([0.3 if facts & Fact.STARTED else 0.2 if facts & Fact.CLICKED else 0.0 for facts in _ALL_FACTS])
_SKIPPED = np.array([bool(facts & Fact.SKIPPED) for facts in _ALL_FACTS])
_AGAIN = np.array([0.2 if facts & Fact.REWATCHED else 0.0 for facts in _ALL_FACTS])


def preference_weights(history: NDArray) -> NDArray:
    """(n,) float32 in [-1, 1]: what each title of a history says about taste; 0 says nothing.

    An opinion decides alone (three stars are neutral, four already full approval: people rate what they chose to
    watch); otherwise progress, then a start, a click, and a skip, which is weak and negative.
    """
    facts, stars = history["flags"] & (len(_ACTED) - 1), history["stars"]
    weights = np.minimum(np.maximum(stars - 3.0, -1.0), 1.0)
    unrated = np.isnan(stars)
    if unrated.any():
        weights = np.where(unrated, _implied(facts, history["progress"]), weights)
    weights = weights + _AGAIN[facts] * (weights > 0)
    return np.minimum(weights, 1.0).astype(np.float32)


def _implied(facts: NDArray, progress: NDArray) -> NDArray:
    """(n,) what is said by watching alone."""
    implied = np.where(progress > 0, np.where(progress >= 0.9, 1.0, 0.8 * progress), _ACTED[facts])
    implied[_SKIPPED[facts] & (progress < 0.5)] = -0.3
    return implied


def preference_vector(history: NDArray, vectors: NDArray, now: float) -> NDArray:
    """The user's taste as one unit vector, (d,) float32; zeros for a user without evidence.

    history: (n,) entries; vectors: (n, d) content vectors of the same titles. Weighted by decay times engagement,
    dismissed titles pull away (specification section 4.1, with the sign of the dismissal kept).
    """
    if not len(history):
        return np.zeros(vectors.shape[1], np.float32)
    days = np.maximum(now - history["last_at"], 0.0) / DAY_S
    dismissed = preference_weights(history) < 0
    rewatched = (history["flags"] & Fact.REWATCHED) != 0
    liked = engagement(history["progress"], history["stars"], rewatched)
    weight = (decay(days) * np.where(dismissed, -0.5, liked)).astype(np.float32)
    vector = weight @ vectors.astype(np.float32)
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
