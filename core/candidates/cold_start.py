"""Before there is a history: chosen genres, then people like you, then what is trending."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.context import genre_mask
from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer

ENOUGH_POSITIVES = 5  # from the fifth liked title on, the history speaks for itself
GENRE_WEIGHT, DEMOGRAPHIC_WEIGHT, TRENDING_WEIGHT = 0.5, 0.2, 0.3  # specification order: genres, demographic, trending


def cold_start_share(positives: int) -> float:
    """How much cold start decides: all for a new viewer, half as much with each liked title, nothing from the fifth on.

    Against a linear fall the accuracy of new users is the same within its error, and the first like is seen at once.
    """
    return 0.5**positives if positives < ENOUGH_POSITIVES else 0.0


def cold_start_scores(viewer: Viewer) -> NDArray:
    """(n,) convex mix of three popularities: in chosen genres, in the viewer's segments, and overall, which the bandit
    over genres bends (core.candidates.arms)."""
    about = viewer.state.onboarding
    trending = viewer.trending if viewer.genre_lifts is None else viewer.trending * viewer.genre_lifts
    parts = [(TRENDING_WEIGHT, trending)]
    if about and about.genres:
        mask = genre_mask(viewer.snapshot, about.genres)
        parts.append((GENRE_WEIGHT, _within_genres(viewer, mask)))
    segments = _segments(viewer)
    if len(segments):
        parts.append((DEMOGRAPHIC_WEIGHT, viewer.snapshot.segments[segments].mean(axis=0)))
    total = sum(weight for weight, _ in parts)
    return np.sum([weight / total * part for weight, part in parts], axis=0)


def cold_start(viewer: Viewer, pool: int) -> Ranking:
    """The `pool` best by `cold_start_scores` among what is allowed."""
    return top(cold_start_scores(viewer), viewer.allowed, pool)


def _within_genres(viewer: Viewer, mask: np.uint32) -> NDArray:
    """Popularity among titles of the chosen genres, weighted by how much of a title's genres were chosen."""
    genres = viewer.snapshot.attributes["genres"]
    match = np.bitwise_count(genres & mask) / np.maximum(np.bitwise_count(genres), 1)
    popular = viewer.trending * match
    total = float(popular.sum())
    return popular / total if total > 0 else popular


def _segments(viewer: Viewer) -> list[int]:
    about, names = viewer.state.onboarding, viewer.snapshot.vocabulary.segments
    region = viewer.context.region or (about.region if about else None)
    wanted = [f"region:{region}" if region else None]
    if about:
        wanted += [f"age:{about.age_band}", f"language:{about.language}"]
    return [names.index(name) for name in wanted if name in names]
