"""What strategies look at: one viewer against one snapshot, computed once per request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.candidates.arms import FEW, Outcomes, genre_lifts
from core.candidates.live import LiveTransitions
from core.catalog import content_key
from core.profile.preference import DAY_S, decay, preference_weights
from core.profile.session import Session, current_session
from core.profile.state import UserState
from core.ranking.query import Context
from core.snapshot.snapshot import Snapshot

WINDOW = 50  # titles of history that strategies use; .8^50 < 1e-4
# What was always popular counts like so many events of now. Where six hundred count at a time, 100 costs .006 NDCG@10
# and 30 a third of that; where forty do, new viewers gain .12 from 10 and .14 from 30.
PRIOR_EVENTS = 30.0


@dataclass(frozen=True, slots=True)
class Viewer:
    """`rows` (m,) are snapshot rows of the recent history, oldest first, an episode standing for its series.

    at: (m,) Unix seconds of their latest events; liking: (m,) positive preference, 0 for what was not liked; recency:
    (m,) liking x position decay, latest positive title = 1; liked: (p,) places of those that speak for something;
    taste: (m,) signed preference x time decay; session: what is being watched in a row;
    favourites: (k,) rows of all liked titles that the state knows, older ones too, and esteem (k,) their preference;
    trending: (n,) decayed online counts, sum 1; allowed: (n,) bool, what may be recommended at all;
    genre_lifts: (n,) what little is known of a new viewer makes of popularity, None for whoever has a history;
    live: what people went on to since the snapshot, None where nothing is known of that.
    """

    snapshot: Snapshot
    state: UserState
    context: Context
    now: float
    rows: NDArray
    at: NDArray
    liking: NDArray
    recency: NDArray
    liked: NDArray
    taste: NDArray
    favourites: NDArray
    esteem: NDArray
    trending: NDArray
    allowed: NDArray
    session: Session
    genre_lifts: NDArray | None = None
    live: LiveTransitions | None = None

    @property
    def positives(self) -> int:
        """Titles of the window that speak for something: the amount of evidence."""
        return len(self.liked)

    def in_session(self, places: NDArray) -> int:
        """How many of these places of the window belong to the running session."""
        return int(np.count_nonzero(self.at[places] >= self.session.started_at)) if self.session.size else 0


def view(
    snapshot: Snapshot,
    state: UserState,
    context: Context,
    now: float,
    counts: NDArray,
    allowed: NDArray,
    history_decay: float,
    outcomes: Outcomes | None = None,
    draw: bool = False,
    live: LiveTransitions | None = None,
) -> Viewer:
    """Look at a user through a snapshot. counts: (n,) decayed online counts of positive events; zeros are fine.

    outcomes: of the answers so far; draw: new viewers get a draw from the bandit's posterior instead of its mean.
    """
    history = state.history
    rows = rows_of(snapshot, history)
    parents = snapshot.attributes["parent"][rows]
    rows = np.where((rows >= 0) & (parents >= 0), parents, rows)
    weights = preference_weights(history)
    usable = (rows >= 0) & (weights != 0)
    favourites = usable & (weights > 0)
    favourites, esteem = rows[favourites], weights[favourites]
    window = usable.nonzero()[0][-WINDOW:]
    rows, weights, at = rows[window], weights[window], history["last_at"][window]
    liking = np.maximum(weights, 0.0)
    liked = liking.nonzero()[0]
    recency = liking.copy()
    recency[liked] *= _decays(history_decay)[WINDOW - len(liked) :]
    days = np.maximum(now - at, 0.0) / DAY_S
    taste = (weights * decay(days)).astype(np.float32)
    trending = _shares(counts, snapshot.popularity_all)
    lifts = None
    if len(liked) <= FEW:
        rng = np.random.default_rng([content_key(state.user_id), state.seq]) if draw else None
        lifts = genre_lifts(snapshot, state, rows, taste, outcomes, rng)
    return Viewer(
        snapshot=snapshot,
        state=state,
        context=context,
        now=now,
        rows=rows,
        at=at,
        liking=liking,
        recency=recency,
        liked=liked,
        taste=taste,
        favourites=favourites,
        esteem=esteem,
        trending=trending,
        allowed=allowed,
        session=current_session(history, now),
        genre_lifts=lifts,
        live=live,
    )


@lru_cache(maxsize=8)
def _decays(decay: float) -> NDArray[np.float32]:
    """(WINDOW,) powers of `decay`, ending with 1."""
    return (decay ** np.arange(WINDOW - 1, -1, -1)).astype(np.float32)


_found: tuple[Snapshot, NDArray, NDArray] | None = None


def rows_of(snapshot: Snapshot, history: NDArray) -> NDArray[np.int32]:
    """(n,) rows of a history's titles, -1 where the snapshot does not know one; one request asks twice in a row."""
    global _found
    found = _found
    if found is None or found[0] is not snapshot or found[1] is not history:
        found = _found = snapshot, history, snapshot.rows(history["key"])
        found[2].flags.writeable = False
    return found[2]


_latest: tuple[NDArray, NDArray, NDArray] | None = None  # counts, prior and their shares


def _shares(counts: NDArray, prior: NDArray) -> NDArray:
    """As `normalise_counts`; kept for counts that nobody can change, because requests share theirs for seconds."""
    global _latest
    latest = _latest
    if latest is not None and latest[0] is counts and latest[1] is prior:
        return latest[2]
    shares = normalise_counts(counts, prior)
    if not counts.flags.writeable:
        shares.flags.writeable = False
        _latest = counts, prior, shares
    return shares


def normalise_counts(counts: NDArray, prior: NDArray) -> NDArray:
    """(n,) float32 shares that sum to 1: online counts, with the snapshot's popularity where little is counted.

    The prior weighs like at most PRIOR_EVENTS, so that live counts take over as soon as there are some.
    """
    prior_total, live_total = float(prior.sum()), float(counts.sum())
    weight = min(PRIOR_EVENTS, prior_total)
    blended = counts + prior * (weight / prior_total if prior_total > 0 else 0.0)
    total = live_total + weight
    if total <= 0:
        return np.full(len(counts), 1.0 / max(len(counts), 1), np.float32)
    return (blended / total).astype(np.float32)
