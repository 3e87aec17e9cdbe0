"""What is wanted now: trending titles, lifted by time of day, weekday, device, mood, company and a running binge."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer
from core.profile.session import binged_series
from core.snapshot.snapshot import Snapshot

DAYPARTS = ("night", "morning", "afternoon", "evening")  # six hours each from midnight
MAX_LIFT = 2.0  # one circumstance at most doubles or halves a title: it bends popularity, it does not replace it
MOOD_LIFT = 1.5
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
    snapshot, context = viewer.snapshot, viewer.context
    scores = viewer.trending + np.float32(1e-9)  # a title nobody watched still ranks, last
    popular = snapshot.popularity_all
    base = popular / max(float(popular.sum()), 1e-9)
    scores = scores * _lift(snapshot.dayparts[daypart(context.time_of_day, viewer.now)], base)
    weekend = datetime.fromtimestamp(viewer.now, UTC).weekday() >= 5
    scores *= _lift(snapshot.weekend[int(weekend)], base)
    if context.device in snapshot.vocabulary.devices:
        scores *= _lift(snapshot.devices[snapshot.vocabulary.devices.index(context.device)], base)
        scores *= _runtime_lift(snapshot.attributes["runtime"], context.device)
    wanted = MOOD_GENRES.get(context.mood or "", ())
    wanted += tuple(genre for company in context.viewing_with for genre in COMPANY_GENRES.get(company, ()))
    if wanted:
        scores *= np.where(snapshot.attributes["genres"] & genre_mask(snapshot, wanted), MOOD_LIFT, 1.0)
    return scores * _binge_lift(viewer)


def context(viewer: Viewer, pool: int) -> Ranking:
    return top(context_scores(viewer), viewer.allowed, pool)


def genre_mask(snapshot: Snapshot, genres: tuple[str, ...]) -> np.uint32:
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


def _binge_lift(viewer: Viewer) -> NDArray:
    history = viewer.state.history[-20:]
    rows = viewer.snapshot.rows(history["key"])
    parents = np.where(rows >= 0, viewer.snapshot.attributes["parent"][rows], -1)
    series = binged_series(history, parents, viewer.now)
    if series < 0:
        return np.ones(len(viewer.allowed))
    return np.where(viewer.snapshot.attributes["parent"] == series, BINGE_LIFT, 1.0)
