"""Titles that a random walk with restart reaches from the viewer's history, and those of the same communities.

The walk runs over typed relationships (franchise, director, cast, genre, co-watching) in the snapshot build. Since
personalised PageRank is linear in its restart distribution (Haveliwala 2002), adding per-title lists is the walk. The
lists end after a hundred titles; communities of the same graph go on where they end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.collaborative import spread
from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer

# A title of the viewer's main community stands as high as one that is visited so often, as a share of the most visited.
# NDCG@10 on two validation windows, 2 000 events each: +.0023 +-.0009 and +.0008 +-.0014; .1 brings less.
COMMUNITY_SHARE = 0.3


def graph_scores(viewer: Viewer) -> NDArray:
    """(n,) stationary probability of the walk restarting at the liked titles in proportion to taste; plus what the
    title's community has of the viewer's taste, in terms of the most visited title."""
    restart = np.maximum(viewer.taste, 0.0)
    visits = spread(viewer.snapshot.graph, viewer.rows, restart, len(viewer.allowed))
    communities = viewer.snapshot.communities
    if communities is None or not len(viewer.rows):
        return visits
    taste = np.bincount(communities[viewer.rows], restart)
    share = np.zeros(len(taste) + 1)
    share[:-1] = taste * (COMMUNITY_SHARE * float(visits.max()) / max(float(taste.max()), 1e-9))
    visits += share.take(communities, mode="clip")  # later communities have nothing: they clip to the last place
    return visits


def graph(viewer: Viewer, pool: int) -> Ranking:
    """The `pool` best by `graph_scores` among what is allowed."""
    return top(graph_scores(viewer), viewer.allowed, pool)


def of_same_community(viewer: Viewer, row: int, most: int = 2) -> list[int]:
    """History rows from the community of a title, the most liked first: what it is close to where no walk leads."""
    communities = viewer.snapshot.communities
    if communities is None:
        return []
    own = np.flatnonzero((communities[viewer.rows] == communities[row]) & (viewer.taste > 0))
    return [int(viewer.rows[i]) for i in own[np.argsort(-viewer.taste[own], kind="stable")][:most]]
