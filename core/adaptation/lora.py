"""Low-rank adapters: delta(q) = (alpha / r) B A q (Hu et al. 2021), with the true gradients of the losses that train
them.

A is (r, d_in), B is (d_out, r); queries are one vector (d_in,) or rows (n, d_in). The score of item v for query q is
s = (q + delta(q)) . v / temperature, so scores need d_in = d_out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.numeric.vectors import Floats, require_finite

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lora:
    """One adapter. The factors are never changed in place, so a reader may hold one while a writer makes the next."""

    A: Floats
    B: Floats
    alpha: float

    @property
    def rank(self) -> int:
        """r, the inner dimension of the factors."""
        return int(self.A.shape[0])

    @property
    def scale(self) -> float:
        """alpha / r."""
        return self.alpha / self.rank

    @property
    def parameters(self) -> int:
        """How many weights the two factors hold."""
        return int(self.A.size + self.B.size)


def fresh(dim: int, rank: int, alpha: float, rng: np.random.Generator) -> Lora:
    """An adapter that changes nothing yet: A has orthonormal random rows, B is zero."""
    if not 1 <= rank <= dim:
        raise InvalidInput(f"a rank between 1 and {dim} is needed, got {rank}")
    rows = np.linalg.qr(rng.standard_normal((dim, rank)))[0].T
    return Lora(np.ascontiguousarray(rows, dtype=np.float32), np.zeros((dim, rank), dtype=np.float32), alpha)


def require_lora(A: object, B: object, alpha: float) -> Lora:
    """An adapter from outside values. Raises InvalidInput, which names the factor whose shape or values are wrong."""
    down = require_finite(A, "the down factor A", (None, None))
    up = require_finite(B, "the up factor B", (None, down.shape[0]))
    if down.shape[0] < 1:
        raise InvalidInput("the down factor A has rank 0")
    return Lora(down, up, alpha)


def delta(lora: Lora, q: Array) -> Array:
    """(alpha / r) B A q for one query (d_in,) or rows (n, d_in)."""
    return ((q @ lora.A.T) @ lora.B.T) * lora.A.dtype.type(lora.scale)


def fuse(*loras: Lora) -> tuple[Floats, Floats]:
    """Several adapters as one pair (A (R, d_in), B (d_out, R)) with the scales folded into B: one forward costs two
    products, however many tiers there are."""
    A = np.concatenate([lora.A for lora in loras])
    B = np.concatenate([lora.B * np.float32(lora.scale) for lora in loras], axis=1)
    return np.ascontiguousarray(A), np.ascontiguousarray(B)


def scores(lora: Lora, q: Array, v: Array, temperature: float = 1.0) -> Array:
    """(q + delta(q)) . v / temperature, row by row: q, v (n, d) -> (n,)."""
    return ((q + delta(lora, q)) * v).sum(axis=-1) / temperature


def preference_loss(lora: Lora, q: Array, v: Array, y: Array, temperature: float = 1.0) -> float:
    """Mean binary cross-entropy of sigmoid(score) against the labels y (n,) in [0, 1], stable for any score."""
    s = scores(lora, q, v, temperature)
    return float(np.mean(np.logaddexp(0.0, s) - y * s))


def preference_gradient(lora: Lora, q: Array, v: Array, y: Array, temperature: float = 1.0) -> tuple[Array, Array]:
    """Gradients of `preference_loss` by A and by B.

    With e = (sigmoid(s) - y) / (n temperature): dL/ddelta_i = e_i v_i, and the rest is the chain rule of `delta`.
    """
    residual = sigmoid(scores(lora, q, v, temperature)) - y
    return factor_gradients(lora, q, v * (residual / (len(y) * temperature))[:, None])


def reward_loss(lora: Lora, q: Array, pull: Array) -> float:
    """REINFORCE surrogate (Williams 1992): minus the mean of pull_i . delta(q_i), where pull_i is the action vector
    times its advantage; an action with a negative advantage is pushed away. q, pull: (n, d)."""
    return float(-np.mean((pull * delta(lora, q)).sum(axis=-1)))


def reward_gradient(lora: Lora, q: Array, pull: Array) -> tuple[Array, Array]:
    """Gradients of `reward_loss` by A and by B."""
    return factor_gradients(lora, q, pull * pull.dtype.type(-1.0 / len(pull)))


def factor_gradients(lora: Lora, q: Array, outer: Array) -> tuple[Array, Array]:
    """Gradients by A (r, d_in) and B (d_out, r) of a loss whose gradient by the output rows delta(q_i) is `outer` (n,
    d_out)."""
    scale = lora.A.dtype.type(lora.scale)
    grad_B = scale * (outer.T @ (q @ lora.A.T))
    grad_A = scale * ((outer @ lora.B).T @ q)
    return grad_A, grad_B


def squared_gradients(lora: Lora, q: Array, outer: Array) -> tuple[Array, Array]:
    """Mean over the samples of the squared per-sample gradients: the empirical Fisher diagonal, by A and by B.

    A per-sample gradient is an outer product, so its square is the outer product of squares and no sample needs its own
    pass. `outer` (n, d_out) holds per-sample (not averaged) output gradients.
    """
    factor = lora.A.dtype.type(lora.scale**2 / len(q))
    fisher_B = factor * ((outer**2).T @ (q @ lora.A.T) ** 2)
    fisher_A = factor * (((outer @ lora.B) ** 2).T @ q**2)
    return fisher_A, fisher_B


def spectral_norm(A: Array, B: Array, scale: float) -> Array:
    """Largest |delta(q)| / |q|: the top singular value of scale B A, from r x r products only. B (…, d_out, r) ->
    (…)."""
    gram = (A @ A.T).astype(np.float64) @ (np.swapaxes(B, -1, -2) @ B).astype(np.float64)
    return np.asarray(scale * np.sqrt(np.maximum(np.linalg.eigvals(gram).real.max(axis=-1), 0.0)))


def limited(A: Array, B: Array, scale: float, limit: float) -> Array:
    """B (…, d_out, r) scaled down, where need be, so that |delta(q)| <= limit |q| for every q."""
    norm = spectral_norm(A, B, scale)
    factor = np.where(norm > limit, limit / np.maximum(norm, 1e-30), 1.0)
    return np.asarray(B * factor[..., None, None].astype(B.dtype))


def bounded(lora: Lora, limit: float) -> Lora:
    """The adapter with `limited` B."""
    return Lora(lora.A, limited(lora.A, lora.B, lora.scale, limit), lora.alpha)


def decayed(lora: Lora, rate: float) -> Lora:
    """B shrunk by the fraction `rate`, so that what is never confirmed fades."""
    return Lora(lora.A, lora.B * np.float32(1.0 - rate), lora.alpha)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))
