"""The closed-form hybrid: z(EASE with recency decay) + w1 z(transitions) + w2 z(online popularity).

The strongest simple system there is on this protocol, and the one to beat. Its decay, half-life and weights are chosen
on the validation window, with the item side fitted before that window, and used unchanged on the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.evaluation.batches import Batch, batches, seen_mask
from core.evaluation.closed_form import ease_weights, transition_weights, z_scores
from core.evaluation.metrics import K, Ragged, clustered_error
from core.evaluation.peers import (
    HALF_LIVES_DAYS,
    TIE_BREAK,
    as_columns,
    fit_counts,
    fit_matrix,
    fit_sequences,
    ridge_for,
    shares,
)
from core.evaluation.splits import Split

TRANSITION_WINDOW = 5
LATEST_DECAY = 0.8  # of the history that transitions start from
DECAYS = (0.8, 0.9)
TRANSITION_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
POPULARITY_WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0)
VALIDATION_CASES = 4000  # more do not change the choice


@dataclass(frozen=True, slots=True)
class Choice:
    """What validation chooses. `half_life` is in days."""

    decay: float = 0.8
    transitions: float = 1.0
    popularity: float = 1.0
    half_life: float = 3.0


@dataclass(slots=True)
class Hybrid:
    """The three parts and how they are mixed. Where all are silent, positives before the cut decide."""

    ease: NDArray  # (c, c)
    transitions: sparse.csr_array  # (c, c)
    counts: NDArray  # (n,) positives before the cut
    choice: Choice = field(default_factory=Choice)
    frozen: bool = False

    @property
    def half_lives(self) -> tuple[float, ...]:
        return (self.choice.half_life,) if self.choice.popularity > 0 else ()

    def scores(self, batch: Batch) -> NDArray:
        scores = self.similar(batch, self.choice.decay) + self.choice.transitions * self.following(batch)
        if self.choice.popularity > 0:
            scores += self.choice.popularity * z_scores(batch.popularity[self.choice.half_life])
        return scores + TIE_BREAK * shares(self.counts)[batch.items]

    def similar(self, batch: Batch, decay: float) -> NDArray:
        """(b, w) z-scores of EASE on the history, each step back weighing `decay` of the one after it."""
        return z_scores(batch.over_items(batch.history(decay) @ self.ease))

    def following(self, batch: Batch) -> NDArray:
        """(b, w) z-scores of what comes after the latest TRANSITION_WINDOW positives."""
        latest = sparse.csr_array(batch.history(LATEST_DECAY, TRANSITION_WINDOW))
        return z_scores(batch.over_items((latest @ self.transitions).toarray()))


def fit_hybrid(split: Split, earlier: Split, frozen: bool = False) -> Hybrid:
    """Choose on the validation window `earlier`, then fit the item side on all that `split` allows."""
    choice = choose(fit_parts(earlier), earlier)
    return replace(fit_parts(split), choice=choice, frozen=frozen)


def fit_parts(split: Split) -> Hybrid:
    """The item side from what may be learned from; how its parts are mixed is not chosen yet."""
    transitions = transition_weights(fit_sequences(split), len(split.catalogue), TRANSITION_WINDOW)
    return Hybrid(ease_weights(fit_matrix(split), ridge_for(split)), transitions, fit_counts(split))


def choose(parts: Hybrid, earlier: Split) -> Choice:
    """The best of the grid by NDCG@10 on the validation cases."""
    cases = earlier.cases.take(np.arange(0, len(earlier.cases), 1 + len(earlier.cases) // VALIDATION_CASES))
    half_lives = HALF_LIVES_DAYS if earlier.counted.any() else ()
    grid = [Choice(decay, weight, 0.0, 0.0) for decay, weight in product(DECAYS, TRANSITION_WEIGHTS)]
    grid += [Choice(*values) for values in product(DECAYS, TRANSITION_WEIGHTS, POPULARITY_WEIGHTS, half_lives)]
    gains = []
    for batch in batches(earlier, cases, half_lives=half_lives):
        forbidden = seen_mask(earlier, batch.cases, batch.items)
        similar = {decay: np.where(forbidden, -np.inf, parts.similar(batch, decay)) for decay in DECAYS}
        following = parts.following(batch) + TIE_BREAK * shares(parts.counts)[batch.items]
        popular = {half_life: z_scores(batch.popularity[half_life]) for half_life in half_lives}
        popular[0.0] = np.zeros_like(following)
        gain = np.empty((len(grid), len(batch.cases)), np.float32)
        for row, choice in zip(gain, grid, strict=True):
            mixed = (
                similar[choice.decay] + choice.transitions * following + choice.popularity * popular[choice.half_life]
            )
            row[:] = ndcg_by_place(mixed, as_columns(batch))
        gains.append(gain)
    return plainest(grid, np.concatenate(gains, axis=1), cases.user)


def plainest(grid: list[Choice], gains: NDArray, user: NDArray) -> Choice:
    """The choice with the least weight beside EASE that is within one standard error of the best one.

    gains: (choices, m) NDCG of each validation case; user: (m,). The error is that of the paired difference, clustered
    by user (the one-standard-error rule of Breiman et al. 1984): what is popular drifts, so the very best weights of
    one window are partly luck.
    """
    means = gains.mean(axis=1)
    best = int(np.argmax(means))

    def close(place: int) -> bool:
        return means[best] - means[place] <= clustered_error(gains[best] - gains[place], user)

    candidates = [place for place in range(len(grid)) if place == best or close(place)]
    return grid[min(candidates, key=lambda place: (grid[place].popularity + grid[place].transitions, -means[place]))]


def ndcg_by_place(scores: NDArray, targets: Ragged) -> NDArray:
    """(b,) NDCG@10 straight from scores (b, c): what `best_lists` and `accuracy` give, ties against, without lists."""
    case = np.repeat(np.arange(len(targets)), targets.sizes)
    own = scores[case, targets.values][:, None]
    place = (scores[case] >= own).sum(axis=1)
    gain = np.where(np.isfinite(own[:, 0]) & (place <= K), 1.0 / np.log2(1.0 + place), 0.0)
    ideal = np.cumsum(1.0 / np.log2(np.arange(2, K + 2)))[np.minimum(targets.sizes, K) - 1]
    return np.bincount(case, gain, minlength=len(targets)) / ideal
