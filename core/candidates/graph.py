"""Titles that a random walk with restart reaches from the viewer's history.

The walk runs over typed relationships (franchise, director, cast, genre, co-watching) in the snapshot build. Since
personalised PageRank is linear in its restart distribution (Haveliwala 2002), adding per-title lists is the walk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.collaborative import spread
from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer


def graph_scores(viewer: Viewer) -> NDArray:
    """(n,) stationary probability of the walk restarting at the liked titles in proportion to taste."""
    restart = np.maximum(viewer.taste, 0.0)
    return spread(viewer.snapshot.graph, viewer.rows, restart, len(viewer.allowed))


def graph(viewer: Viewer, pool: int) -> Ranking:
    return top(graph_scores(viewer), viewer.allowed, pool)
