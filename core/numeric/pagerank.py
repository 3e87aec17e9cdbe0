"""Personalised PageRank by power iteration, many seeds at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def personalised_pagerank(
    transition: sparse.csr_array,
    restart: NDArray[Any],
    restart_probability: float = 0.15,
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> NDArray[Any]:
    """Stationary distributions of random walks with restart (Page et al. 1999; Haveliwala 2002).

    transition: (n, n), rows sum to 1 or are empty; restart: (m, n), rows sum to 1. Solves p = c e + (1 - c) p W for
    each row e of `restart`; a walker in an empty row restarts. Returns (m, n) in the dtype of `restart`; rows sum to 1.
    Stops when no row moves by more than `tolerance` in L1: the error is then below tolerance (1 - c) / c.
    """
    backward = sparse.csr_array(transition.T, dtype=restart.dtype)
    seeds = np.ascontiguousarray(restart.T)  # (n, m): scipy multiplies sparse by dense row-wise
    stuck = np.diff(transition.indptr) == 0
    p = seeds.copy()
    for _ in range(max_iterations):
        walked = backward @ p
        walked *= 1 - restart_probability
        walked += seeds * (restart_probability + (1 - restart_probability) * p[stuck].sum(axis=0))
        moved = np.abs(walked - p).sum(axis=0).max(initial=0.0)
        p = walked
        if moved <= tolerance:
            break
    return np.ascontiguousarray(p.T)
