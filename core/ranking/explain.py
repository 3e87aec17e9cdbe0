"""Why a title was recommended, read off the very numbers that ranked it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates.context import DAYPARTS, MOOD_GENRES, daypart
from core.candidates.viewer import Viewer
from core.catalog import Title
from core.snapshot.snapshot import Neighbours


@dataclass(frozen=True, slots=True)
class Reason:
    """`strategy` gave the largest part of the score; `based_on` are the titles of the history it came from."""

    strategy: str
    based_on: tuple[str, ...]
    text: str


def explain(viewer: Viewer, rows: Sequence[int], strategies: Sequence[str]) -> list[Reason]:
    """Why each of `rows` was recommended; strategies[i] gave the largest part of the score of rows[i]."""
    anchors: dict[int, list[int]] = {}
    for strategy in set(strategies) - {"context", "cold_start", "search"}:
        own = [row for row, leading in zip(rows, strategies, strict=True) if leading == strategy]
        anchors |= _anchors(viewer, own, *_sources(viewer, strategy))
    return [_reason(viewer, row, name, anchors.get(row, [])) for row, name in zip(rows, strategies, strict=True)]


def _reason(viewer: Viewer, row: int, strategy: str, anchors: list[int]) -> Reason:
    if not anchors:
        return Reason(strategy, (), _circumstance(viewer, row, strategy))
    title, anchor = viewer.snapshot.title(row), viewer.snapshot.title(anchors[0])
    based_on = tuple(viewer.snapshot.content_id(a) for a in anchors)
    if strategy == "collaborative":
        return Reason(strategy, based_on, f"Viewers who liked {anchor.title} chose this")
    return Reason(strategy, based_on, relation(title, anchor))


def relation(title: Title, anchor: Title) -> str:
    """The strongest fact that two titles share, in words."""
    makers = _shared(title.directors + title.creators, anchor.directors + anchor.creators)
    if title.franchise and title.franchise == anchor.franchise:
        return f"From the same franchise as {anchor.title}"
    if makers:
        return f"By {makers[0]}, who made {anchor.title}"
    if cast := _shared(title.cast, anchor.cast):
        return f"With {cast[0]}, as in {anchor.title}"
    if themes := _shared(title.keywords, anchor.keywords):
        return f"{', '.join(themes[:2])}, as in {anchor.title}"
    if genres := _shared(title.genres, anchor.genres):
        return f"{', '.join(genres[:2])}, like {anchor.title}"
    return f"Close to {anchor.title}"


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    return [name for name in ours if name in theirs]


def _sources(viewer: Viewer, strategy: str) -> tuple[list[Neighbours], NDArray]:
    snapshot = viewer.snapshot
    if strategy == "collaborative":
        return [snapshot.collaborative, snapshot.transitions, *snapshot.sequence.values()], viewer.recency
    lists = [snapshot.content] if strategy == "content" else [snapshot.graph]
    return lists, np.maximum(viewer.taste, 0.0)


def _anchors(
    viewer: Viewer, rows: Sequence[int], lists: list[Neighbours], weights: NDArray, most: int = 2
) -> dict[int, list[int]]:
    """For each of `rows` the history rows that carried its score, strongest first, in one pass over their lists."""
    place = np.full(len(viewer.allowed), -1, np.int32)
    place[rows] = np.arange(len(rows))
    m = len(viewer.rows)
    carried = np.zeros(len(rows) * m)
    for neighbours in lists:
        hit = place[neighbours.index[viewer.rows]].ravel()  # (m K,) position in `rows`, -1 for all other titles
        found = np.flatnonzero(hit >= 0)
        history, neighbour = np.divmod(found, neighbours.index.shape[1])
        value = neighbours.weight[viewer.rows[history], neighbour] * weights[history]
        carried += np.bincount(hit[found] * m + history, value, minlength=len(carried))
    anchors: list[list[int]] = [[] for _ in rows]
    by_row = carried.reshape(len(rows), m)
    for _ in range(min(most, m)):
        best = by_row.argmax(axis=1)
        strength = by_row[np.arange(len(rows)), best]
        by_row[np.arange(len(rows)), best] = 0.0
        for found_rows, anchor, carries in zip(anchors, viewer.rows[best].tolist(), strength.tolist(), strict=True):
            if carries > 0:
                found_rows.append(anchor)
    return dict(zip(rows, anchors, strict=True))


def _circumstance(viewer: Viewer, row: int, strategy: str) -> str:
    title, about = viewer.snapshot.title(row), viewer.state.onboarding
    if strategy == "search":
        return "Matches what you asked for"
    if strategy == "cold_start":
        chosen = _shared(title.genres, about.genres) if about else []
        return f"Popular in {chosen[0]}, which you chose" if chosen else "Trending with viewers like you"
    mood = viewer.context.mood or ""
    if _shared(title.genres, MOOD_GENRES.get(mood, ())):
        return f"Popular now, for a {mood} mood"
    return f"Trending, often watched in the {DAYPARTS[daypart(viewer.context.time_of_day, viewer.now)]}"
