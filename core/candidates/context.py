"""What is wanted now: trending titles, lifted by the hour, the weekday, the season and its occasions, the device, mood,
company, weather and a running binge. What the log knows is learned from it, the rest are priors; both are bounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.calendar import Occasion, occasions
from core.candidates.company import Lift, wished
from core.candidates.gather import Ranking, top
from core.candidates.viewer import Viewer
from core.profile.session import BINGE_WINDOW_S, binged_series
from core.ranking.query import Context
from core.snapshot.snapshot import Snapshot

DAYPARTS = ("night", "morning", "afternoon", "evening")  # six hours each from midnight
MAX_LIFT = 2.0  # one circumstance at most doubles or halves a title: it bends popularity, it does not replace it
TOTAL_LIFT = 6.0  # all of them together
# Positives of a title at which what is known of its circumstances counts half. On ratings, whose hour says nothing of
# the viewing, undamped lifts cost a twelfth of popularity's NDCG@10, with 100 a sixtieth, with 500 nothing measurable.
LIFT_EVIDENCE = 500.0
BINGE_LIFT = 10.0  # the next episode of what is being binged comes first
SHORT_MINUTES, LONG_MINUTES = 30, 60  # specification: small screens favour short titles, television long ones
GENRE_SHARE = 1 / 3  # of an occasion's lift for what only has its genre: a horror film is not yet about Halloween
SHORT_RUNTIME_LIFT = 1.5


def daypart(time_of_day: str | None, now: float) -> int:
    """Index into DAYPARTS, from the caller's word or from the clock (UTC)."""
    if time_of_day in DAYPARTS:
        return DAYPARTS.index(time_of_day)
    return datetime.fromtimestamp(now, UTC).hour // 6


def dated(context: Context, calendar: str, now: float) -> Context:
    """The circumstances with the occasions of the calendar (core.candidates.calendar.parse_calendar) that are on."""
    found = occasions(calendar, now)
    return replace(context, occasions=found) if found else context


def context_scores(viewer: Viewer) -> NDArray:
    """(n,) positive for every title, so that this strategy can fill any answer that the catalogue allows."""
    context = viewer.context
    today = datetime.fromtimestamp(viewer.now, UTC)
    circumstances = Circumstances(
        daypart=daypart(context.time_of_day, viewer.now),
        weekend=today.weekday() >= 5,
        season=today.month % 12 // 3,
        device=context.device,
        wished=wished(context),
        occasions=context.occasions,
    )
    scores = viewer.trending + np.float32(1e-9)  # a title nobody watched still ranks, last
    scores *= _lifts(viewer.snapshot, circumstances)
    if viewer.genre_lifts is not None:
        scores *= viewer.genre_lifts
    series = _binged(viewer)
    if series >= 0:
        scores[viewer.snapshot.attributes["parent"] == series] *= BINGE_LIFT
    return scores


def context(viewer: Viewer, pool: int) -> Ranking:
    """The `pool` best by `context_scores` among what is allowed."""
    return top(context_scores(viewer), viewer.allowed, pool)


class Circumstances(NamedTuple):
    """What the lifts depend on."""

    daypart: int
    weekend: bool
    season: int
    device: str | None
    wished: tuple[Lift, ...]
    occasions: tuple[Occasion, ...]


# They do not change within a snapshot, and there are few; a snapshot takes its lifts with it.
_LIFTS: WeakKeyDictionary[Snapshot, dict[Circumstances, NDArray]] = WeakKeyDictionary()
LIFTS_PER_SNAPSHOT = 128


def _lifts(snapshot: Snapshot, circumstances: Circumstances) -> NDArray:
    """(n,) float32: the product of all lifts but the viewer's own."""
    kept = _LIFTS.setdefault(snapshot, {})
    lifts = kept.get(circumstances)
    if lifts is None:
        if len(kept) >= LIFTS_PER_SNAPSHOT:
            kept.pop(next(iter(kept)), None)  # the oldest
        lifts = kept[circumstances] = _lift_all(snapshot, circumstances)
    return lifts


def _lift_all(snapshot: Snapshot, now: Circumstances) -> NDArray:
    popular, genres = snapshot.popularity_all, snapshot.attributes["genres"]
    base = popular / max(float(popular.sum()), 1e-9)
    lifts = _lift(snapshot.dayparts[now.daypart], base) * _lift(snapshot.weekend[int(now.weekend)], base)
    if snapshot.seasons is not None:
        lifts *= _lift(snapshot.seasons[now.season], base)
    if now.device in snapshot.vocabulary.devices:
        lifts *= _lift(snapshot.devices[snapshot.vocabulary.devices.index(now.device)], base)
    lifts **= popular / (popular + LIFT_EVIDENCE)
    if now.device in snapshot.vocabulary.devices:
        lifts *= _runtime_lift(snapshot.attributes["runtime"], now.device)
    for names, lift in now.wished:
        lifts[genres & genre_mask(snapshot, names) != 0] *= lift
    for occasion in now.occasions:
        lifts *= _occasion_lift(snapshot, occasion)
    return np.clip(lifts, 1 / TOTAL_LIFT, TOTAL_LIFT).astype(np.float32)


def _occasion_lift(snapshot: Snapshot, occasion: Occasion) -> NDArray:
    lift = 1.0 + (occasion.lift - 1.0) * GENRE_SHARE
    lifts = np.where(snapshot.attributes["genres"] & genre_mask(snapshot, occasion.genres), lift, 1.0)
    lifts[suited(snapshot, occasion)] = occasion.lift
    return lifts


def suited(snapshot: Snapshot, occasion: Occasion) -> NDArray:
    """(n,) bool: the titles that are about an occasion, by their words or by name."""
    about = np.zeros(len(snapshot), bool)
    if snapshot.lexicon:
        for words in occasion.words:
            about |= snapshot.lexicon.match(words, len(snapshot))[1]
    rows = [snapshot.row(content_id) for content_id in occasion.titles]
    about[[row for row in rows if row is not None]] = True
    return about


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
        return np.where((runtime >= 0) & (runtime <= SHORT_MINUTES), SHORT_RUNTIME_LIFT, 1.0)
    return np.where(runtime > LONG_MINUTES, 1.1, 1.0) if device == "tv" else np.ones(len(runtime))


def _binged(viewer: Viewer) -> int:
    """Row of the series that is being binged, -1 without one."""
    history = viewer.state.history[-20:]
    if not len(history) or history["last_at"][-1] <= viewer.now - BINGE_WINDOW_S:
        return -1
    rows = viewer.snapshot.rows(history["key"])
    parents = np.where(rows >= 0, viewer.snapshot.attributes["parent"][rows], -1)
    return binged_series(history, parents, viewer.now)
