"""The circumstances that a pattern holds in: time of day, kind of day, device, mood.

A session has at most one value in each dimension; a pattern counts the values of its members and stands for the one
that most of them share, or for any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

DIMENSIONS = ("time_of_day", "day_of_week", "device_type", "mood")
DAYPARTS = ("night", "morning", "afternoon", "evening")  # six hours each from midnight UTC, as in the snapshot
WEEKDAY, WEEKEND = "weekday", "weekend"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHARED = 0.6  # of the members that say something must agree for a pattern to be about one value
MATCHING = 0.5  # of the dimensions known on both sides must agree
ANY = -1  # code of a value that is unknown or does not matter

Circumstances = Mapping[str, str]  # dimension -> value; what is unknown is left out
Counts = Mapping[str, Mapping[str, float]]  # dimension -> value -> members


def circumstances(
    at: float, device: str | None = None, mood: str | None = None, time_of_day: str | None = None
) -> dict[str, str]:
    """Those of a moment (Unix seconds); the caller's word for the time of day counts more than the clock."""
    moment = datetime.fromtimestamp(at, UTC)
    found = {
        "time_of_day": time_of_day or DAYPARTS[moment.hour // 6],
        "day_of_week": WEEKEND if moment.weekday() >= 5 else WEEKDAY,
    }
    return found | {name: value for name, value in (("device_type", device), ("mood", mood)) if value}


def kind_of_day(day: int | str) -> str:
    """weekday or weekend, from a day's number (0 = Monday) or its name. Raises InvalidInput."""
    if isinstance(day, int) and 0 <= day < len(DAYS):
        return WEEKEND if day >= 5 else WEEKDAY
    name = str(day).lower()
    if name in (WEEKDAY, WEEKEND):
        return name
    if name in DAYS:
        return WEEKEND if DAYS.index(name) >= 5 else WEEKDAY
    raise InvalidInput(f"{day!r} is no day of the week")


def counted(one: Circumstances, members: float = 1.0) -> dict[str, dict[str, float]]:
    """The counts of so many members with these circumstances."""
    return {name: {one[name]: members} for name in DIMENSIONS if name in one}


def added(several: Iterable[Counts]) -> dict[str, dict[str, float]]:
    """All counts together."""
    total: dict[str, dict[str, float]] = {}
    for counts in several:
        for name, values in counts.items():
            row = total.setdefault(name, {})
            for value, members in values.items():
                row[value] = row.get(value, 0.0) + members
    return total


def dominant(counts: Counts) -> dict[str, str]:
    """What the members share, dimension by dimension; a dimension without such a value is left out."""
    found = {}
    for name in DIMENSIONS:
        values = counts.get(name, {})
        if values:
            value, members = max(sorted(values.items()), key=lambda item: item[1])
            if members >= SHARED * sum(values.values()):
                found[name] = value
    return found


class Codebook:
    """Values as small numbers, so that circumstances are compared as arrays. Grows as values appear."""

    def __init__(self) -> None:
        self._codes: list[dict[str, int]] = [{} for _ in DIMENSIONS]

    def encode(self, several: Sequence[Circumstances]) -> NDArray[np.int16]:
        """(n, 4) codes, ANY where nothing is said; unknown values get new codes."""
        table = np.full((len(several), len(DIMENSIONS)), ANY, np.int16)
        for row, one in zip(table, several, strict=True):
            for place, name in enumerate(DIMENSIONS):
                if name in one:
                    row[place] = self._codes[place].setdefault(one[name], len(self._codes[place]))
        return table

    def look_up(self, one: Circumstances) -> NDArray[np.int16]:
        """(4,) codes; a value that nobody has yet, which agrees with nothing, has the code -2."""
        found = [self._codes[place].get(one[name], -2) if name in one else ANY for place, name in enumerate(DIMENSIONS)]
        return np.array(found, np.int16)


def agreement(codes: NDArray[np.int16], wanted: NDArray[np.int16]) -> NDArray[np.float32]:
    """(n,) share of the dimensions known on both sides that agree; 1 where there is none. codes (n, 4); wanted (4,), or
    (n, 4) one for each."""
    known = (codes != ANY) & (wanted != ANY)
    agreeing = (codes == wanted) & known
    count = known.sum(axis=1)
    return np.where(count > 0, agreeing.sum(axis=1) / np.maximum(count, 1), 1.0).astype(np.float32)
