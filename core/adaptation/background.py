"""The background loop's learning: the base tier, trained on a batch of trajectories under EWC."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.ewc import Ewc
from core.adaptation.instant import LIMIT
from core.adaptation.lora import Lora, bounded, reward_gradient, reward_loss, squared_gradients
from core.numeric.vectors import Floats

STEPS = 20
BATCH = 256
FISHER_MEAN = 1.0  # of a finished task: REINFORCE gradients fade with the advantage, what they protect must not


@dataclass(frozen=True, slots=True)
class BaseTraining:
    """What a training run of the base tier did."""

    loss_before: float
    loss_after: float
    gradient_norm: float
    drift: float  # |w_after - w_before|


def effective(lora: Lora) -> Lora:
    """The same adapter with its scale folded into B. Training happens in these weights: both factors then move at
    matching speed whatever alpha and rank are."""
    return Lora(lora.A, lora.B * np.float32(lora.scale), float(lora.rank))


def flatten(lora: Lora) -> Floats:
    """The weights that are trained and guarded (p,): A, then (alpha / r) B."""
    return np.concatenate([lora.A.ravel(), lora.B.ravel() * np.float32(lora.scale)])


def unflatten(weights: NDArray[Any], like: Lora) -> Lora:
    """The adapter of the same shapes and alpha whose weights are (p,)."""
    split = like.A.size
    A = np.asarray(weights[:split].reshape(like.A.shape), dtype=np.float32)
    B = weights[split:].reshape(like.B.shape) / like.scale
    return Lora(A, np.asarray(B, dtype=np.float32), like.alpha)


def aim_inputs(lora: Lora, queries: Floats) -> Lora:
    """Before the first lesson (B = 0, so no output changes): A's rows become the principal directions of the queries
    (n, d), where a random A would hardly see them (Paischer et al. 2024)."""
    vectors = np.linalg.eigh((queries.T @ queries).astype(np.float64))[1]
    rows = vectors[:, : -lora.rank - 1 : -1].T
    return Lora(np.ascontiguousarray(rows, dtype=np.float32), lora.B, lora.alpha)


def observe_fisher(lora: Lora, queries: Floats, pulls: Floats, ewc: Ewc, samples: int) -> None:
    """Add the squared per-sample gradients of at most `samples` trajectories to the running Fisher."""
    q, pull = queries[-samples:], pulls[-samples:]
    fisher_A, fisher_B = squared_gradients(effective(lora), q, pull)
    ewc.observe_squared(np.concatenate([fisher_A.ravel(), fisher_B.ravel()]), samples=len(q))


def train_base(
    lora: Lora, queries: Floats, pulls: Floats, ewc: Ewc, learning_rate: float, dropout: float, rng: np.random.Generator
) -> tuple[Lora, BaseTraining]:
    """Twenty minibatch steps on the REINFORCE loss by both factors, each followed by EWC's proximal pull.

    queries (n, d) unit rows, pulls (n, d). learning_rate: root-mean-square change per weight of (alpha / r) B and step
    at advantage 1 and alpha 1. dropout: share of the queries' coordinates that each step leaves out. The result keeps
    |delta(q)| <= |q|.
    """
    before, start = reward_loss(lora, queries, pulls), flatten(lora)
    step = lora.alpha * learning_rate * math.sqrt(lora.B.size)
    trained, norm = lora, 0.0
    for _ in range(STEPS):
        rows = rng.integers(len(queries), size=BATCH) if len(queries) > BATCH else slice(None)
        q = queries[rows]
        if dropout > 0:
            q = q * (rng.random(q.shape, dtype=np.float32) >= dropout) / np.float32(1.0 - dropout)
        gradient = np.concatenate([g.ravel() for g in reward_gradient(effective(trained), q, pulls[rows])])
        norm = float(np.linalg.norm(gradient))
        weights = flatten(trained) - np.float32(step) * gradient
        trained = unflatten(ewc.proximal(weights, step), lora)
    trained = bounded(trained, LIMIT)
    report = BaseTraining(
        before, reward_loss(trained, queries, pulls), norm, float(np.linalg.norm(flatten(trained) - start))
    )
    return trained, report
