"""A place for new titles: who is never shown is never liked, and who is never liked is never shown.

One place of an answer goes to a title that is new, that few have liked yet and that goes with what the viewer liked, by
Thompson sampling (Thompson 1933; Chapelle & Li 2011): each candidate's rate of success is drawn from its Beta
posterior, whose prior is how well its content matches. Titles that are shown without success sink, those that please
rise until everybody's likes carry them without help.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.candidates.arms import GENRE, TITLE, Outcomes, arm, genre_shares
from core.candidates.content import content_scores
from core.candidates.viewer import Viewer
from core.catalog import content_key
from core.snapshot.snapshot import Snapshot

FRESH_LIKES = 5  # from then on a title has company in everybody's histories, and can be found without help
FRESH_DAYS = 90  # since a service added it
FRESH_YEARS = 1  # before the snapshot's
ARMS = 32  # best-matching new titles that are drawn from
GOOD_MATCH = 0.25  # of the best match that any title has: a new title must go with the viewer, not just be new
PRIOR_RATE, PRIOR_SHOWN = 0.1, 20.0  # of the best match: liked once in ten answers, as if seen in twenty
DAY_S = 86_400.0

_FRESH: WeakKeyDictionary[Snapshot, NDArray] = WeakKeyDictionary()  # facts of a snapshot, made when first asked for


def chance(viewer: Viewer) -> float:
    """In [0, 1), uniform over viewers and their states: whether an answer explores costs no generator."""
    return content_key(f"{viewer.state.seq}:{viewer.state.user_id}") / 2.0**64


def viewer_rng(viewer: Viewer) -> np.random.Generator:
    """The same request in the same state draws the same."""
    return np.random.default_rng([content_key(viewer.state.user_id), viewer.state.seq])


def fresh_rows(snapshot: Snapshot) -> NDArray:
    """Rows of films and series that are new: hardly liked, and released or added lately, or of unknown age."""
    if snapshot not in _FRESH:
        year = snapshot.attributes["year"]
        lately = year >= datetime.fromtimestamp(snapshot.created_at, UTC).year - FRESH_YEARS
        offers = snapshot.availability
        added = offers["row"][np.abs(snapshot.created_at - offers["added_at"]) < FRESH_DAYS * DAY_S]
        lately[added] = True
        dated = year >= 0
        dated[offers["row"][offers["added_at"] > 0]] = True
        whole = snapshot.attributes["parent"] < 0
        _FRESH[snapshot] = np.flatnonzero((snapshot.popularity_all < FRESH_LIKES) & (lately | ~dated) & whole)
    return _FRESH[snapshot]


def explore(
    viewer: Viewer, outcomes: Outcomes | None, rng: np.random.Generator, content: NDArray | None = None
) -> int | None:
    """The new title to show this viewer; None where none goes with the history. content: the scores of that strategy,
    where they are at hand."""
    fresh = fresh_rows(viewer.snapshot)
    fresh = fresh[viewer.allowed[fresh]]
    if not len(fresh) or not viewer.positives:
        return None
    content = content_scores(viewer) if content is None else content
    match = content[fresh]
    best = np.argsort(-match, kind="stable")[:ARMS] if len(fresh) <= ARMS else np.argpartition(-match, ARMS)[:ARMS]
    best = np.sort(best[match[best] >= max(GOOD_MATCH * float(content.max()), 1e-9)])
    if not len(best):
        return None
    rows, success = fresh[best], PRIOR_SHOWN * PRIOR_RATE * match[best] / match[best].max()
    failure = PRIOR_SHOWN - success
    if outcomes is not None:
        success = success + outcomes.liked[rows]
        failure = failure + np.maximum(outcomes.shown[rows] - outcomes.liked[rows], 0.0)
    return int(rows[rng.beta(success, failure).argmax()])


def counters_of(snapshot: Snapshot, outcomes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Names of shared counters and what to add to them: by new title, and by genre, which a title's genres share.

    outcomes: SHOWN or LIKED -> content id -> weight. Of other than new titles only the genres are counted.
    """
    fresh = fresh_rows(snapshot)
    added: dict[str, float] = {}
    for outcome, weights in outcomes.items():
        ids, values = list(weights), np.fromiter(weights.values(), np.float64, len(weights))
        rows = snapshot.rows(np.array([content_key(content_id) for content_id in ids], np.uint64))
        for place in np.flatnonzero(np.isin(rows, fresh)):
            added[arm(outcome, TITLE, ids[place])] = float(values[place])
        known = rows >= 0
        sums = values[known] @ genre_shares(snapshot, rows[known])
        for code in np.flatnonzero(sums > 0):
            added[arm(outcome, GENRE, snapshot.vocabulary.genres[code])] = float(sums[code])
    return added
