"""Why a title was recommended, read off the very numbers that ranked it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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

FAINT = 0.01  # of what counts most in the history: less is no reason


class Reason(NamedTuple):
    """`strategy` gave the largest part of the score; `based_on` are the titles of the history it came from."""

    strategy: str
    based_on: tuple[str, ...]
    text: str


def explain(viewer: Viewer, rows: Sequence[int], strategies: Sequence[str]) -> list[Reason]:
    """Why each of `rows` was recommended; strategies[i] gave the largest part of the score of rows[i]."""
    found = _anchors(viewer, rows, strategies)
    for row, strategy, anchors in zip(rows, strategies, found, strict=True):
        if strategy == "graph" and not anchors:
            anchors += of_same_community(viewer, row)
    titles = {row: viewer.snapshot.title(row) for row in {row for anchors in found for row in anchors}}
    return [
        _reason(viewer, row, strategy, [titles[anchor] for anchor in anchors])
        for row, strategy, anchors in zip(rows, strategies, found, strict=True)
    ]


def _reason(viewer: Viewer, row: int, strategy: str, anchors: list[Title]) -> Reason:
    if not anchors:
        return Reason(strategy, (), _circumstance(viewer, row, strategy))
    based_on = tuple([anchor.content_id for anchor in anchors])
    if strategy == "collaborative":
        return Reason(strategy, based_on, f"Viewers who liked {anchors[0].title} chose this")
    return Reason(strategy, based_on, relation(viewer.snapshot.title(row), anchors[0]))


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


def _sources(viewer: Viewer, strategy: str) -> tuple[list[Neighbours], NDArray]:
    """The lists that a strategy adds up, none for those without, and the weights (m,) of the history in it."""
    snapshot = viewer.snapshot
    if strategy == "collaborative":
        return [snapshot.collaborative, snapshot.transitions, *snapshot.sequence.values()], viewer.recency
    lists = {"content": [snapshot.content], "graph": [snapshot.graph]}
    return lists.get(strategy, []), viewer.taste


def _anchors(viewer: Viewer, rows: Sequence[int], strategies: Sequence[str], most: int = 2) -> list[list[int]]:
    """For each of `rows` the history rows that carried its score in its strategy, strongest first."""
    anchors: list[list[int]] = [[] for _ in rows]
    places = np.zeros(len(viewer.allowed), np.int16)  # of the rows among `rows`, from 1
    places[np.asarray(rows, np.int64)] = np.arange(1, len(rows) + 1)
    for strategy in set(strategies):
        lists, weights = _sources(viewer, strategy)
        near = (weights > FAINT * weights.max(initial=0.0)).nonzero()[0] if lists else ()
        if not len(near):
            continue
        history = viewer.rows[near]
        carried = _carried(places, len(rows), lists, history, weights[near])
        own = np.array([place for place, name in enumerate(strategies) if name == strategy])
        for _ in range(min(most, len(near))):
            best = carried[own].argmax(axis=1)
            for place, anchor, share in zip(
                own.tolist(), history[best].tolist(), carried[own, best].tolist(), strict=True
            ):
                if share > 0:
                    anchors[place].append(anchor)
            carried[own, best] = 0.0
    return anchors


def _carried(places: NDArray, count: int, lists: Sequence[Neighbours], history: NDArray, weights: NDArray) -> NDArray:
    """(count, m): how much of the score of each place each title of the history (m,) brought by these lists.

    places: (n,) from 1, 0 for other titles. One pass over all lists of the history at once, for the few rows among
    thousands of neighbours; take() is twice as fast as indexing there.
    """
    neighbours = np.concatenate([each.index.take(history, axis=0) for each in lists], axis=1)
    place = places.take(neighbours).ravel()
    found = (place > 0).nonzero()[0]
    source = found // neighbours.shape[1]
    weight = np.concatenate([each.weight.take(history, axis=0) for each in lists], axis=1).ravel()[found]
    m = len(history)
    cell = (place[found] - 1).astype(np.intp) * m + source
    return np.bincount(cell, weight * weights[source], count * m).reshape(count, m)


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
