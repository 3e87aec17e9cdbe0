"""Places of an answer that editors decide about: pins, and promotions with a share of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.viewer import Viewer
from core.flows.describe import Recommended, describe
from core.ranking.fusion import Fused
from core.ranking.query import Promotion, Query

PINNED, PROMOTED = "pinned", "promoted"  # their names as strategies


def with_editorial(
    items: tuple[Recommended, ...], viewer: Viewer, query: Query, permitted: NDArray, fused: Fused, best: float
) -> tuple[Recommended, ...]:
    """The answer with pins at their places and promotions spread evenly over the rest of it.

    A pin shows a title of `permitted` (n,) whatever the viewer's taste and history; a promotion only what the viewer
    may be recommended anyway, what suits them best first. Neither counts in caps or diversity. What is not permitted or
    not in the catalogue leaves its place to the others.
    """
    pinned = {pin.position - 1: _row(viewer, pin.content_id, permitted) for pin in query.pins}
    placed = {place: (row, PINNED) for place, row in pinned.items() if row is not None and place < query.limit}
    if query.promotion:
        taken = {row for row, _ in placed.values()}
        rows = [row for row in _by_taste(viewer, query.promotion, fused) if row not in taken]
        free = [place for place in range(query.limit) if place not in placed]
        count = min(int(query.promotion.share * query.limit), len(rows), len(free))
        spread = [free[(2 * i + 1) * len(free) // (2 * count)] for i in range(count)]
        placed |= {place: (row, PROMOTED) for place, row in zip(spread, rows, strict=False)}
    decided = {row for row, _ in placed.values()}
    others = iter([item for item in items if item.row not in decided])
    filled = [
        _described(viewer, *placed[place], fused, best) if place in placed else next(others, None)
        for place in range(query.limit)
    ]
    return tuple(item for item in filled if item is not None)


def _row(viewer: Viewer, content_id: str, permitted: NDArray) -> int | None:
    row = viewer.snapshot.row(content_id)
    return row if row is not None and permitted[row] else None


def _by_taste(viewer: Viewer, promotion: Promotion, fused: Fused) -> list[int]:
    """The promoted rows that may be recommended, the viewer's favourites first, the others as they were named."""
    rows = [_row(viewer, content_id, viewer.allowed) for content_id in dict.fromkeys(promotion.content_ids)]
    places = {row: place for place, row in enumerate(fused.rows.tolist())}
    return sorted((row for row in rows if row is not None), key=lambda row: places.get(row, len(places)))


def _described(viewer: Viewer, row: int, kind: str, fused: Fused, best: float) -> Recommended:
    """A title that editors chose, with the score that it has for the viewer; 0 where it is not among the candidates."""
    [place] = np.flatnonzero(fused.rows == row)[:1].tolist() or [None]
    if place is None:
        title = viewer.snapshot.title(row)
        return Recommended(row, title.content_id, title.title, 0.0, {}, kind, (), "Chosen by the editors")
    [item] = describe(viewer, fused, [place], best, {})
    reason = item.explanation if kind == PROMOTED else "Chosen by the editors"
    return item._replace(strategy=kind, explanation=reason, based_on=item.based_on if kind == PROMOTED else ())
