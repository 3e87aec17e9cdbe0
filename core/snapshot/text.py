"""Text vectors of a catalogue on their way from the store into a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TextVectors:
    """Vectors of m titles by content key, in any order; `fingerprint` names their content."""

    version: str
    fingerprint: str
    keys: NDArray[np.uint64]  # (m,)
    vectors: NDArray[np.float16]  # (m, d) unit rows

    def over(self, keys: NDArray[np.uint64]) -> NDArray[np.float32]:
        """(n, d) for the snapshot titles `keys` (n,), ascending: zeros where there is no vector yet."""
        laid_out = np.zeros((len(keys), self.vectors.shape[1]), np.float32)
        place = np.minimum(np.searchsorted(keys, self.keys), len(keys) - 1)
        known = keys[place] == self.keys
        laid_out[place[known]] = self.vectors[known]
        return laid_out
