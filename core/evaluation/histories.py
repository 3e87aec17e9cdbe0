"""Users along a split: what ingest and adapt make of their events, told in order of time.

Nothing is copied: `core.flows.replay.fold_each` makes the states with their fast tiers, `core.flows.adaptation_lesson`
the adapters. An adaptation happens right after the event that asks for it; where nobody goes on after the cut, once
more at the end, as the hourly job does after an import. Data without times can only have been imported: there it
happens at the end alone.
"""

from __future__ import annotations

from bisect import bisect_left

from core.adaptation import codec
from core.adaptation.codec import UserAdapter
from core.config import AdaptationSettings
from core.evaluation.splits import Split
from core.flows.adapt import to_store
from core.flows.adaptation_lesson import prepare_from, train_together
from core.flows.replay import fold_each, thresholds_of
from core.profile.state import UserState
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import SequencedEvent, StoredAdapter

User = tuple[UserState, StoredAdapter | None]


class Histories:
    """All users of one split with one snapshot; each moment of a user is worked out once and kept."""

    def __init__(self, split: Split, snapshot: Snapshot, settings: AdaptationSettings | None = None) -> None:
        self._split = split
        self._snapshot = snapshot
        self._settings = settings or AdaptationSettings()
        self._users: dict[int, dict[int, User]] = {}  # by user and visible events: 90 MB for 8 000 cases
        self._steps: dict[int, list[int]] = {}  # the keys of a user's moments, ascending
        self.verdicts: dict[str, int] = {}  # of the adaptations so far

    def at(self, user: int, visible: int) -> tuple[UserState, UserAdapter | None]:
        """The state after the user's first `visible` events and the adapter of that time."""
        moments, steps = self._users.setdefault(user, {}), self._steps.setdefault(user, [])
        if visible not in moments:
            place = bisect_left(steps, visible)
            before = moments[steps[place - 1]] if place else (UserState(self._split.data.user_ids[user]), None)
            moments[visible] = self._live_on(before, user, visible)
            steps.insert(place, visible)
        state, stored = moments[visible]
        if not self._split.online():
            stored = self._adapted(state, stored)
            moments[visible] = state, stored
        return state, codec.decode(stored.blob) if stored else None

    def titles(self, user: int, start: int, end: int) -> tuple[str, ...]:
        """Ids of what the user's events from `start` up to `end` were about."""
        data = self._split.data
        return tuple(data.titles[data.item[index]].content_id for index in self._split.timeline.row(user)[start:end])

    def _live_on(self, before: User, user: int, visible: int) -> User:
        state, stored = before
        thresholds = thresholds_of(self._settings)
        events = self._split.timeline.row(user)[state.seq : visible]
        for seq, index in enumerate(events, state.seq + 1):
            event = SequencedEvent(seq, self._split.data.event(int(index)))
            state = fold_each(state, [event], self._snapshot, thresholds)
            if state.pending.asked_seq == seq and self._split.data.timed:
                stored = self._adapted(state, stored)
        return state, stored

    def _adapted(self, state: UserState, stored: StoredAdapter | None) -> StoredAdapter | None:
        """What is stored after an adaptation: the next version, or what there was."""
        if stored is not None and stored.folded_upto_seq >= state.seq:
            return stored
        prepared = prepare_from(self._snapshot, state, stored, self._settings)
        [trained] = train_together(self._snapshot.space, [prepared], self._settings)
        verdict = trained.report.verdict if trained else "nothing_to_learn"
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        if trained is None or not trained.report.accepted:
            return stored
        newest = stored.version if stored else 0
        return to_store(trained.tier, newest + 1, state.seq, float(state.history["last_at"].max(initial=0.0)))
