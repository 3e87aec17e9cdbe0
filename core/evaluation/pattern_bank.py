"""The pattern bank as it was at the cut: the sessions of everybody who was learned from, gathered as the nightly job
does it. Like the rest of the item side it then stays as it is."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.evaluation.splits import Split
from core.patterns.index import PatternIndex, lay_out
from core.patterns.known import KnownPattern, pattern_of
from core.patterns.maintain import SETTLED_S, Rules, extract, fade_unused, merge_alike, prune
from core.patterns.session import trajectories
from core.patterns.store import Changes
from core.snapshot.snapshot import Snapshot


@lru_cache(maxsize=2)
def bank_at_cut(split: Split, snapshot: Snapshot) -> PatternIndex:
    """The patterns of the events before the cut, gathered, merged, faded and pruned as on that evening. Nobody has used
    them, so of data that are years old only the latest are left."""
    patterns = {one.pattern_id: one for one in session_patterns(split, snapshot)}
    rules = Rules()
    for step in (
        lambda bank: extract(bank, split.cut + SETTLED_S, rules),
        lambda bank: merge_alike(bank, rules),
        lambda bank: fade_unused(bank, split.cut),
        lambda bank: prune(bank, rules),
    ):
        changed = step(list(patterns.values()))
        patterns = applied(patterns, changed)
    return lay_out(sorted(patterns.values(), key=lambda one: one.pattern_id), snapshot)


def applied(patterns: dict[str, KnownPattern], changes: Changes) -> dict[str, KnownPattern]:
    """The bank after a step."""
    kept = {name: one for name, one in patterns.items() if name not in changes.remove}
    return kept | {one.pattern_id: one for one in changes.put}


def session_patterns(split: Split, snapshot: Snapshot) -> list[KnownPattern]:
    """A pattern of every session that succeeded."""
    found = []
    for user in np.unique(split.data.user[split.fit]):
        events = split.timeline.row(user)
        events = events[split.fit[events]]
        told = ((seq, split.data.event(int(index))) for seq, index in enumerate(events, 1))
        made = (pattern_of(one, snapshot) for one in trajectories(told) if one.succeeded)
        found += [one for one in made if one is not None]
    return found
