"""Titles whose own text and facts resemble what the viewer liked, and not what they disliked."""

from __future__ import annotations

from numpy.typing import NDArray

from core.candidates.collaborative import spread
from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer


def content_scores(viewer: Viewer) -> NDArray:
    """(n,) sum of cosine neighbours of the history, weighted by signed taste."""
    return spread(viewer.snapshot.content, viewer.rows, viewer.taste, len(viewer.allowed))


def content(viewer: Viewer, pool: int) -> Ranking:
    """The `pool` best by `content_scores` among what is allowed."""
    return top(content_scores(viewer), viewer.allowed, pool)
