"""The events that a snapshot is built from, as compact arrays: one row per user and title.

An event stream of any length is read once. Python objects live for one chunk of events only; what stays is 26 bytes per
(user, title) pair.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.catalog import content_key
from core.interaction import Event, InteractionType, Onboarding, signal_strength

# A pair is positive from here on: a like, a completed or mostly (5/8) watched title, a rating of 3.5 stars or more.
POSITIVE = 0.45

_CHUNK_EVENTS = 2_000_000  # about 60 MB of buffers between two reductions
_MAX_DEVICES = 127  # codes are int8; more names than that are noise of a client, and are not told apart

_SKIP_STRENGTH = 0.399  # a skip outweighs whatever says less than half watched (.8 x .5), as in core.profile.preference

_EXPLICIT = {InteractionType.RATING_EXPLICIT, InteractionType.LIKE, InteractionType.DISLIKE}


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """m (user, title) pairs of u users, sorted by user, then time, then key.

    What a user said (rating, like, dislike) outweighs what they did, and the latest word counts; without a word the
    strongest act counts (a skip is stronger than less than half of the title), the latest among equals. `at` and
    `device` are those of the event that counts.
    """

    user: NDArray[np.int32]  # (m,) codes 0..users-1
    key: NDArray[np.uint64]  # (m,) core.catalog.content_key
    weight: NDArray[np.float32]  # (m,) core.interaction.signal_strength
    at: NDArray[np.float64]  # (m,) Unix seconds
    device: NDArray[np.int8]  # (m,) codes of device_names, -1 unknown
    users: int
    device_names: tuple[str, ...]
    segments: NDArray[np.int32]  # (users, 3) codes of segment_names: age band, region, language; -1 unknown
    segment_names: tuple[str, ...]  # "age:25-34", "region:DE", "language:de"


@dataclass(slots=True)
class _Codes:
    """Names -> codes in the order of their appearance; `in_name_order` makes the result independent of that order."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, name: str) -> int:
        return self.codes.setdefault(name, len(self.codes))

    def in_name_order(self) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """Sorted names, and old code -> new code with a last entry that keeps -1 as -1."""
        names = tuple(sorted(self.codes))
        recode = np.full(len(names) + 1, -1, np.int32)
        for new, name in enumerate(names):
            recode[self.codes[name]] = new
        return names, recode


_FIELDS = (("user", "i"), ("key", "Q"), ("weight", "f"), ("at", "d"), ("device", "b"), ("explicit", "b"))


class _Buffers:
    """Growing columns of raw events, and the reduced chunks before them."""

    def __init__(self) -> None:
        self.columns = {name: array(code) for name, code in _FIELDS}
        self.chunks: list[dict[str, NDArray[Any]]] = []

    def add(self, *values: float) -> None:
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)  # type: ignore[arg-type]
        if len(self.columns["user"]) >= _CHUNK_EVENTS:
            self._reduce_chunk()

    def _reduce_chunk(self) -> None:
        self.chunks.append(_reduce({name: np.array(column) for name, column in self.columns.items()}))
        self.columns = {name: array(code) for name, code in _FIELDS}

    def finish(self) -> dict[str, NDArray[Any]]:
        self._reduce_chunk()
        if len(self.chunks) == 1:
            return self.chunks[0]
        return _reduce({name: np.concatenate([chunk[name] for chunk in self.chunks]) for name, _ in _FIELDS})


def _reduce(events: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One event per (user, key), the last by explicitness, strength, time; reducing parts first changes nothing."""
    strength = np.where(events["weight"] < 0, _SKIP_STRENGTH, events["weight"])
    strength[events["explicit"] == 1] = 0.0  # among words, time alone decides
    order = np.lexsort((events["weight"], events["at"], strength, events["explicit"], events["key"], events["user"]))
    user, key = events["user"][order], events["key"][order]
    last = np.ones(len(order), bool)
    last[:-1] = (user[1:] != user[:-1]) | (key[1:] != key[:-1])
    return {name: column[order[last]] for name, column in events.items()}


def collect_interactions(events: Iterable[Event]) -> Interactions:
    """Read an event stream in any order; grouped by user it needs the least memory. Impressions are no evidence."""
    users, devices, buffers = _Codes(), _Codes(), _Buffers()
    keys: dict[str, int] = {}
    onboardings: dict[int, Onboarding] = {}
    for event in events:
        user = users.code(event.user_id)
        if isinstance(event, Onboarding):
            if user not in onboardings or event.occurred_at >= onboardings[user].occurred_at:
                onboardings[user] = event
            continue
        if event.type is InteractionType.IMPRESSION:
            continue
        if (key := keys.get(event.content_id)) is None:
            key = keys[event.content_id] = content_key(event.content_id)
        device = devices.code(event.device) if event.device and len(devices.codes) < _MAX_DEVICES else -1
        explicit = event.type in _EXPLICIT
        buffers.add(user, key, signal_strength(event), event.occurred_at, device, explicit)
    return _finish(buffers.finish(), len(users.codes), devices, onboardings)


def _finish(
    pairs: dict[str, NDArray[Any]], users: int, devices: _Codes, onboardings: dict[int, Onboarding]
) -> Interactions:
    order = np.lexsort((pairs["key"], pairs["at"], pairs["user"]))
    device_names, recode = devices.in_name_order()
    segment_names, segments = _segments(users, onboardings)
    return Interactions(
        user=pairs["user"][order].astype(np.int32),
        key=pairs["key"][order].astype(np.uint64),
        weight=pairs["weight"][order].astype(np.float32),
        at=pairs["at"][order],
        device=recode[pairs["device"][order]].astype(np.int8),
        users=users,
        device_names=device_names,
        segments=segments,
        segment_names=segment_names,
    )


def _segments(users: int, onboardings: dict[int, Onboarding]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    codes = _Codes()
    table = np.full((users, 3), -1, np.int32)
    for user, said in onboardings.items():
        facts = (("age", said.age_band), ("region", said.region), ("language", said.language))
        for column, (kind, value) in enumerate(facts):
            if value:
                table[user, column] = codes.code(f"{kind}:{value}")
    names, recode = codes.in_name_order()
    return names, recode[table]
