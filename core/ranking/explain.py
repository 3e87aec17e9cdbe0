"""Why a title was recommended, read off the very numbers that ranked it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates.calendar import Occasion
from core.candidates.company import MOOD_GENRES
from core.candidates.context import DAYPARTS, daypart
from core.candidates.graph import of_same_community
from core.candidates.viewer import Viewer
from core.catalog import Title
from core.snapshot.lexicon import tokens
from core.snapshot.snapshot import Neighbours


@dataclass(frozen=True, slots=True)
class Reason:
    """`strategy` gave the largest part of the score; `based_on` are the titles of the history it came from."""

    strategy: str
    based_on: tuple[str, ...]
    text: str


def explain(viewer: Viewer, rows: Sequence[int], strategies: Sequence[str]) -> list[Reason]:
    """Why each of `rows` was recommended; strategies[i] gave the largest part of the score of rows[i]."""
    anchors = _anchors(viewer, rows, strategies)
    for row, strategy, found in zip(rows, strategies, anchors, strict=True):
        if strategy == "graph" and not found:
            found += of_same_community(viewer, row)
    return [_reason(viewer, *about) for about in zip(rows, strategies, anchors, strict=True)]


def _reason(viewer: Viewer, row: int, strategy: str, anchors: list[int]) -> Reason:
    if not anchors:
        return Reason(strategy, (), _circumstance(viewer, row, strategy))
    title = viewer.snapshot.title
    based_on, anchor = tuple([title(row).content_id for row in anchors]), title(anchors[0])
    if strategy == "collaborative":
        return Reason(strategy, based_on, f"Viewers who liked {anchor.title} chose this")
    return Reason(strategy, based_on, relation(title(row), anchor))


def relation(title: Title, anchor: Title) -> str:
    """The strongest fact that two titles share, in words."""
    if title.franchise and title.franchise == anchor.franchise:
        return f"From the same franchise as {anchor.title}"
    if makers := _shared(title.directors + title.creators, anchor.directors + anchor.creators):
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


Sources = Mapping[str, tuple[list[Neighbours], NDArray]]


def _sources(viewer: Viewer) -> Sources:
    """The lists that a strategy adds up, and the weights (m,) of the history in it."""
    snapshot, liked = viewer.snapshot, np.maximum(viewer.taste, 0.0)
    collaborative = [snapshot.collaborative, snapshot.transitions, *snapshot.sequence.values()]
    return {
        "collaborative": (collaborative, viewer.recency),
        "content": ([snapshot.content], liked),
        "graph": ([snapshot.graph], liked),
    }


def _anchors(viewer: Viewer, rows: Sequence[int], strategies: Sequence[str], most: int = 2) -> list[list[int]]:
    """For each of `rows` the history rows that carried its score in its strategy, strongest first."""
    anchors: list[list[int]] = [[] for _ in rows]
    sources = {name: found for name, found in _sources(viewer).items() if name in strategies}
    if not sources or not len(viewer.rows):
        return anchors
    carried = _carried(viewer, rows, strategies, sources)
    everyone = np.arange(len(rows))
    for _ in range(min(most, len(viewer.rows))):
        best = carried.argmax(axis=1)
        strength = carried[everyone, best].tolist()
        carried[everyone, best] = 0.0
        for found, anchor, carries in zip(anchors, viewer.rows[best].tolist(), strength, strict=True):
            if carries > 0:
                found.append(anchor)
    return anchors


def _carried(viewer: Viewer, rows: Sequence[int], strategies: Sequence[str], sources: Sources) -> NDArray:
    """(len(rows), m): how much of the score of each of `rows` in its strategy each title of the history brought.

    One pass over all lists of the history at once, for the few rows among thousands of neighbours.
    """
    lists = [(name, each, weights) for name, (several, weights) in sources.items() for each in several]
    widths = [each.index.shape[1] for _, each, _ in lists]
    place = np.full(len(viewer.allowed), -1, np.int16)
    place[rows] = np.arange(len(rows))
    # take() is twice as fast as indexing, and this is the longest loop of an explanation.
    neighbours = np.concatenate([each.index.take(viewer.rows, axis=0) for _, each, _ in lists], axis=1)
    hit = place.take(neighbours).ravel()
    found = np.flatnonzero(hit >= 0)
    history, column = np.divmod(found, sum(widths))
    shown, source = hit[found].astype(np.intp), np.repeat(np.arange(len(lists)), widths)[column]
    weight = np.concatenate([each.weight.take(viewer.rows, axis=0) for _, each, _ in lists], axis=1).ravel()[found]
    value = weight * np.stack([weights for _, _, weights in lists])[source, history]
    own = np.array([[name == strategy for name, _, _ in lists] for strategy in strategies])  # (len(rows), lists)
    m = len(viewer.rows)
    carried = np.bincount(shown * m + history, value * own[shown, source], minlength=len(rows) * m)
    return carried.reshape(len(rows), m)


def _circumstance(viewer: Viewer, row: int, strategy: str) -> str:
    title, about = viewer.snapshot.title(row), viewer.state.onboarding
    if strategy == "search":
        return "Matches what you asked for"
    if strategy == "cold_start":
        chosen = _shared(title.genres, about.genres) if about else []
        return f"Popular in {chosen[0]}, which you chose" if chosen else "Trending with viewers like you"
    if occasion := next((one for one in viewer.context.occasions if is_about(title, one)), None):
        return f"Popular now, for {occasion.name}"
    mood = viewer.context.mood or ""
    if _shared(title.genres, MOOD_GENRES.get(mood, ())):
        return f"Popular now, for a {mood} mood"
    return f"Trending, often watched in the {DAYPARTS[daypart(viewer.context.time_of_day, viewer.now)]}"


def is_about(title: Title, occasion: Occasion) -> bool:
    """Whether a title is what is watched on an occasion, by name or by its words (core.candidates.context.suited)."""
    said = set(tokens(" ".join((title.title, *title.keywords, title.overview))))
    return title.content_id in occasion.titles or any(said.issuperset(tokens(words)) for words in occasion.words)
