"""A shifted audience laid out for training: the item side, every adaptation that ingest asks for, and the questions
that are put to an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.evidence import of_series
from core.adaptation.examples import Evidence, Ground, PassedOver, ground, met_queries
from core.adaptation.generation_store import named
from core.adaptation.renewal import renew
from core.catalog import content_key
from core.config import AdaptationSettings
from core.errors import InvalidInput
from core.evaluation.taste_shift import Life, Liked, Shifted
from core.flows.adaptation_lesson import evidence_of
from core.flows.replay import fold_each, thresholds_of
from core.numeric.vectors import Floats
from core.profile.lesson import series_rows
from core.profile.state import UserState
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import SequencedEvent

PASSED_OVER = 100  # popular titles that a held-back like is held against


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """An adaptation that ingest asked for: the state and the evidence it finds."""

    at: float
    state: UserState
    evidence: Evidence


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """m held-back likes: life (m,), whether of the old taste (m,), unit queries (m, d), rows of the titles (m,), rows
    of titles passed over (m, PASSED_OVER)."""

    life: NDArray[np.intp]
    old: NDArray[np.bool_]
    queries: Floats
    rows: NDArray[np.intp]
    passed: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A shifted audience laid out for training. own: per life, the rows that appear anywhere in it."""

    name: str
    snapshot: Snapshot
    on: Ground
    lives: tuple[Life, ...]
    moments: tuple[tuple[Moment, ...], ...]
    own: tuple[NDArray[np.intp], ...]
    questions: Questions


def make_world(shifted: Shifted, root: Path, settings: AdaptationSettings, rng: np.random.Generator) -> World:
    """The item side as the jobs build it from what is not held back, the moments of every life and the questions.

    Raises InvalidInput where no title is liked often enough for a space.
    """
    interactions = collect_interactions(shifted.item_side)
    renewed = renew(of_series(interactions, shifted.titles), [])
    if renewed is None:
        raise InvalidInput(f"{shifted.name} is too small for title factors")
    now = max(event.occurred_at for event in shifted.item_side)
    generation = named(renewed[0], now)
    snapshot = Snapshot.open(build(shifted.titles, interactions, now, root, generation=generation))
    if snapshot.space is None:
        raise InvalidInput(f"{shifted.name} is too small for a space")
    on = ground(snapshot.space)
    moments = tuple(tuple(live(life, snapshot, settings)) for life in shifted.lives)
    own = tuple(_own_rows(life, snapshot) for life in shifted.lives)
    asked = [
        _questions(snapshot, on, place, *parts, rng)
        for place, parts in enumerate(zip(shifted.lives, moments, own, strict=True))
    ]
    columns = zip(*(question for several in asked for question in several), strict=True)
    return World(shifted.name, snapshot, on, shifted.lives, moments, own, Questions(*map(np.array, columns)))


def live(life: Life, snapshot: Snapshot, settings: AdaptationSettings) -> Iterator[Moment]:
    """Fold a life event by event, fast tier included, and yield where an adaptation is asked for."""
    state, thresholds = UserState(life.user_id), thresholds_of(settings)
    for seq, event in enumerate(life.events, 1):
        state = fold_each(state, [SequencedEvent(seq, event)], snapshot, thresholds)
        if state.pending.asked_seq == seq:
            yield Moment(event.occurred_at, state, evidence_of(snapshot, state, settings.history))


def _own_rows(life: Life, snapshot: Snapshot) -> NDArray[np.intp]:
    names = {event.content_id for event in life.events} | {like.content_id for like in (*life.old, *life.new)}
    rows = _rows(snapshot, sorted(names))
    return np.unique(rows[rows >= 0])


def _rows(snapshot: Snapshot, names: Sequence[str]) -> NDArray[np.intp]:
    keys = np.array([content_key(name) for name in names], np.uint64)
    return np.asarray(series_rows(snapshot, keys), np.intp)


def _questions(
    snapshot: Snapshot, on: Ground, place: int, life: Life, moments: Sequence[Moment], own: NDArray[np.intp],
    rng: np.random.Generator,
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """The held-back likes that the space knows and that something liked came before."""
    passed_over = PassedOver(on, Evidence(own, np.ones(len(own), np.float32), np.zeros(len(own))), snapshot.popularity)
    for likes, old in ((life.old, True), (life.new, False)):
        seen = [moment for moment in moments if moment.at < life.shift_at] if old else moments
        if not seen or not likes:
            continue
        for like, row in zip(likes, _rows(snapshot, [like.content_id for like in likes]), strict=True):
            query = _query(on, seen[-1].evidence, like, row) if row >= 0 else np.zeros(1, np.float32)
            if query.any() and on.space.targets[row].any():
                yield place, old, query, row, passed_over.rows(1, PASSED_OVER, rng)[0]


def _query(on: Ground, evidence: Evidence, like: Liked, row: int) -> Floats:
    """The query that the like met."""
    n = int(np.searchsorted(evidence.times, like.at))
    rows, weights = np.append(evidence.rows[:n], row), np.append(evidence.weights[:n], np.float32(1.0))
    return np.asarray(met_queries(on.space, Evidence(rows, weights, np.append(evidence.times[:n], like.at)))[-1])
