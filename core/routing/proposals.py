"""The titles that a plan asks for, best first: what is like others, what is new or leaving, what was named."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.context import genre_mask
from core.candidates.gather import Ranking, top
from core.ranking.fusion import fuse_rrf
from core.routing.plan import Plan
from core.snapshot.snapshot import Snapshot

DAY_S = 86_400.0
NEW_DAYS = 45.0  # since it was added somewhere
LEAVING_DAYS = 30.0  # until its last offer there ends
PLACES = 8.0  # further down a wish counts 1/e as much
# Shares of the neighbour lists in likeness; the same as of /api/v1/recommendations/similar.
LIKENESS = {"content": 0.35, "collaborative": 0.35, "graph": 0.30}


def asked_for(
    snapshot: Snapshot, plan: Plan, allowed: NDArray, pool: int, now: float, matches: Ranking | None = None
) -> Ranking | None:
    """The allowed titles that the plan asks for, or None where it leaves the choice open. matches: of its text, if it
    is searched by one.

    Several wishes are met together where any title meets them all; otherwise the first one counts. Scores fall with the
    place alone: those of fused ranks are nearly equal, and the viewer's taste would decide.
    """
    wishes = [matches] if matches is not None else []
    if plan.named:
        wishes.append(_in_order(plan.named, allowed))
    if plan.like:
        wishes.append(_alike(snapshot, plan.like, allowed, pool))
    if plan.by is not None:
        wishes.append(_in_order(plan.by, allowed))
    if plan.fresh:
        wishes.append(top(_timely(snapshot, plan, now), allowed, pool))
    wishes = [wish for wish in wishes if len(wish.rows)]
    if not wishes:
        return None
    first, *others = wishes
    others += [Ranking(np.flatnonzero(_of_all(snapshot, plan.genres)), np.empty(0))] if len(plan.genres) > 1 else []
    for other in others:
        both = np.isin(first.rows, other.rows)
        if both.any():
            first = Ranking(first.rows[both], first.scores[both])
    return Ranking(first.rows, np.exp(-np.arange(len(first.rows)) / PLACES))


def _of_all(snapshot: Snapshot, genres: tuple[str, ...]) -> NDArray:
    """(n,) bool: the titles of all these genres; a filter means any of them."""
    masks = [snapshot.attributes["genres"] & genre_mask(snapshot, (genre,)) for genre in genres]
    return np.all(np.array(masks) > 0, axis=0)


def _in_order(rows: tuple[int, ...], allowed: NDArray) -> Ranking:
    kept = np.array([row for row in rows if allowed[row]], np.int64)
    return Ranking(kept, 1.0 / np.arange(1, len(kept) + 1))


def _alike(snapshot: Snapshot, anchors: tuple[int, ...], allowed: NDArray, pool: int) -> Ranking:
    """Neighbours of the anchors by content, by audience and in the graph, by reciprocal rank fusion."""
    others = allowed.copy()
    others[list(anchors)] = False
    rankings = {}
    for name, lists in (
        ("content", snapshot.content),
        ("collaborative", snapshot.collaborative),
        ("graph", snapshot.graph),
    ):
        scores = np.zeros(len(snapshot))
        for row in anchors:
            np.add.at(scores, lists.index[row], lists.weight[row].astype(np.float64))
        rankings[name] = top(scores, others, pool)
    fused = fuse_rrf(rankings, LIKENESS)
    return Ranking(fused.rows[:pool], fused.scores[:pool])


def _timely(snapshot: Snapshot, plan: Plan, now: float) -> NDArray:
    """(n,) how soon each title leaves or how lately it came, in (0, 1]; 0 where neither is near. Only offers on the
    platforms and in the region that the query names count."""
    offers, words, filters = snapshot.availability, snapshot.vocabulary, plan.query.filters
    valid = (offers["added_at"] <= now) & (now < offers["expires_at"])
    if filters.services:
        valid &= np.isin(offers["service"], [words.services.index(s) for s in filters.services if s in words.services])
    if filters.region:
        valid &= offers["region"] == (words.regions.index(filters.region) if filters.region in words.regions else -1)
    chosen = offers[valid]
    if plan.fresh == "leaving":
        closeness = 1.0 - (chosen["expires_at"] - now) / (LEAVING_DAYS * DAY_S)
    else:
        closeness = 1.0 - (now - chosen["added_at"]) / (NEW_DAYS * DAY_S)
    scores = np.zeros(len(snapshot))
    np.maximum.at(scores, chosen["row"], np.maximum(closeness, 0.0))
    return scores
