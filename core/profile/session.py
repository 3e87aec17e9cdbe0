"""The session a user is in, read off the history: nothing extra is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SESSION_GAP_S = 30 * 60  # the web analytics convention
BINGE_EPISODES, BINGE_WINDOW_S = 3, 4 * 3600  # specification: three episodes within four hours


@dataclass(frozen=True, slots=True)
class Session:
    """`size`: titles at the end of the history without a pause of 30 minutes."""

    size: int
    started_at: float


def current_session(history: NDArray, now: float) -> Session:
    """The run of titles up to `now`; size 0 when the last one is too long ago."""
    times: list[float] = history["last_at"].tolist()
    if not times or now - times[-1] > SESSION_GAP_S:
        return Session(0, now)
    first = len(times) - 1
    while first and times[first] - times[first - 1] <= SESSION_GAP_S:
        first -= 1
    return Session(len(times) - first, times[first])


def binged_series(history: NDArray, parents: NDArray, now: float) -> int:
    """Row of the series of which three episodes were watched within the last four hours, -1 when there is none.

    parents: (n,) series rows of the history's titles, -1 for what is not an episode.
    """
    recent = parents[(history["last_at"] > now - BINGE_WINDOW_S) & (parents >= 0)]
    if not len(recent):
        return -1
    rows, counts = np.unique(recent, return_counts=True)
    best = int(np.argmax(counts))
    return int(rows[best]) if counts[best] >= BINGE_EPISODES else -1
