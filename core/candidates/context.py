"""What is wanted now: trending titles, lifted by time of day, weekday, device, mood, company and a running binge."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer
from core.profile.session import BINGE_WINDOW_S, binged_series
from core.snapshot.snapshot import Snapshot

DAYPARTS = ("night", "morning", "afternoon", "evening")  # six hours each from midnight
MAX_LIFT = 2.0  # one circumstance at most doubles or halves a title: it bends popularity, it does not replace it
MOOD_LIFT = 1.5
# Positives of a title at which what is known of its circumstances counts half. On ratings, whose hour says nothing of
# the viewing, undamped lifts cost a twelfth of popularity's NDCG@10, with 100 a sixtieth, with 500 nothing measurable.
LIFT_EVIDENCE = 500.0
BINGE_LIFT = 10.0  # the next episode of what is being binged comes first
SHORT_MINUTES, LONG_MINUTES = 30, 60  # specification: small screens favour short titles, television long ones

MOOD_GENRES = {
    "happy": ("comedy", "family", "animation"),
    "sad": ("drama", "romance"),
    "excited": ("action", "adventure", "thriller"),
    "relaxed": ("documentary", "comedy", "family"),
    "scared": ("horror", "thriller"),
    "romantic": ("romance", "drama"),
    "curious": ("documentary", "mystery", "science fiction"),
    "nostalgic": ("family", "musical", "western"),
}
COMPANY_GENRES = {"kids": ("family", "animation"), "family": ("family", "animation", "adventure")}


def daypart(time_of_day: str | None, now: float) -> int:
    """Index into DAYPARTS, from the caller's word or from the clock (UTC)."""
    if time_of_day in DAYPARTS:
        return DAYPARTS.index(time_of_day)
    return datetime.fromtimestamp(now, UTC).hour // 6


def context_scores(viewer: Viewer) -> NDArray:
    """(n,) positive for every title, so that this strategy can fill any answer that the catalogue allows."""
    context = viewer.context
    wanted = MOOD_GENRES.get(context.mood or "", ())
    wanted += tuple(genre for company in context.viewing_with for genre in COMPANY_GENRES.get(company, ()))
    weekend = datetime.fromtimestamp(viewer.now, UTC).weekday() >= 5
    circumstances = (daypart(context.time_of_day, viewer.now), weekend, context.device, frozenset(wanted))
    scores = viewer.trending + np.float32(1e-9)  # a title nobody watched still ranks, last
    scores *= _lifts(viewer.snapshot, circumstances)
    series = _binged(viewer)
    if series >= 0:
        scores[viewer.snapshot.attributes["parent"] == series] *= BINGE_LIFT
    return scores


def context(viewer: Viewer, pool: int) -> Ranking:
    return top(context_scores(viewer), viewer.allowed, pool)


Circumstances = tuple[int, bool, str | None, frozenset[str]]  # daypart, weekend, device, genres that suit

# They do not change within a snapshot, and there are few; a snapshot takes its lifts with it.
_LIFTS: WeakKeyDictionary[Snapshot, dict[Circumstances, NDArray]] = WeakKeyDictionary()
LIFTS_PER_SNAPSHOT = 64


def _lifts(snapshot: Snapshot, circumstances: Circumstances) -> NDArray:
    """(n,) float32: the product of all lifts but the viewer's own."""
    kept = _LIFTS.setdefault(snapshot, {})
    if circumstances not in kept:
        if len(kept) >= LIFTS_PER_SNAPSHOT:
            kept.clear()
        kept[circumstances] = _lift_all(snapshot, circumstances)
    return kept[circumstances]


def _lift_all(snapshot: Snapshot, circumstances: Circumstances) -> NDArray:
    part, weekend, device, wanted = circumstances
    popular = snapshot.popularity_all
    base = popular / max(float(popular.sum()), 1e-9)
    lifts = _lift(snapshot.dayparts[part], base) * _lift(snapshot.weekend[int(weekend)], base)
    if device in snapshot.vocabulary.devices:
        lifts *= _lift(snapshot.devices[snapshot.vocabulary.devices.index(device)], base)
    lifts **= popular / (popular + LIFT_EVIDENCE)
    if device in snapshot.vocabulary.devices:
        lifts *= _runtime_lift(snapshot.attributes["runtime"], device)
    if wanted:
        lifts *= np.where(snapshot.attributes["genres"] & genre_mask(snapshot, wanted), MOOD_LIFT, 1.0)
    return lifts.astype(np.float32)


def genre_mask(snapshot: Snapshot, genres: Iterable[str]) -> np.uint32:
    """Bits of the genres that the snapshot knows."""
    known = snapshot.vocabulary.genres
    return np.uint32(sum(1 << known.index(genre) for genre in set(genres) if genre in known))


def _lift(conditional: NDArray, base: NDArray) -> NDArray:
    """P(title | circumstance) / P(title), bounded; 1 where nothing is known of the title."""
    ratio = np.divide(conditional, base, out=np.ones_like(conditional), where=base > 0)
    return np.clip(ratio, 1 / MAX_LIFT, MAX_LIFT)


def _runtime_lift(runtime: NDArray, device: str) -> NDArray:
    if device in ("mobile", "tablet"):
        return np.where((runtime >= 0) & (runtime <= SHORT_MINUTES), MOOD_LIFT, 1.0)
    return np.where(runtime > LONG_MINUTES, 1.1, 1.0) if device == "tv" else np.ones(len(runtime))


def _binged(viewer: Viewer) -> int:
    """Row of the series that is being binged, -1 without one."""
    history = viewer.state.history[-20:]
    if not len(history) or history["last_at"][-1] <= viewer.now - BINGE_WINDOW_S:
        return -1
    rows = viewer.snapshot.rows(history["key"])
    parents = np.where(rows >= 0, viewer.snapshot.attributes["parent"][rows], -1)
    return binged_series(history, parents, viewer.now)
