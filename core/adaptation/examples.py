"""What a user's slow tier learns from: every liked title against titles passed over, each at the query it met.

The query of a title is the one that a request right before it would have had, so that the adapter trains on inputs like
those it will serve. Everything is deterministic given the evidence, the space and the generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.adaptation.lora import Lora
from core.adaptation.query import DECAY, RECENT, SESSION_WEIGHT
from core.adaptation.space import Space
from core.adaptation.train import Preferences
from core.numeric.vectors import Floats, unit_rows
from core.profile.session import SESSION_GAP_S

UNIFORM = 0.1  # of the mean popularity is added to every title: rare ones are passed over too


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Titles that speak for or against something, oldest first: snapshot rows (n,), each once; weights (n,) in [-1, 1],
    none zero; times (n,) in Unix seconds."""

    rows: NDArray[np.integer]
    weights: Floats
    times: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What training on a space computes once.

    A user adapter is trained on top of the base adapter, whose share M q of the score is known. With `through` =
    (I + M)^T, q' = q through, and A = A_slow (I + M)^-1, A q' equals A_slow q, so the plain loss over q' sees the whole
    score. reach: the largest |target|; titles are divided by it, so that scores lie in [-1, 1].
    """

    space: Space
    through: Floats  # (d, d)
    A: Floats  # (r_slow, d)
    reach: np.float32


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One user's preferences to train on, those that judge, and how many liked titles each holds."""

    examples: Preferences
    held_back: Preferences
    liked: int
    liked_held_back: int


@lru_cache(maxsize=2)  # the active snapshot's space and the one before it
def ground(space: Space) -> Ground:
    """The training ground of a space."""
    base: Lora = space.base
    M = np.float64(base.scale) * base.B.astype(np.float64) @ base.A.astype(np.float64)
    whole = np.eye(len(M)) + M
    A = np.linalg.solve(whole.T, space.A_slow.astype(np.float64).T).T
    squares = np.einsum("ij,ij->i", space.targets, space.targets, dtype=np.float32)
    reach = np.sqrt(np.maximum(squares.max(initial=0.0), np.float32(1e-12)))
    return Ground(space, whole.T.astype(np.float32), np.ascontiguousarray(A, np.float32), np.float32(reach))


def met_queries(space: Space, evidence: Evidence) -> Floats:
    """(n, d) unit queries, row i from the liked titles before the i-th; zero where there was none."""
    liked = np.flatnonzero(evidence.weights > 0)
    before = np.searchsorted(liked, np.arange(len(evidence)))  # liked titles before each
    steps = before[:, None] - 1 - np.arange(RECENT)  # (n, RECENT) places in `liked`, latest first
    place = liked[np.maximum(steps, 0)] if len(liked) else np.zeros_like(steps)
    session = np.concatenate([[0], np.cumsum(np.diff(evidence.times) > SESSION_GAP_S)]) if len(evidence) else liked
    weights = DECAY ** np.arange(RECENT) * np.where(session[place] == session[:, None], SESSION_WEIGHT, 1.0)
    weights = np.where(steps >= 0, weights, 0.0).astype(np.float32)
    return unit_rows(np.einsum("iw,iwd->id", weights, space.sources[evidence.rows[place]]))


def lesson(
    on: Ground, evidence: Evidence, popularity: Floats, task_from: float, rng: np.random.Generator,
    *, held_back: float, replay: int, negatives: int,
) -> Lesson | None:  # fmt: skip
    """Examples from the evidence since `task_from` (Unix seconds) and `replay` titles from before; None if there are
    none.

    The latest share `held_back` of the liked titles since then only judges. popularity: (n,) of the snapshot's titles.
    """
    queries = met_queries(on.space, evidence)
    known = (queries != 0).any(axis=1) & (on.space.targets[evidence.rows] != 0).any(axis=1)
    current = np.flatnonzero(known & (evidence.times >= task_from))
    past = np.flatnonzero(known & (evidence.times < task_from))
    liked = current[evidence.weights[current] > 0]
    judges = min(max(round(held_back * len(liked)), 1), len(liked) - 1)  # at least one is learned from
    if judges < 0:
        return None
    cut = liked[len(liked) - judges] if judges else len(evidence)
    remembered = np.sort(rng.choice(past, min(replay, len(past)), replace=False))
    passed_over = PassedOver(on, evidence, popularity)
    training = np.concatenate([remembered, current[current < cut]])
    examples = passed_over.preferences(queries, training, negatives, rng)
    judging = passed_over.preferences(queries, current[current >= cut], negatives, rng)
    return Lesson(examples, judging, len(liked) - judges, judges)


class PassedOver:
    """Draws titles that the user passed over: the more popular, the likelier seen on offer; never what the user chose.

    What would be recommended now is left out on purpose: as negatives such titles teach the adapter to contradict the
    recommendations, which lowers the loss and ranks worse (simulated viewers, 100 titles: AUC .633 without an adapter,
    .685 with popular negatives, .657 where half of them were the top hundred).
    """

    def __init__(self, on: Ground, evidence: Evidence, popularity: Floats) -> None:
        self._on, self._evidence = on, evidence
        chance = popularity + np.float32(UNIFORM * max(float(popularity.mean()), 1e-9))
        chance[evidence.rows] = 0.0
        self._cumulated = np.cumsum(chance, dtype=np.float64)

    def rows(self, n: int, m: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """(n, m) rows; (n, 0) for whoever has seen everything."""
        total = self._cumulated[-1]
        if not total > 0:
            return np.empty((n, 0), np.intp)
        return np.searchsorted(self._cumulated, rng.random((n, m)) * total, side="right")

    def preferences(
        self, queries: Floats, chosen: NDArray[np.intp], negatives: int, rng: np.random.Generator
    ) -> Preferences:
        """Liked titles with their passed-over ones, which together weigh as much, and disliked titles as they are."""
        on, evidence = self._on, self._evidence
        good = chosen[evidence.weights[chosen] > 0]
        bad = chosen[evidence.weights[chosen] < 0]
        passed = self.rows(len(good), negatives, rng)
        m = passed.shape[1]
        rows = np.concatenate([evidence.rows[good], passed.ravel(), evidence.rows[bad]])
        asked = np.concatenate([queries[good], np.repeat(queries[good], m, axis=0), queries[bad]])
        labels = np.zeros(len(rows), np.float32)
        labels[: len(good)] = 1.0
        strength = np.abs(evidence.weights)
        shared = np.repeat(strength[good] / max(m, 1), m)
        weights = np.concatenate([strength[good], shared, strength[bad]]).astype(np.float32)
        return Preferences(asked @ on.through, on.space.targets[rows] / on.reach, labels, weights)


def stack(several: list[Preferences]) -> Preferences:
    """Preferences of u users as one batch (u, n, d), the shorter ones padded with weight 0."""
    n = max(len(one) for one in several)

    def padded(name: str) -> Floats:
        arrays: list[Floats] = [getattr(one, name) for one in several]
        whole = np.zeros((len(arrays), n, *arrays[0].shape[1:]), np.float32)
        for place, array in enumerate(arrays):
            whole[place, : len(array)] = array
        return whole

    return Preferences(padded("queries"), padded("items"), padded("labels"), padded("weights"))
