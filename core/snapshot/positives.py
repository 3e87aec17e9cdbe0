"""What users liked, as rows of one catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.snapshot.inputs import POSITIVE, Interactions


@dataclass(frozen=True, slots=True, eq=False)
class Positives:
    """Positive pairs of known titles, by user and time. users, n: the sizes of the whole."""

    user: NDArray[np.int32]
    row: NDArray[np.int64]
    at: NDArray[np.float64]
    device: NDArray[np.int8]
    users: int
    n: int

    def matrix(self) -> sparse.csr_array:
        """(users, n) float32 zeros and ones."""
        return sparse.csr_array((np.ones(len(self.row), np.float32), (self.user, self.row)), shape=(self.users, self.n))


def with_episodes(series: Positives, own: Positives, parent: NDArray[np.integer]) -> Positives:
    """`series`, where every episode's likes are its series', and beside them those of the episodes that are liked in
    `own`. parent: (n,) row of an episode's series, -1 for other titles."""
    episodes = parent[own.row] >= 0
    if not episodes.any():
        return series
    return Positives(
        user=np.concatenate([series.user, own.user[episodes]]),
        row=np.concatenate([series.row, own.row[episodes]]),
        at=np.concatenate([series.at, own.at[episodes]]),
        device=np.concatenate([series.device, own.device[episodes]]),
        users=series.users,
        n=series.n,
    )


def positives_of(interactions: Interactions, keys: NDArray[np.uint64]) -> Positives:
    """The pairs of weight POSITIVE and more whose title is among `keys`, ascending content keys; order is kept."""
    row = np.minimum(np.searchsorted(keys, interactions.key), len(keys) - 1)
    chosen = (keys[row] == interactions.key) & (interactions.weight >= POSITIVE)
    return Positives(
        user=interactions.user[chosen],
        row=row[chosen],
        at=interactions.at[chosen],
        device=interactions.device[chosen],
        users=max(interactions.users, 1),
        n=len(keys),
    )
