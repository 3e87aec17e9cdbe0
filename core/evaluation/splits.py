"""Which events may be learned from, and which are to be foretold: three protocols and their validation windows.

All rank the whole catalogue of items that could be known when learning ended; what the user has rated is left out.

`stream` (primary): events up to the .8 quantile of time (over all events, positive or not) are learned from, and the
item side is frozen there. Then each positive of an item with at least three positives before the cut is foretold from
everything before it, and revealed. The first 8 000 such events count. Positives of other items are counted, and form
the cold-item row, in which every title of the data is a candidate; so do both kinds together, as in service.

`global`: one list per user at the .9 quantile of time; the targets are all later positives. Users need one event
before it, items one positive.

`loo`: each user's last positive is foretold from what that user did before it, while everybody else's past and future
(but for their own last positives) is learned from. It leaks the future of others: for data without times there is
nothing better, and published figures use it. Users need three positives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.evaluation.dataset import Dataset
from core.evaluation.metrics import Ragged

STREAM_CUT, STREAM_MIN_POSITIVES, MAX_EVENTS = 0.8, 3, 8000
GLOBAL_CUT = 0.9
LOO_MIN_POSITIVES = 3
VALIDATION_WINDOW = 0.1  # share of the events, just before the cut


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """m lists to be made. Of user `user[i]` the first `visible[i]` own events may be seen, in order of time."""

    user: NDArray[np.int32]  # (m,)
    visible: NDArray[np.int32]  # (m,)
    frozen: NDArray[np.int32]  # (m,) own events before the cut: what a system sees that does not learn
    now: NDArray[np.float64]  # (m,) Unix seconds of the request
    before: NDArray[np.int64]  # (m,) events of anybody with a lower index have happened
    targets: Ragged  # item codes

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray) -> Cases:
        """The cases at these places, in their order."""
        return Cases(
            self.user[rows],
            self.visible[rows],
            self.frozen[rows],
            self.now[rows],
            self.before[rows],
            self.targets.take(rows),
        )

    def joined(self, other: Cases) -> Cases:
        """These cases, then the others."""
        start = np.concatenate([self.targets.start, self.targets.start[-1] + other.targets.start[1:]])
        return Cases(
            np.concatenate([self.user, other.user]),
            np.concatenate([self.visible, other.visible]),
            np.concatenate([self.frozen, other.frozen]),
            np.concatenate([self.now, other.now]),
            np.concatenate([self.before, other.before]),
            Ragged(np.concatenate([self.targets.values, other.targets.values]), start),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What one protocol makes of a data set."""

    protocol: str
    data: Dataset
    fit: NDArray[np.bool_]  # (m,) events that the item side may learn from
    counted: NDArray[np.bool_]  # (m,) events that popularity counters see as they happen
    catalogue: NDArray[np.int32]  # (c,) item codes that are ranked, ascending
    cases: Cases
    cold: Cases  # targets outside the catalogue
    timeline: Ragged  # event indices of each user, in order of time
    cut: float  # Unix seconds at which learning ended

    def online(self) -> bool:
        """Whether users go on after learning ended."""
        return self.protocol == "stream"

    def open_cases(self) -> tuple[Cases, NDArray[np.bool_]]:
        """The cases for which every title of the data is a candidate, in order of time, and (m,) which of them have
        targets outside the catalogue: all cases of a stream, elsewhere only those."""
        if not self.online():
            return self.cold, np.ones(len(self.cold), bool)
        every = self.cases.joined(self.cold)
        order = np.argsort(every.before, kind="stable")
        return every.take(order), order >= len(self.cases)


def stream(data: Dataset, max_events: int = MAX_EVENTS, cut: float = STREAM_CUT, end: float = 1.0) -> Split:
    """Foretell each positive between two quantiles of time, then reveal it."""
    moment, fit, test = _by_time(data, "stream", cut, end)
    catalogue = ranked_items(data, fit, STREAM_MIN_POSITIVES)
    timeline, place = timelines(data)
    events = np.flatnonzero(test)
    warm = np.isin(data.item[events], catalogue)
    asked, others = events[warm][:max_events], events[~warm]
    if len(asked) < warm.sum():
        others = others[others < asked[-1]]
    own = _own_events(data, fit)
    cases, cold = (_per_event(data, chosen, place, own) for chosen in (asked, others))
    return Split("stream", data, fit, np.ones(len(data), bool), catalogue, cases, cold, timeline, moment)


def global_time(data: Dataset, max_events: int = MAX_EVENTS, cut: float = GLOBAL_CUT, end: float = 1.0) -> Split:
    """Foretell all later positives of each user at one moment."""
    moment, fit, test = _by_time(data, "global", cut, end)
    catalogue = ranked_items(data, fit, 1)
    timeline, _ = timelines(data)
    own = _own_events(data, fit)
    test &= own[data.user] > 0
    warm = np.isin(data.item, catalogue)
    cases, cold = (per_user_cases(data, test & side, own, moment, max_events) for side in (warm, ~warm))
    return Split("global", data, fit, fit, catalogue, cases, cold, timeline, moment)


def leave_one_out(data: Dataset, max_events: int = MAX_EVENTS, depth: int = 1) -> Split:
    """Foretell the last positive of each user (depth 2: the last but one, for choosing weights)."""
    timeline, place = timelines(data)
    liked = np.flatnonzero(data.positive & _first_time(data))
    liked = liked[np.lexsort((liked, data.user[liked]))]
    users, start, count = np.unique(data.user[liked], return_index=True, return_counts=True)
    enough = count >= LOO_MIN_POSITIVES
    last = liked[start[enough] + count[enough] - depth]
    held_from = np.full(data.users, np.iinfo(np.int32).max)
    held_from[users[enough]] = place[last]
    fit = place < held_from[data.user]
    catalogue = ranked_items(data, fit, 1)
    warm = np.isin(data.item[last], catalogue)
    cases, cold = (_per_event(data, np.sort(last[side])[:max_events], place, held_from) for side in (warm, ~warm))
    counted = fit & data.timed  # without times nothing is known of what was popular when
    return Split("loo", data, fit, counted, catalogue, cases, cold, timeline, float(data.at[fit].max(initial=0.0)))


_PROTOCOLS: dict[str, Callable[..., Split]] = {"stream": stream, "global": global_time, "loo": leave_one_out}
PROTOCOLS = tuple(_PROTOCOLS)


def split(data: Dataset, protocol: str, max_events: int = MAX_EVENTS) -> Split:
    """The test cases of a protocol. Raises InvalidInput for an unknown one, or when nothing can be tested."""
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    made = _PROTOCOLS[protocol](data, max_events)
    if not len(made.cases):
        raise InvalidInput(f"{data.name} leaves nothing to foretell under protocol {protocol}")
    return made


def validation(data: Dataset, protocol: str, max_events: int = MAX_EVENTS) -> Split:
    """The same protocol one window earlier, to choose weights on: it sees nothing that the test foretells."""
    if protocol == "stream":
        return stream(data, max_events, STREAM_CUT - VALIDATION_WINDOW, STREAM_CUT)
    if protocol == "global":
        return global_time(data, max_events, GLOBAL_CUT - VALIDATION_WINDOW, GLOBAL_CUT)
    return leave_one_out(data, max_events, depth=2)


def timelines(data: Dataset) -> tuple[Ragged, NDArray]:
    """Event indices of each user in order of time, and (m,) each event's place among its user's."""
    order = np.argsort(data.user, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(data.user, minlength=data.users))])
    place = np.empty(len(data), np.int64)
    place[order] = np.arange(len(data)) - start[data.user[order]]
    return Ragged(order, start), place


def _by_time(data: Dataset, protocol: str, cut: float, end: float) -> tuple[float, NDArray, NDArray]:
    """The moment of the cut, and (m,) masks: events before it, positives from there to `end` of new titles."""
    if not data.timed:
        raise InvalidInput(f"protocol {protocol} needs timestamps, which {data.name} does not have: use loo")
    moment = float(np.quantile(data.at, cut))
    fit = data.at < moment
    test = data.positive & ~fit & _first_time(data)
    if end < 1.0:
        test &= data.at < np.quantile(data.at, end)
    return moment, fit, test


def _first_time(data: Dataset) -> NDArray:
    """(m,) bool: events on titles that their users had not rated before; others could not be recommended."""
    pairs = data.user.astype(np.int64) * len(data.titles) + data.item
    mask = np.zeros(len(data), bool)
    mask[np.unique(pairs, return_index=True)[1]] = True
    return mask


def ranked_items(data: Dataset, fit: NDArray, min_positives: int) -> NDArray:
    """(c,) int32 item codes, ascending: those with at least `min_positives` positives among the events in `fit` (m,)
    bool."""
    counts = np.bincount(data.item[fit & data.positive], minlength=len(data.titles))
    return np.flatnonzero(counts >= min_positives).astype(np.int32)


def _own_events(data: Dataset, fit: NDArray) -> NDArray:
    return np.bincount(data.user[fit], minlength=data.users)


def _per_event(data: Dataset, events: NDArray, place: NDArray, frozen: NDArray) -> Cases:
    """One list per event, made just before it."""
    user, visible = data.user[events], place[events].astype(np.int32)
    at_most = np.minimum(frozen[user], visible).astype(np.int32)
    targets = Ragged(data.item[events], np.arange(len(events) + 1))
    return Cases(user, visible, at_most, data.at[events], events, targets)


def per_user_cases(data: Dataset, test: NDArray, own: NDArray, moment: float, max_users: int) -> Cases:
    """One list per user, made at the moment of the cut."""
    events = np.flatnonzero(test)
    events = events[np.argsort(data.user[events], kind="stable")]
    users, start = np.unique(data.user[events], return_index=True)
    users, bounds = users[:max_users], np.append(start, len(events))[: max_users + 1]
    seen = own[users].astype(np.int32)
    targets = Ragged(data.item[events[: bounds[-1]]], bounds)
    now, before = np.full(len(users), moment), np.full(len(users), int(own.sum()))
    return Cases(users.astype(np.int32), seen, seen, now, before, targets)
