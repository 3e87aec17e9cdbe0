"""What fusion learns from: moments at which somebody liked a title, and what every signal said of it just before.

The standings are those of a request, because the signals themselves are asked. Of the whole catalogue a pool is kept:
the title that was liked, what stood highest without being it, and a draw from the rest, each member of which speaks for
as many titles as the draw left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from core.candidates.signals import FULL_EVIDENCE, SIGNALS
from core.candidates.viewer import Viewer
from core.profile.session import current_session
from core.ranking.fusion import standing
from core.ranking.weights import FIXED, LEARNED, history_bucket

POOL = 256  # titles kept of each moment: 2 000 moments with eight signals are 16 MB
BEST = 3 / 8  # of them, those that the fixed weights put first...
BEST_PER_SIGNAL = 1 / 32  # ...and those that each signal does; the rest is drawn
TARGET = 0  # place of the liked title in its pool


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known of `user` just before they liked the title in snapshot row `target`."""

    viewer: Viewer
    target: int
    user: int


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """m moments, oldest first, s signals, p titles in a pool; the liked one is at place TARGET of it."""

    names: tuple[str, ...]  # (s,) signals
    standings: NDArray[np.float32]  # (m, p, s) in [0, 1]: core.ranking.fusion.standing over the whole catalogue
    mass: NDArray[np.float32]  # (m, p) titles that a member of the pool speaks for; 0 pads a pool
    rows: NDArray[np.int32]  # (m, p) in the snapshot
    user: NDArray[np.int32]  # (m,)
    bucket: NDArray[np.int8]  # (m,) core.ranking.weights.history_bucket
    positives: NDArray[np.int16]  # (m,) liked titles that were known
    session: NDArray[np.int16]  # (m,) titles of the running session
    at: NDArray[np.float64]  # (m,) Unix seconds
    hour: NDArray[np.int8]  # (m,) 0..23 UTC
    weekday: NDArray[np.int8]  # (m,) 0 = Monday
    device: NDArray[np.int8]  # (m,) code of the snapshot's vocabulary, -1 unknown

    def __len__(self) -> int:
        return len(self.user)

    def without(self, name: str) -> Examples:
        """The same moments without one signal."""
        kept = [place for place, other in enumerate(self.names) if other != name]
        return replace(self, names=tuple(self.names[place] for place in kept), standings=self.standings[:, :, kept])

    def take(self, chosen: NDArray) -> Examples:
        """The moments `chosen` (k,), indices or mask."""
        columns = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__ if name != "names"}
        return Examples(self.names, **columns)


def collect_examples(
    moments: Iterable[Moment], rng: np.random.Generator, names: Sequence[str] = LEARNED, pool: int = POOL
) -> Examples:
    """Examples of all moments whose title could have been recommended."""
    parts = [_example(moment, tuple(names), rng, pool) for moment in moments if moment.viewer.allowed[moment.target]]
    width = max((len(part[0]) for part in parts), default=1)
    rows = np.zeros((len(parts), width), np.int32)
    mass = np.zeros((len(parts), width), np.float32)
    standings = np.zeros((len(parts), width, len(names)), np.float32)
    for i, (members, weights, values, _) in enumerate(parts):
        rows[i, : len(members)], mass[i, : len(members)], standings[i, : len(members)] = members, weights, values
    facts = np.array([part[3] for part in parts], np.float64).reshape(len(parts), 8).T
    kinds = (np.int32, np.int8, np.int16, np.int16, np.float64, np.int8, np.int8, np.int8)
    columns = (column.astype(kind) for column, kind in zip(facts, kinds, strict=True))
    return Examples(tuple(names), standings, mass, rows, *columns)


def _example(
    moment: Moment, names: tuple[str, ...], rng: np.random.Generator, pool: int
) -> tuple[NDArray, NDArray, NDArray, tuple[float, ...]]:
    """Rows (p,), mass (p,), standings (p, s) and the facts of one moment."""
    viewer, target = moment.viewer, moment.target
    every = np.stack([standing(SIGNALS[name](viewer), full=FULL_EVIDENCE.get(name, 0.0)) for name in names])  # (s, n)
    others = viewer.allowed.copy()
    others[target] = False
    fixed = FIXED[history_bucket(viewer.positives)]
    usual = np.array([fixed.get(name, 0.0) for name in names], np.float32) @ every
    hard = _hardest(every, usual, others, pool)
    others[hard] = False
    rest = np.flatnonzero(others)
    drawn = rng.choice(rest, min(max(pool - 1 - len(hard), 0), len(rest)), replace=False)
    members = np.concatenate([[target], hard, drawn])
    mass = np.ones(len(members), np.float32)
    if len(drawn):
        mass[-len(drawn) :] = len(rest) / len(drawn)
    return members, mass, every[:, members].T, _facts(moment)


def _hardest(every: NDArray, usual: NDArray, others: NDArray, pool: int) -> NDArray:
    """Rows that stand highest, by all signals together and by each."""
    best = [_highest(usual, others, round(BEST * pool))]
    best += [_highest(values, others, max(round(BEST_PER_SIGNAL * pool), 1)) for values in every]
    return np.unique(np.concatenate(best))


def _highest(values: NDArray, others: NDArray, k: int) -> NDArray:
    masked = np.where(others & (values > 0), values, -np.inf)
    k = min(k, len(values))
    best = np.argpartition(-masked, k - 1)[:k]
    return best[np.isfinite(masked[best])]


def _facts(moment: Moment) -> tuple[float, ...]:
    viewer = moment.viewer
    when = datetime.fromtimestamp(viewer.now, UTC)
    devices, device = viewer.snapshot.vocabulary.devices, viewer.context.device
    return (
        moment.user,
        history_bucket(viewer.positives),
        viewer.positives,
        current_session(viewer.state.history, viewer.now).size,
        viewer.now,
        when.hour,
        when.weekday(),
        devices.index(device) if device in devices else -1,
    )
