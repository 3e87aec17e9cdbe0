"""Which titles may appear at all: filters, exclusions and what was already seen."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.company import maturity_care
from core.candidates.context import genre_mask
from core.catalog import content_key
from core.profile.state import UserState
from core.ranking.query import Context, Filters
from core.ranking.seen import seen_rows
from core.snapshot.snapshot import Snapshot

# Facts do not change within a snapshot and callers use few different filters; a snapshot takes its masks with it.
_MASKS: WeakKeyDictionary[Snapshot, dict[Filters, NDArray]] = WeakKeyDictionary()
MASKS_PER_SNAPSHOT = 64


def spared(snapshot: Snapshot, viewing_with: tuple[str, ...]) -> NDArray | bool:
    """(n,) bool: titles that nobody who watches along is too young for; True where nobody is. A title without an age
    rating is let through: in catalogues without any, families would be left with nothing."""
    limit = maturity_care(viewing_with)
    return True if limit is None else snapshot.attributes["maturity"] <= limit  # unknown is -1


def allowed_rows(
    snapshot: Snapshot,
    state: UserState,
    filters: Filters,
    exclude: tuple[str, ...],
    exclude_seen: bool,
    now: float,
    series: str = "finished",
) -> NDArray:
    """(n,) bool mask of the titles that an answer may contain. series: see core.ranking.seen."""
    allowed = filtered(snapshot, filters, now)
    if exclude:
        rows = snapshot.rows(np.array([content_key(content_id) for content_id in exclude], np.uint64))
        allowed[rows[rows >= 0]] = False
    if exclude_seen:
        allowed[seen_rows(snapshot, state, series)] = False
    return allowed


def on_own_platforms(filters: Filters, context: Context, state: UserState) -> Filters:
    """The filters with the viewer's own platforms and region in them, if they ask for what is there: those of the
    request, or else of the profile. A viewer without any gets what is anywhere."""
    if not filters.own_platforms:
        return filters
    about = state.onboarding
    own = context.platforms or (about.platforms if about else ())
    region = filters.region or context.region or (about.region if about else None)
    return replace(filters, services=filters.services or own, region=region, own_platforms=False)


def filtered(snapshot: Snapshot, filters: Filters, now: float) -> NDArray:
    """(n,) bool, a fresh array. Availability is judged at `now`; everything else is a fact of the snapshot."""
    cached = _MASKS.setdefault(snapshot, {})
    facts = cached.get(filters)
    if facts is None:
        if len(cached) >= MASKS_PER_SNAPSHOT:
            cached.clear()
        facts = cached[filters] = _by_facts(snapshot, filters)
    mask = facts.copy()
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
        ("runtime", filters.runtime_min, filters.runtime_max),
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
