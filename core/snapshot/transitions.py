"""What is watched next: windowed, decayed transitions between titles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.numeric.sparse import scale_rows


def next_title_weights(
    user: NDArray[Any], row: NDArray[Any], n: int, window: int = 5, decay: float = 0.7, shrinkage: float = 20.0
) -> sparse.csr_array:
    """(n, n) weights: sum over gaps g = 1..window of decay^(g-1) N_g[a, b], divided by the row's sum + shrinkage.

    user, row: (m,) positive pairs sorted by user, then time. N_g[a, b] counts users who came to b exactly g positives
    after a. A first-order Markov chain, widened; the shrinkage keeps titles with few followers below those with many.
    """
    counts = sparse.csr_array((n, n), dtype=np.float32)
    for gap in range(1, window + 1):
        same = user[gap:] == user[:-gap]
        before, after = row[:-gap][same], row[gap:][same]
        weight = np.full(len(before), decay ** (gap - 1), np.float32)
        counts = counts + sparse.csr_array((weight, (before, after)), shape=(n, n))
    return scale_rows(counts, 1.0 / (np.asarray(counts.sum(axis=1)).ravel() + shrinkage))
