"""The cases of a split as moments that fusion can learn from or be judged on: what the serving flow would have seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.candidates.viewer import view
from core.catalog import content_key
from core.config import RankingSettings
from core.evaluation.batches import OnlineCounts, OnlineTransitions
from core.evaluation.serving import counted_in_service, liked_in_service, restricted
from core.evaluation.splits import Cases, Split
from core.profile.state import UserState, fold
from core.ranking.examples import Moment
from core.ranking.query import Context, Filters
from core.ranking.rules import allowed_rows
from core.snapshot.snapshot import Snapshot


def moments(split: Split, snapshot: Snapshot, cases: Cases, settings: RankingSettings) -> Iterator[Moment]:
    """One moment for each case's first target, in the order of the cases, which is that of time.

    snapshot: built at the split's cut. Candidates are the titles that the protocol ranks.
    """
    data = split.data
    rows = snapshot.rows(np.array([content_key(title.content_id) for title in data.titles], np.uint64))
    served = restricted(snapshot, rows[split.catalogue])
    counters = OnlineCounts(split, settings.popularity_half_life_days, counted_in_service(data))
    transitions = OnlineTransitions(split, rows, liked_in_service(data))
    counts = np.zeros(len(snapshot), np.float32)
    states: dict[int, UserState] = {}
    for i, user in enumerate(cases.user.tolist()):
        now = float(cases.now[i])
        counts[rows] = counters.advance(int(cases.before[i]), now)
        state = states.get(user, UserState(data.user_ids[user]))
        events = split.timeline.row(user)[state.seq : cases.visible[i]]
        state = fold(state, enumerate((data.event(int(index)) for index in events), state.seq + 1))
        states[user] = state
        allowed = allowed_rows(served, state, Filters(), (), True, now)
        live = transitions.advance(int(cases.before[i]))
        viewer = view(served, state, Context(), now, counts, allowed, settings.history_decay, live=live)
        yield Moment(viewer, int(rows[cases.targets.row(i)[0]]), user)
