"""Inputs for any mechanism: q, k, v and whatever data it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from core.attention import describe

N_Q, N, D, D_V, D_EDGE = 5, 12, 16, 8, 3


@dataclass
class Inputs:
    """q, k, v and the side inputs of one mechanism, with optional leading axes."""

    name: str
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    side: dict[str, Any] = field(default_factory=dict)

    def __iter__(self):
        return iter((self.name, self.q, self.k, self.v))


def build(name: str, *, batch=(), n_q=N_Q, n=N, d=D, d_v=D_V, scale=1.0, seed=0, dtype=np.float32) -> Inputs:
    """Random inputs whose every row is different, and data that hides some keys but never all."""
    rng = np.random.default_rng(seed)
    hops = np.abs(np.arange(n_q)[:, None] - np.arange(n)) + rng.integers(0, 2, (*batch, n_q, n))
    steps = rng.random((*batch, n, n)) * (rng.random((*batch, n, n)) < 0.5) + 1e-3
    data = {
        "hops": hops,
        "positions": np.arange(n) if not batch else np.broadcast_to(np.arange(n), (*batch, n)),
        "timestamps": np.cumsum(rng.random((*batch, n)), axis=-1),
        "adjacency": rng.random((*batch, n_q, n)) < 0.6,
        "transition": steps / steps.sum(axis=-1, keepdims=True),
        "groups": rng.integers(0, 3, (*batch, n)),
        "edge_features": rng.normal(size=(*batch, n_q, n, D_EDGE)).astype(dtype),
    }
    shapes = ((n_q, d), (n, d), (n, d_v))
    q, k, v = (rng.normal(size=(*batch, *shape)).astype(dtype) * dtype(scale / np.sqrt(shape[1])) for shape in shapes)
    if describe(name).family == "hyperbolic" and scale == 1.0:
        v = v * dtype(0.3)  # values that are points of the ball
    return Inputs(name, q, k, v, {need: data[need] for need in describe(name).needs})


@pytest.fixture
def inputs():
    return build


@pytest.fixture
def qkv():
    """Float64 inputs with scores spread enough that softmax is far from uniform."""
    case = build("dot_product", dtype=np.float64, scale=6.0)
    return case.q, case.k, case.v
