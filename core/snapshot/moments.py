"""Replaying the last stretch of the interactions: what a request would have known just before somebody liked a title.

The snapshot is one of the time before that stretch. States hold what the interactions still tell: one entry per title,
its strength as stars. The counters are those that ingest would have kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.candidates.live import STEPS, LiveTransitions
from core.candidates.viewer import view
from core.interaction import MAX_STARS
from core.profile.state import HISTORY_LIMIT, UserState, empty_history
from core.ranking.examples import Moment
from core.ranking.query import Context, Filters
from core.ranking.rules import allowed_rows
from core.snapshot.inputs import POSITIVE, Interactions
from core.snapshot.snapshot import Snapshot

HOLDOUTS = ("time", "last")
_RATED = 0.9  # strength of a title that a rating fully speaks for: core.interaction.signal_strength
_NEUTRAL_STARS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Interactions cut in two. `known` (m,) bool: what the item side may learn from; `asked` (k,) indices of the likes
    after it, in order of time; `online`: whether counters go on meanwhile."""

    known: NDArray[np.bool_]
    asked: NDArray[np.int64]
    online: bool
    cut: float  # Unix seconds at which the item side ends


def last_stretch(interactions: Interactions, share: float, most: int, holdout: str = "time") -> Stretch:
    """The latest `share` of the likes, at most `most` of them, evenly drawn.

    holdout "last" takes the last like of each user instead: for data that knows the order of each user's titles, but
    nothing of when.
    """
    liked = np.flatnonzero(interactions.weight >= POSITIVE)
    if not len(liked):
        return Stretch(np.ones(len(interactions.at), bool), liked, False, 0.0)
    if holdout == "last":
        ends = np.append(interactions.user[liked][1:] != interactions.user[liked][:-1], True)
        asked = liked[ends]
        until = np.full(interactions.users, len(interactions.at))
        until[interactions.user[asked]] = asked
        known = np.arange(len(interactions.at)) < until[interactions.user]
        cut = float(interactions.at.max())
    else:
        cut = float(np.quantile(interactions.at[liked], 1.0 - share))
        known = interactions.at < cut
        asked = liked[interactions.at[liked] >= cut]
    asked = asked[np.argsort(interactions.at[asked], kind="stable")]
    asked = asked[np.unique(np.linspace(0, len(asked) - 1, min(most, len(asked))).astype(np.int64))]
    return Stretch(known, asked, holdout == "time", cut)


def before(interactions: Interactions, known: NDArray[np.bool_]) -> Interactions:
    """The interactions `known` (m,)."""
    columns = {name: getattr(interactions, name)[known] for name in ("user", "key", "weight", "at", "device")}
    return replace(interactions, **columns)


def moments(
    interactions: Interactions,
    stretch: Stretch,
    snapshot: Snapshot,
    half_life_s: float,
    history_decay: float,
    min_likes: int,
) -> Iterator[Moment]:
    """One moment for each like of the stretch whose title the snapshot knows, in order of time.

    interactions: episodes counted as their series (core.adaptation.evidence.of_series). Titles with fewer likes than
    `min_likes` are no candidates: that nobody chose what nobody could know says nothing about weights.
    """
    rows = snapshot.rows(interactions.key)
    counters = _Counters(interactions, rows, len(snapshot), half_life_s)
    live = _Live(interactions, rows, stretch.cut) if stretch.online else None
    start = np.searchsorted(interactions.user, np.arange(interactions.users + 1))
    known_well = snapshot.popularity_all >= min_likes
    for index in stretch.asked.tolist():
        if rows[index] < 0:
            continue
        user, now = int(interactions.user[index]), float(interactions.at[index])
        counts = counters.until(now) if stretch.online else counters.none
        state = _state(interactions, int(start[user]), index)
        allowed = allowed_rows(snapshot, state, Filters(), (), True, now) & known_well
        device = interactions.device[index]
        context = Context(device=interactions.device_names[device] if device >= 0 else None)
        since = live.until(now) if live else None
        viewer = view(snapshot, state, context, now, counts, allowed, history_decay, live=since)
        yield Moment(viewer, int(rows[index]), user)


class _Counters:
    """Decayed counts of what ingest counts, moving forward in time."""

    def __init__(self, interactions: Interactions, rows: NDArray[Any], n: int, half_life_s: float) -> None:
        counted = np.flatnonzero((rows >= 0) & (interactions.weight > 0))
        counted = counted[np.argsort(interactions.at[counted], kind="stable")]
        self._row, self._at = rows[counted], interactions.at[counted]
        self._rate = 1.0 / half_life_s
        self._counts = np.zeros(n)
        self._next, self._moment = 0, float(self._at[0]) if len(counted) else 0.0
        self.none = np.zeros(n)

    def until(self, now: float) -> NDArray[np.float64]:
        """(n,) counts of everything before `now`."""
        upto = int(np.searchsorted(self._at, now))
        fresh = slice(self._next, upto)
        self._counts *= 2.0 ** ((self._moment - now) * self._rate)
        np.add.at(self._counts, self._row[fresh], 2.0 ** ((self._at[fresh] - now) * self._rate))
        self._next, self._moment = upto, now
        return self._counts.copy()


class _Live:
    """What people go on to from the cut on, moving forward in time."""

    def __init__(self, interactions: Interactions, rows: NDArray[Any], cut: float) -> None:
        liked = np.flatnonzero((rows >= 0) & (interactions.weight >= POSITIVE))
        self._user, self._row = interactions.user[liked], rows[liked]
        at = interactions.at[liked]
        later = np.flatnonzero(at >= cut)
        self._later = later[np.argsort(at[later], kind="stable")]
        self._at = at[self._later]
        self._next = 0
        self._transitions = LiveTransitions()

    def until(self, now: float) -> LiveTransitions:
        """Those of everything before `now`; the next call adds to them."""
        upto = int(np.searchsorted(self._at, now))
        for place in self._later[self._next : upto].tolist():
            before = slice(max(place - STEPS, 0), place)
            own = self._user[before] == self._user[place]
            self._transitions.add(self._row[before][own].tolist(), int(self._row[place]))
        self._next = max(upto, self._next)
        return self._transitions


def _state(interactions: Interactions, start: int, end: int) -> UserState:
    """The state after the interactions start..end of one user, which lie in order of time."""
    latest = slice(max(end - HISTORY_LIMIT, start), end)
    history = np.zeros(latest.stop - latest.start, empty_history().dtype)
    history["key"] = interactions.key[latest]
    history["last_at"] = history["opinion_at"] = interactions.at[latest]
    stars = _NEUTRAL_STARS + interactions.weight[latest] / _RATED
    history["stars"] = np.clip(stars, 0.0, MAX_STARS)
    return UserState(str(interactions.user[start]), history=history, seen=interactions.key[start : latest.start])
