"""One event as a lesson for the fast tier: the query it met, the title it was about, and titles that were passed over.

Everything is deterministic given the state before, the event, its place in the log and the snapshot.
"""

from __future__ import annotations

from hashlib import blake2b
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.adaptation.examples import ground
from core.adaptation.fast_tier import FastTier, in_space, learn
from core.adaptation.query import RECENT, query_vector, recency_weights
from core.adaptation.space import Space
from core.catalog import content_key
from core.interaction import Event, Interaction, signal_strength
from core.profile.preference import preference_weights
from core.profile.session import current_session
from core.profile.state import UserState
from core.snapshot.snapshot import Snapshot

PASSED_OVER = 20  # titles that an event is held against; 100 are no better in offline trials
NEAR = 5  # of them from the neighbours of recent likes: what would be recommended; 0 to 10 measure the same
NEIGHBOURS = 20  # of each recent like that these are drawn from
POPULARITY_POWER = 0.75  # tempers the popularity that the others are drawn by (Mikolov et al. 2013)
LOOK_BACK = 4 * RECENT  # entries of the history that the recent likes are looked for in

_COUNTERS = np.arange(1, PASSED_OVER + NEAR + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

_POPULAR: WeakKeyDictionary[Snapshot, NDArray[np.float64]] = WeakKeyDictionary()


def learned(snapshot: Snapshot, state: UserState, seq: int, event: Event) -> FastTier | None:
    """The fast tier after `event`, number `seq` of the log; `state` is the one before it.

    What the history already says about the title is not said again: the advantage is the event's strength beyond it, so
    that many reports of one viewing teach together what one would. The tier stays as it is when there is nothing new to
    learn, no like to learn it from, or no space to learn it in.
    """
    space, strength = snapshot.space, signal_strength(event) if isinstance(event, Interaction) else 0.0
    if space is None or strength == 0.0 or not isinstance(event, Interaction):
        return state.fast
    history, key = state.history[-LOOK_BACK:], np.uint64(content_key(event.content_id))
    rows, weights = series_rows(snapshot, np.append(history["key"], key)), preference_weights(history)
    row, rows = int(rows[-1]), rows[:-1]
    advantage = _news(strength, weights[history["key"] == key])
    liked = np.flatnonzero((weights > 0) & (rows >= 0) & (rows != row))[-RECENT:]
    if row < 0 or advantage == 0.0 or not len(liked):
        return state.fast
    session = current_session(history, event.occurred_at)
    in_session = int(np.count_nonzero(history["last_at"][liked] >= session.started_at)) if session.size else 0
    q = query_vector(space, rows[liked], recency_weights(len(liked), in_session))
    if not q.any() or not space.targets[row].any():
        return state.fast
    known = np.append(rows[liked], row)
    items = space.targets[np.append(row, passed_over(snapshot, space, state.user_id, seq, known))] / ground(space).reach
    return learn(in_space(state.fast, space), space, q, items, advantage)


def series_rows(snapshot: Snapshot, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """(m,) content keys -> (m,) rows, an episode standing for its series; -1 where the snapshot does not know it."""
    rows = snapshot.rows(keys)
    parents = snapshot.attributes["parent"][rows]
    return np.where((rows >= 0) & (parents >= 0), parents, rows)


def _news(strength: float, said: NDArray) -> float:
    """What an event of this strength adds to what the history says already: `said`, one weight or none."""
    known = float(said[0]) if len(said) else 0.0
    if known * strength > 0 and abs(strength) <= abs(known):
        return 0.0
    return min(max(strength - known, -1.0), 1.0)


def passed_over(snapshot: Snapshot, space: Space, user_id: str, seq: int, known: NDArray) -> NDArray[np.intp]:
    """At most PASSED_OVER rows that are none of `known` (k,), recent likes and, last, the event's own title.

    NEAR of them are neighbours of the likes, the rest is drawn by popularity; by hashing, which takes a tenth of the
    time of seeding a generator.
    """
    drawn = _uniform(user_id, seq)
    popular = np.searchsorted(_popularity(snapshot, space), drawn[NEAR:PASSED_OVER], side="right")
    likes = known[(drawn[:NEAR] * (len(known) - 1)).astype(np.intp)]
    index = snapshot.collaborative.index
    near = index[likes, (drawn[PASSED_OVER:] * min(NEIGHBOURS, index.shape[1])).astype(np.intp)]
    rows = np.concatenate([near, popular])
    return np.asarray(rows[~(rows[:, None] == known).any(axis=1)], np.intp)


def _uniform(user_id: str, seq: int) -> NDArray[np.float64]:
    """(PASSED_OVER + NEAR,) numbers in [0, 1): SplitMix64 (Steele et al. 2014), seeded by a hash of user and place."""
    seed = int.from_bytes(blake2b(f"{user_id}\0{seq}".encode(), digest_size=8).digest(), "little")
    x = _COUNTERS + np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _popularity(snapshot: Snapshot, space: Space) -> NDArray[np.float64]:
    """(n,) cumulated chances, the last 1: tempered likes of the titles that the space knows, evenly where none has any.

    A title never goes beyond it: searchsorted of a number below 1 stays below n.
    """
    cumulated = _POPULAR.get(snapshot)
    if cumulated is None:
        known = (space.targets != 0).any(axis=1)
        chance = np.where(known, snapshot.popularity_all.astype(np.float64) ** POPULARITY_POWER, 0.0)
        cumulated = np.cumsum(chance if chance.any() else np.ones(len(chance)))
        cumulated /= cumulated[-1]
        _POPULAR[snapshot] = cumulated
    return cumulated
