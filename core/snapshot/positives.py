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


def positives_of(interactions: Interactions, keys: NDArray[np.uint64]) -> Positives:
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
