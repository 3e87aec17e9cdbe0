"""What a viewer has seen. A film is seen once it was started, judged or dismissed; a series once it is finished."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.viewer import rows_of
from core.profile.state import Fact, UserState
from core.snapshot.snapshot import Snapshot

FINISHED = 0.9  # share watched: the credits are not part of it
NEUTRAL_STARS = 3.0  # whoever gives a series less will not go on with it
_STARTED, _STARTED_OR_SKIPPED = np.uint32(Fact.STARTED), np.uint32(Fact.STARTED | Fact.SKIPPED)

_EPISODES: WeakKeyDictionary[Snapshot, NDArray] = WeakKeyDictionary()  # a snapshot takes its counts with it


def seen_rows(snapshot: Snapshot, state: UserState, series: str = "finished") -> NDArray:
    """(k,) rows of the titles that a viewer has seen.

    series: which count as seen, "finished" or all that were "started". Finished is a series whose own progress says so,
    or of which all episodes that the catalogue has were watched to the end; a half watched one may be continued, unless
    it was skipped or disliked.
    """
    history, known, facts = state.history, state.known(), snapshot.attributes
    rows = rows_of(snapshot, history)[known]
    if len(state.seen):
        rows = np.concatenate([snapshot.rows(state.seen), rows])
    here, parents = rows >= 0, facts["parent"][rows]
    episodes = here & (parents >= 0)
    if series != "finished":
        return np.concatenate([rows[here], parents[episodes]])
    series_too = facts["type"][rows] == _series_code(snapshot)
    if not episodes.any() and not series_too.any():
        return rows[here]
    under_way = np.zeros(len(rows), bool)
    under_way[len(state.seen) :] = _under_way(history)[known]
    own = rows[here & ~(under_way & series_too)]
    begun, watched = np.unique(parents[episodes & ~under_way], return_counts=True)
    return np.concatenate([own, begun[watched >= _episodes(snapshot)[begun]]])


def _under_way(history: NDArray) -> NDArray:
    """(n,) bool: begun, not at its end, and not given up."""
    begun = (history["flags"] & _STARTED_OR_SKIPPED) == _STARTED
    return np.asarray(begun & (history["progress"] < FINISHED) & ~(history["stars"] < NEUTRAL_STARS))


def _series_code(snapshot: Snapshot) -> int:
    types = snapshot.vocabulary.types
    return types.index("series") if "series" in types else len(types)


def _episodes(snapshot: Snapshot) -> NDArray:
    """(n,) how many episodes of each series the catalogue has."""
    if snapshot not in _EPISODES:
        parents = snapshot.attributes["parent"]
        _EPISODES[snapshot] = np.bincount(parents[parents >= 0], minlength=len(snapshot))
    return _EPISODES[snapshot]
