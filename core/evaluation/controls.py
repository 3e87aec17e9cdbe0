"""What an adapter has to be better than, put in its place through the space that it lives in.

The flow stays the same; only what its adapters can express changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.adaptation.lora import Lora
from core.adaptation.space import Space
from core.numeric.vectors import Floats


def plain_fold_in(space: Space) -> Space:
    """delta(q) = q for everybody: titles near what was liked lately, with nothing learned about the user."""
    d = space.sources.shape[1]
    axes = np.eye(d, dtype=np.float32)
    return replace(space, base=Lora(axes, axes, float(d)))


def constant_input(space: Space) -> Space:
    """Users' tiers see one fixed input instead of the request's query: B A q is then an additive vector per user.

    The input is an axis of its own, on which every title has the typical length of a known one; as many silent axes
    keep A orthonormal.
    """
    d, rank = space.sources.shape[1], len(space.A_slow)
    lengths = np.linalg.norm(space.sources, axis=1)
    typical = float(np.median(lengths[lengths > 0]))
    A = np.concatenate([np.zeros((rank, d), np.float32), np.eye(rank, dtype=np.float32)], axis=1)
    sources, targets = (_wider(factors, rank) for factors in (space.sources, space.targets))
    sources[:, d] = typical
    base = Lora(_wider(space.base.A, rank), _wider(space.base.B.T, rank).T, space.base.alpha)
    return replace(space, sources=sources, targets=targets, A_slow=A, A_fast=A[: len(space.A_fast)], base=base)


def _wider(rows: Floats, more: int) -> Floats:
    """(n, d) -> (n, d + more), zeros appended."""
    return np.concatenate([rows, np.zeros((len(rows), more), np.float32)], axis=1)
