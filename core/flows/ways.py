"""Titles that a walk through people or franchises leads to from one title, asked of the catalogue as it is now."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import NotFound
from core.flows.services import Services
from core.flows.similar import SimilarTitle
from core.ranking.query import Filters
from core.ranking.rules import filtered
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import Way

PER_HOP = 0.5  # a title through two people is half as near as one through a single person; several ways add up


def titles_along(
    services: Services, content_id: str, limit: int, filters: Filters, via: Sequence[str], hops: int, now: float
) -> tuple[tuple[SimilarTitle, ...], tuple[str, ...]]:
    """Titles within `hops` hops of `content_id`, nearest first, each with its shortest way; and what is degraded.

    Raises NotFound for an unknown title, StoreUnavailable without the database: there is no other source for this.
    """
    snapshot, degraded = services.snapshot(now)
    if snapshot.row(content_id) is None:
        raise NotFound(f"content {content_id} is not in the catalogue")
    allowed = filtered(snapshot, filters, now)
    found: dict[str, list[Way]] = {}
    for way in services.catalog.ways(content_id, via, hops):
        row = snapshot.row(way.content_id)
        if row is not None and allowed[row]:  # a title that came after the snapshot waits for the next one
            found.setdefault(way.content_id, []).append(way)
    nearness = {name: min(sum(PER_HOP ** len(way.steps) for way in ways), 1.0) for name, ways in found.items()}
    best = sorted(found, key=lambda name: (-nearness[name], len(found[name][0].steps), name))[:limit]
    return tuple(_told(snapshot, name, nearness[name], found[name][0]) for name in best), degraded


def _told(snapshot: Snapshot, content_id: str, score: float, way: Way) -> SimilarTitle:
    row = snapshot.row(content_id)
    assert row is not None
    title = snapshot.title(row).title
    return SimilarTitle(content_id, title, round(score, 6), told(snapshot, way), way.steps)


def told(snapshot: Snapshot, way: Way) -> str:
    """A way in words: "Al Pacino; through Insomnia, Christopher Nolan" for two hops, the name alone for one."""
    words = way.steps[0].name
    for before, step in zip(way.steps, way.steps[1:], strict=False):
        row = snapshot.row(before.content_id)
        between = snapshot.title(row).title if row is not None else before.content_id
        words += f"; through {between}, {step.name}"
    return words
