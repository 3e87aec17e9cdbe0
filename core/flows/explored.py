"""The one place of an answer that is kept for a new title (core.candidates.exploration)."""

from __future__ import annotations

from numpy.typing import NDArray

from core.candidates.arms import Outcomes
from core.candidates.exploration import chance, explore, viewer_rng
from core.candidates.viewer import Viewer
from core.config import RankingSettings
from core.flows.describe import Recommended
from core.ranking.explain import explain
from core.ranking.query import Query

STRATEGY = "exploration"
PLACE = 10  # never among the first five; of shorter answers the last place
LEAST_TITLES = 6


def with_new_title(
    items: tuple[Recommended, ...],
    viewer: Viewer,
    query: Query,
    settings: RankingSettings,
    outcomes: Outcomes | None,
    content: NDArray | None = None,
) -> tuple[Recommended, ...]:
    """The answer with a new title at its place, in a share of the answers; what stood there and after it moves back.

    The same request in the same state gets the same one. Short answers and those asked for in words stay as they are.
    content: as for `explore`.
    """
    if len(items) < LEAST_TITLES or query.text or chance(viewer) >= settings.exploration_share:
        return items
    row = explore(viewer, outcomes, viewer_rng(viewer), content)
    if row is None or any(item.row == row for item in items):
        return items
    place = min(PLACE, len(items)) - 1
    return (*items[:place], _described(viewer, row, items[place].score), *items[place:])[: query.limit]


def _described(viewer: Viewer, row: int, score: float) -> Recommended:
    """The new title with the score of the one whose place it takes: that is what the place is worth."""
    [reason] = explain(viewer, [row], ["content"])
    return Recommended(
        row=row,
        content_id=viewer.snapshot.content_id(row),
        title=viewer.snapshot.title(row).title,
        score=score,
        parts={STRATEGY: score},
        strategy=STRATEGY,
        based_on=reason.based_on,
        explanation=f"New: {reason.text}",
    )
