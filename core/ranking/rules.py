"""Which titles may appear at all: filters, exclusions and what was already seen."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.context import genre_mask
from core.catalog import content_key
from core.profile.state import UserState
from core.ranking.query import Filters
from core.snapshot.snapshot import Snapshot

# Facts do not change within a snapshot and callers use few different filters; a snapshot takes its masks with it.
_MASKS: WeakKeyDictionary[Snapshot, dict[Filters, NDArray]] = WeakKeyDictionary()
MASKS_PER_SNAPSHOT = 64


def allowed_rows(
    snapshot: Snapshot, state: UserState, filters: Filters, exclude: tuple[str, ...], exclude_seen: bool, now: float
) -> NDArray:
    """(n,) bool mask of the titles that an answer may contain."""
    allowed = filtered(snapshot, filters, now)
    keys = [np.array([content_key(content_id) for content_id in exclude], np.uint64)]
    if exclude_seen:
        keys.append(state.seen_keys())
    rows = snapshot.rows(np.concatenate(keys))
    rows = rows[rows >= 0]
    allowed[rows] = False
    if exclude_seen:  # whoever watches an episode knows the series
        parents = snapshot.attributes["parent"][rows]
        allowed[parents[parents >= 0]] = False
    return allowed


def filtered(snapshot: Snapshot, filters: Filters, now: float) -> NDArray:
    """(n,) bool, a fresh array. Availability is judged at `now`; everything else is a fact of the snapshot."""
    cached = _MASKS.setdefault(snapshot, {})
    if filters not in cached:
        if len(cached) >= MASKS_PER_SNAPSHOT:
            cached.clear()
        cached[filters] = _by_facts(snapshot, filters)
    mask = cached[filters].copy()
    if filters.services or filters.region:
        mask &= _available(snapshot, filters, now)
    return mask


def _by_facts(snapshot: Snapshot, filters: Filters) -> NDArray:
    facts, words = snapshot.attributes, snapshot.vocabulary
    mask = np.isin(facts["type"], [words.types.index(kind) for kind in filters.types if kind in words.types])
    if filters.genres:
        mask &= (facts["genres"] & genre_mask(snapshot, filters.genres)) != 0
    if filters.exclude_genres:
        mask &= (facts["genres"] & genre_mask(snapshot, filters.exclude_genres)) == 0
    if filters.languages:
        codes = [words.languages.index(name) for name in filters.languages if name in words.languages]
        mask &= np.isin(facts["language"], codes)
    for name, low, high in (
        ("year", filters.year_min, filters.year_max),
        ("maturity", None, filters.maturity_max),
        ("runtime", None, filters.runtime_max),
    ):
        if low is not None:
            mask &= facts[name] >= low
        if high is not None:
            mask &= (facts[name] >= 0) & (facts[name] <= high)
    return mask


def _available(snapshot: Snapshot, filters: Filters, now: float) -> NDArray:
    offers, words = snapshot.availability, snapshot.vocabulary
    valid = (offers["added_at"] <= now) & (now < offers["expires_at"])
    if filters.services:
        codes = [words.services.index(name) for name in filters.services if name in words.services]
        valid &= np.isin(offers["service"], codes)
    if filters.region:
        code = words.regions.index(filters.region) if filters.region in words.regions else -1
        valid &= offers["region"] == code
    mask = np.zeros(len(snapshot.keys), bool)
    mask[offers["row"][valid]] = True
    return mask
