"""An answer in words: titles with their scores in parts, and why each was recommended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.candidates.viewer import Viewer
from core.flows.proposals import SEARCH
from core.ranking import pattern_boost
from core.ranking.adapter_boost import PART
from core.ranking.explain import explain, relation
from core.ranking.fusion import Fused
from core.snapshot.snapshot import Snapshot

IMPERSONAL = ("context", "cold_start")


class Recommended(NamedTuple):  # a tuple is made in a third of the time, and an answer has twenty
    """One title of an answer. `parts` are the strategies' shares of `score`, which lies in [0, 1], and what the adapter
    and patterns added or took; `strategy` gave the share that sets the title apart from the other candidates,
    `pattern_id` is the pattern that lifted it most."""

    row: int
    content_id: str
    title: str
    score: float
    parts: dict[str, float]
    strategy: str
    based_on: tuple[str, ...]
    explanation: str
    pattern_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """pattern_match: a pattern was about this request, and results of it were among the candidates; given_up: filters
    of the words that nothing met together."""

    items: tuple[Recommended, ...]
    degraded: tuple[str, ...]
    elapsed_ms: dict[str, float]
    pattern_match: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)  # strategy -> its share of the highest possible score
    given_up: tuple[str, ...] = ()


def reasons_of(names: tuple[str, ...], parts: NDArray, usual: NDArray) -> list[str]:
    """For each title the strategy that explains it: what lifts it above the other candidates, not what all have.

    parts: (s, m) shares of m titles; usual: (s, 1) their means over all candidates. What everybody wants explains
    a title only where nothing about this viewer does.
    """
    excess = np.where(parts > 0, parts - usual, -np.inf)
    personal = excess.copy()
    personal[[name in IMPERSONAL for name in names[: len(parts)]]] = -np.inf
    best = np.where(personal.max(axis=0) > 0, personal.argmax(axis=0), excess.argmax(axis=0))
    return [names[i] for i in best.tolist()]


def describe(
    viewer: Viewer, fused: Fused, chosen: list[int], best: float, lifted_by: Mapping[int, str]
) -> tuple[Recommended, ...]:
    """The chosen positions with titles, reasons and score parts as shares of `best`, the highest possible score.

    lifted_by: snapshot row -> the pattern that lifted it.
    """
    snapshot = viewer.snapshot
    rows = fused.rows[chosen].tolist()
    shares = fused.parts[:, chosen] / best
    boosts = sum(part in fused.names for part in (PART, pattern_boost.PART))  # the last parts, if there are any
    proposed = shares[: len(shares) - boosts]
    if shares.sum(axis=0).max(initial=0.0) > 1.0:  # nothing is better than the best
        for place in range(len(proposed), len(shares)):
            shares[place] = np.minimum(shares[place], 1.0 - shares[:place].sum(axis=0))
    shares, totals = shares.round(6), shares.sum(axis=0).round(6).tolist()
    usual = fused.parts[: len(proposed)].sum(axis=1, keepdims=True) / (max(len(fused.rows), 1) * best)
    leading = reasons_of(fused.names, proposed, usual) if chosen else []
    parts = [{name: part for name, part in zip(fused.names, row, strict=True) if part} for row in shares.T.tolist()]
    titles, reasons = map(snapshot.title, rows), explain(viewer, rows, leading)
    return tuple(
        [  # by place: names would cost as much again as the tuple
            Recommended(row, title.content_id, title.title, total, part, *reason, lifted_by.get(row))
            for row, title, total, part, reason in zip(rows, titles, totals, parts, reasons, strict=True)
        ]
    )


def compared(snapshot: Snapshot, item: Recommended, anchor: int) -> Recommended:
    """An answer to "like this one": what the two titles share is its reason where it was found by that."""
    if item.strategy != SEARCH:
        return item
    reason = relation(snapshot.title(item.row), snapshot.title(anchor))
    return item._replace(based_on=(snapshot.content_id(anchor),), explanation=reason)
