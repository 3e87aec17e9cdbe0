"""The serving flow under evaluation: the state fold and the ranking that answer requests, fed event by event.

Nothing is copied: `core.profile.state.fold` makes the states, `core.flows.recommend.rank` the lists, the snapshot build
the snapshot. Around them this keeps what the stores keep in service: one state per user and the shared popularity
counters, which here are read fresh at every request instead of at most half a minute old.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.catalog import content_key
from core.config import RankingSettings
from core.evaluation.batches import OnlineCounts
from core.evaluation.dataset import Dataset
from core.evaluation.metrics import K
from core.evaluation.splits import Cases, Split
from core.flows.recommend import rank
from core.interaction import signal_strength
from core.profile.state import UserState, fold
from core.ranking.query import Query
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot

NOT_RANKED = 255  # type code of titles outside the catalogue: no filter allows it
PROGRESS_EVERY = 100

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration of the serving flow. `learning` False: user states stay as they were at the cut."""

    settings: RankingSettings = field(default_factory=RankingSettings)
    learning: bool = True

    def with_ranking(self, **changes: object) -> Variant:
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the flow answered: lists (m, K) of item codes, -1 where a list ends, and which parts ever failed."""

    lists: NDArray
    degraded: tuple[str, ...]


def recommend(
    variant: Variant,
    split: Split,
    snapshot: Snapshot,
    cases: Cases,
    wide: bool = False,
    only: NDArray | None = None,
    histories: Histories | None = None,
    advance: Advance = lambda _: None,
) -> Shown:
    """Answer every case in order. wide: the whole catalogue may be recommended, not only what the protocol ranks.

    only: (m, s) item codes: the titles that may be recommended in each case. histories: states to share with other
    variants on the same split.

    The deadline of the strategies is lifted, so that a busy machine does not change what is measured.
    """
    settings = replace(variant.settings, strategy_deadline_ms=inf)
    rows = snapshot.rows(np.array([content_key(title.content_id) for title in split.data.titles], np.uint64))
    codes = np.full(len(snapshot), -1, np.int32)
    codes[rows] = np.arange(len(rows))
    served = snapshot if wide else restricted(snapshot, rows[split.catalogue])
    users = histories or Histories(split)
    counters = OnlineCounts(split, settings.popularity_half_life_days, counted_in_service(split.data))
    counts = np.zeros(len(snapshot), np.float32)
    lists = np.full((len(cases), K), -1, np.int32)
    degraded: set[str] = set()
    for i, user in enumerate(cases.user):
        now, visible, frozen = float(cases.now[i]), int(cases.visible[i]), int(cases.frozen[i])
        counts[rows] = counters.advance(int(cases.before[i]), now)
        state = users.state(int(user), visible if variant.learning else frozen)
        # A frozen state does not know what was rated since, and the protocol removes that for every system.
        unknown = () if variant.learning else users.titles(int(user), frozen, visible)
        query = Query(user_id=split.data.user_ids[user], limit=K, exclude=unknown)
        if only is not None:
            served = restricted(snapshot, rows[only[i]])
        answer = rank(served, state, counts, query, settings, now)
        finite = [item.row for item in answer.items if isfinite(item.score)][:K]
        lists[i, : len(finite)] = codes[finite]
        degraded.update(answer.degraded)
        if i % PROGRESS_EVERY == PROGRESS_EVERY - 1:
            advance(PROGRESS_EVERY)
    return Shown(lists, tuple(sorted(degraded)))


def restricted(snapshot: Snapshot, rows: NDArray) -> Snapshot:
    """The snapshot with only these rows recommendable; what histories say about the other titles still counts."""
    attributes = snapshot.attributes.copy()
    outside = np.ones(len(snapshot), bool)
    outside[rows] = False
    attributes["type"][outside] = NOT_RANKED
    return replace(snapshot, attributes=attributes)


def counted_in_service(data: Dataset) -> NDArray:
    """(m,) bool: events that the ingest flow adds to the popularity counters."""
    values, which = np.unique(data.stars, return_inverse=True)
    example = np.zeros(len(values), np.int64)
    example[which] = np.arange(len(data))
    return np.array([signal_strength(data.event(int(index))) > 0 for index in example])[which]


class Histories:
    """The states of all users along the split, folded from their events in order; each is folded once and kept."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._states: dict[int, dict[int, UserState]] = {}  # by user and visible events: 80 MB for 8 000 cases
        self._steps: dict[int, list[int]] = {}  # the keys of a user's states, ascending

    def state(self, user: int, visible: int) -> UserState:
        """The state after the user's first `visible` events, folded on from the latest kept one before it."""
        states, steps = self._states.setdefault(user, {}), self._steps.setdefault(user, [])
        if visible not in states:
            place = bisect_left(steps, visible)
            before = states[steps[place - 1]] if place else UserState(self._split.data.user_ids[user])
            states[visible] = self._fold(before, user, visible)
            steps.insert(place, visible)
        return states[visible]

    def _fold(self, before: UserState, user: int, visible: int) -> UserState:
        events = self._split.timeline.row(user)[before.seq : visible]
        return fold(before, [(before.seq + k, self._split.data.event(int(index))) for k, index in enumerate(events, 1)])

    def titles(self, user: int, start: int, end: int) -> tuple[str, ...]:
        """Ids of what the user's events from `start` up to `end` were about."""
        data = self._split.data
        return tuple(data.titles[data.item[index]].content_id for index in self._split.timeline.row(user)[start:end])


def build_snapshot(split: Split, root: Path) -> Snapshot:
    """The snapshot that the snapshot job would have built at the cut: all titles, and the events to learn from."""
    events = (split.data.event(int(index)) for index in np.flatnonzero(split.fit))
    return Snapshot.open(build(split.data.titles, collect_interactions(events), split.cut, root))
