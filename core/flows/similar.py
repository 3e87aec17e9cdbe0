"""Titles like one title: its own neighbour lists fused, with the relation in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.candidates.gather import Ranking
from core.errors import NotFound
from core.flows.services import Services
from core.ranking.explain import relation
from core.ranking.fusion import fuse_rrf
from core.ranking.query import Filters
from core.ranking.rules import filtered
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import Step

WEIGHTS = {
    "content": 0.35,
    "collaborative": 0.35,
    "graph": 0.30,
}  # likeness first: what it is, who shares it, what links it


@dataclass(frozen=True, slots=True)
class SimilarTitle:
    """`way`: the hops that lead there, where it was asked for ways (core.flows.ways)."""

    content_id: str
    title: str
    score: float
    relation: str
    way: tuple[Step, ...] = ()


def similar(
    services: Services, content_id: str, limit: int, filters: Filters, now: float
) -> tuple[tuple[SimilarTitle, ...], tuple[str, ...]]:
    """Titles most like `content_id`, best first, and what is degraded. Raises NotFound for an unknown title."""
    snapshot, degraded = services.snapshot(now)
    row = snapshot.row(content_id)
    if row is None:
        raise NotFound(f"content {content_id} is not in the catalogue")
    return similar_titles(snapshot, row, limit, filters, now), degraded


def similar_titles(snapshot: Snapshot, row: int, limit: int, filters: Filters, now: float) -> tuple[SimilarTitle, ...]:
    """As `similar`, for a row of the snapshot; a score of 1 is the first place in all three lists."""
    allowed = filtered(snapshot, filters, now)
    allowed[row] = False
    lists = {"content": snapshot.content, "collaborative": snapshot.collaborative, "graph": snapshot.graph}
    rankings = {}
    for name, neighbours in lists.items():
        weights = neighbours.weight[row].astype(np.float32)
        usable = allowed[neighbours.index[row]] & (weights > 0)
        rankings[name] = Ranking(neighbours.index[row][usable], weights[usable])
    fused = fuse_rrf(rankings, WEIGHTS)
    best = sum(WEIGHTS.values()) / 61  # first in every list
    anchor = snapshot.title(row)
    return tuple(
        SimilarTitle(
            snapshot.content_id(int(other)),
            snapshot.title(int(other)).title,
            round(float(score) / best, 6),
            relation(snapshot.title(int(other)), anchor),
        )
        for other, score in zip(fused.rows[:limit], fused.scores[:limit], strict=True)
    )
