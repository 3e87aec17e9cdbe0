"""The serving flow under evaluation: the ranking that answers requests, on states and adapters as they were then.

Nothing is copied: `core.flows.recommend.rank` makes the lists, the jobs' functions the base generation and the
snapshot, core.evaluation.histories the users. Around them this keeps what the stores keep in service: the shared
popularity counters, which here are read fresh at every request instead of at most half a minute old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from core.adaptation.evidence import of_series
from core.adaptation.generation_store import named
from core.adaptation.renewal import renew
from core.adaptation.space import Space
from core.attention.select import TOP
from core.catalog import content_key
from core.config import RankingSettings
from core.evaluation.attention_stream import Selection
from core.evaluation.batches import OnlineCounts, OnlineTransitions
from core.evaluation.dataset import Dataset
from core.evaluation.histories import Histories
from core.evaluation.metrics import K
from core.evaluation.pattern_bank import bank_at_cut
from core.evaluation.splits import Cases, Split
from core.flows.recommend import rank
from core.interaction import signal_strength
from core.ranking.query import Query
from core.snapshot.build import build
from core.snapshot.inputs import POSITIVE, collect_interactions
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Snapshot

NOT_RANKED = 255  # type code of titles outside the catalogue: no filter allows it
PROGRESS_EVERY = 100

Advance = Callable[[int], None]
Reshape = Callable[[Space], Space]


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration of the serving flow. `learning` False: users stay as they were at the cut. `live` False:
    nothing is known of what people went on to since. `space`: what becomes of the adapters' space before anybody learns
    in it, for controls."""

    settings: RankingSettings = field(default_factory=RankingSettings)
    learning: bool = True
    live: bool = True
    space: Reshape | None = None
    mechanisms: int = TOP  # attention mechanisms that answer together, where they are selected

    def with_ranking(self, **changes: object) -> Variant:
        """The same but for these fields of RankingSettings."""
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the flow answered: lists (m, K) of item codes, -1 where a list ends, which parts ever failed, and the
    milliseconds that each strategy's part took in each case, and `rank` as a whole."""

    lists: NDArray
    degraded: tuple[str, ...]
    elapsed_ms: dict[str, list[float]] = field(default_factory=dict)


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
    users = histories or Histories(split, snapshot)
    patterns = bank_at_cut(split, snapshot) if settings.pattern_strength else None
    counters = OnlineCounts(split, settings.popularity_half_life_days, counted_in_service(split.data))
    transitions = OnlineTransitions(split, rows, liked_in_service(split.data))
    counts = np.zeros(len(snapshot), np.float32)
    selection = Selection(snapshot, settings, variant.mechanisms)
    lists = np.full((len(cases), K), -1, np.int32)
    degraded: set[str] = set()
    elapsed: dict[str, list[float]] = {}
    for i, user in enumerate(cases.user):
        now, visible, frozen = float(cases.now[i]), int(cases.visible[i]), int(cases.frozen[i])
        counts[rows] = counters.advance(int(cases.before[i]), now)
        live = transitions.advance(int(cases.before[i])) if variant.live else None
        state, adapter = users.at(int(user), visible if variant.learning else frozen)
        # A frozen state does not know what was rated since, and the protocol removes that for every system.
        unknown = () if variant.learning else users.titles(int(user), frozen, visible)
        query = Query(user_id=split.data.user_ids[user], limit=K, exclude=unknown)
        if only is not None:
            served = restricted(snapshot, rows[only[i]])
        started = perf_counter()
        chosen = selection.choose()
        answer = rank(
            served, state, counts, query, settings, now, adapter, patterns=patterns, attention=chosen, live=live
        )
        for part, ms in (answer.elapsed_ms | {"rank": (perf_counter() - started) * 1e3}).items():
            elapsed.setdefault(part, []).append(ms)
        finite = [item.row for item in answer.items if isfinite(item.score)][:K]
        lists[i, : len(finite)] = codes[finite]
        selection.learn(chosen, bool(np.isin(cases.targets.row(i), lists[i]).any()))
        degraded.update(answer.degraded)
        if i % PROGRESS_EVERY == PROGRESS_EVERY - 1:
            advance(PROGRESS_EVERY)
    return Shown(lists, tuple(sorted(degraded)), elapsed)


def restricted(snapshot: Snapshot, rows: NDArray) -> Snapshot:
    """The snapshot with only these rows recommendable; what histories say about the other titles still counts."""
    attributes = snapshot.attributes.copy()
    outside = np.ones(len(snapshot), bool)
    outside[rows] = False
    attributes["type"][outside] = NOT_RANKED
    return replace(snapshot, attributes=attributes)


def counted_in_service(data: Dataset) -> NDArray:
    """(m,) bool: events that the ingest flow adds to the popularity counters."""
    return _strengths(data) > 0


def liked_in_service(data: Dataset) -> NDArray:
    """(m,) bool: events after which the title counts as liked."""
    return _strengths(data) >= POSITIVE


def _strengths(data: Dataset) -> NDArray:
    """(m,) signal strength of every event."""
    values, which = np.unique(data.stars, return_inverse=True)
    example = np.zeros(len(values), np.int64)
    example[which] = np.arange(len(data))
    return np.array([signal_strength(data.event(int(index))) for index in example])[which]


def build_snapshot(split: Split, root: Path, settings: RankingSettings | None = None) -> Snapshot:
    """What the jobs would have built at the cut: a base generation, and the snapshot of all titles laid out in it."""
    events = (split.data.event(int(index)) for index in np.flatnonzero(split.fit))
    interactions = collect_interactions(events)
    renewed = renew(of_series(interactions, split.data.titles), [])
    generation = named(renewed[0], split.cut) if renewed else None
    parameters = replace(
        SnapshotParameters.serving(settings or RankingSettings()),
        fusion_holdout="last" if split.protocol == "loo" else "time",
    )
    return Snapshot.open(build(split.data.titles, interactions, split.cut, root, parameters, generation=generation))


def reshaped(snapshot: Snapshot, reshape: Reshape | None) -> Snapshot:
    """The snapshot with another space for adapters."""
    return replace(snapshot, space=reshape(snapshot.space)) if reshape and snapshot.space else snapshot
