"""Cases in chunks, each with the histories and the popularity that a scorer may look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates.live import STEPS, LiveTransitions
from core.evaluation.metrics import Ragged
from core.evaluation.splits import Cases, Split

CHUNK = 512  # rows of a dense score matrix: 20 MB at 10 000 titles
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """b cases whose candidates are `items` (w,): the catalogue, or every title.

    liked: catalogue columns of each user's positives, oldest first. `popularity[h]`: (b, w) positives of everybody
    until then, each counted 2^(-age / h days).
    """

    split: Split
    cases: Cases
    items: NDArray[np.int32]
    liked: list[NDArray]
    popularity: dict[float, NDArray]

    def history(self, decay: float = 1.0, window: int | None = None) -> NDArray:
        """(b, c) float32: decay^k for the positive that is k positives old, of the last `window` ones."""
        weights = np.zeros((len(self.liked), len(self.split.catalogue)), np.float32)
        for row, columns in zip(weights, self.liked, strict=True):
            latest = columns if window is None else columns[-window:]
            row[latest] = decay ** np.arange(len(latest) - 1, -1, -1)
        return weights

    def over_items(self, scores: NDArray) -> NDArray:
        """Scores over the catalogue (b, c) as scores over the candidates (b, w): 0 for what cannot be known."""
        if len(self.items) == scores.shape[1]:
            return scores
        spread = np.zeros((len(scores), len(self.items)), scores.dtype)
        spread[:, self.split.catalogue] = scores
        return spread

    @property
    def empty(self) -> NDArray:
        """(b,) bool: cases without anything liked."""
        return np.array([not len(columns) for columns in self.liked])


def batches(
    split: Split, cases: Cases, wide: bool = False, half_lives: Sequence[float] = (), frozen: bool = False
) -> Iterator[Batch]:
    """All cases in order, chunk by chunk. wide: every title is a candidate; frozen: users stay as at the cut."""
    items = np.arange(len(split.data.titles), dtype=np.int32) if wide else split.catalogue
    counters = {half_life: OnlineCounts(split, half_life) for half_life in half_lives}
    column = columns_of(split)
    for start in range(0, len(cases), CHUNK):
        part = cases.take(np.arange(start, min(start + CHUNK, len(cases))))
        popularity = {half_life: counter.at(part)[:, items] for half_life, counter in counters.items()}
        yield Batch(split, part, items, liked_columns(split, part, column, frozen), popularity)


def columns_of(split: Split) -> NDArray:
    """(n,) catalogue column of every title, -1 for those that are not ranked."""
    column = np.full(len(split.data.titles), -1, np.int32)
    column[split.catalogue] = np.arange(len(split.catalogue))
    return column


def liked_columns(split: Split, cases: Cases, column: NDArray, frozen: bool = False) -> list[NDArray]:
    """Catalogue columns of the visible positives of each case, oldest first."""
    data, rows = split.data, []
    for user, count in zip(cases.user, cases.frozen if frozen else cases.visible, strict=True):
        events = split.timeline.row(user)[:count]
        columns = column[data.item[events[data.positive[events]]]]
        rows.append(columns[columns >= 0])
    return rows


def liked_items(split: Split, cases: Cases) -> Ragged:
    """Item codes of the visible positives of each case."""
    data = split.data
    rows = [split.timeline.row(user)[:count] for user, count in zip(cases.user, cases.visible, strict=True)]
    items = [data.item[events[data.positive[events]]] for events in rows]
    return Ragged(np.concatenate(items), np.concatenate([[0], np.cumsum([len(row) for row in items])]))


def seen_mask(split: Split, cases: Cases, items: NDArray) -> NDArray:
    """(m, w) bool: candidates that the user has rated in any way; they are not recommended."""
    place = np.full(len(split.data.titles), -1, np.int64)
    place[items] = np.arange(len(items))
    mask = np.zeros((len(cases), len(items)), bool)
    for row, user, count in zip(mask, cases.user, cases.visible, strict=True):
        columns = place[split.data.item[split.timeline.row(user)[:count]]]
        row[columns[columns >= 0]] = True
    return mask


class OnlineCounts:
    """Decayed counts of positives per title, moving forward through the events. Cases must come in order of time.

    `positive` (m,) says which events count, when not those that the evaluation calls positive.
    """

    def __init__(self, split: Split, half_life_days: float, positive: NDArray | None = None) -> None:
        usable = split.counted & (split.data.positive if positive is None else positive)
        self._events = np.flatnonzero(usable)
        self._items, self._at = split.data.item[usable], split.data.at[usable]
        self._rate = 1.0 / (half_life_days * DAY_S)
        self._counts = np.zeros(len(split.data.titles))
        self._next, self._moment = 0, -np.inf

    def at(self, cases: Cases) -> NDArray:
        """(m, n) float32 counts just before each case."""
        rows = np.empty((len(cases), len(self._counts)), np.float32)
        for row, before, now in zip(rows, cases.before, cases.now, strict=True):
            row[:] = self.advance(int(before), float(now))
        return rows

    def advance(self, before: int, now: float) -> NDArray:
        """(n,) counts at `now` of the events with an index below `before`; a view that the next call changes."""
        upto = int(np.searchsorted(self._events, before))
        fresh = slice(self._next, upto)
        if now > self._moment:
            self._counts *= 2.0 ** (-(now - self._moment) * self._rate)
            self._moment = now
        weight = 2.0 ** (-np.maximum(now - self._at[fresh], 0.0) * self._rate)
        np.add.at(self._counts, self._items[fresh], weight)
        self._next = max(upto, self._next)
        return self._counts


class OnlineTransitions:
    """What people went on to since the cut, moving forward through the events. Cases must come in order of time.

    rows: (n,) snapshot row of every title, -1 for none; liked: (m,) events that count as likes.
    """

    def __init__(self, split: Split, rows: NDArray, liked: NDArray) -> None:
        self._split, self._rows, self._liked = split, rows, liked & (rows[split.data.item] >= 0)
        self._events = np.flatnonzero(self._liked & ~split.fit)
        order = split.timeline
        self._place = np.empty(len(split.data), np.int64)  # of an event among its user's
        for user in range(split.data.users):
            own = order.row(user)
            self._place[own] = np.arange(len(own))
        self._next = 0
        self._transitions = LiveTransitions()

    def advance(self, before: int) -> LiveTransitions | None:
        """Those of the events with an index below `before`, to which the next call adds; None where nobody goes on."""
        if not self._split.online():
            return None
        upto = int(np.searchsorted(self._events, before))
        for event in self._events[self._next : upto].tolist():
            own = self._split.timeline.row(int(self._split.data.user[event]))[: self._place[event]]
            earlier = own[self._liked[own]][-STEPS:]
            items = self._split.data.item
            self._transitions.add(self._rows[items[earlier]].tolist(), int(self._rows[items[event]]))
        self._next = max(upto, self._next)
        return self._transitions
