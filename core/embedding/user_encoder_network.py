"""The user encoder as a network: the vectors of what a user liked -> one vector, by attention; with its gradient.

a_k = softmax_k(q . tanh(K e_k) + ln w_k),  u = M sum_k a_k e_k + b

Attention pooling by a learned query (Yang et al. 2016), on top of the weights w that recency and strength give: with
q = 0 it is their weighted mean. M and b turn what somebody liked into what such people like next, b for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Gradients = dict[str, Floats]

ATTENTION_DIMS = 64
_ABSENT = -1e9  # ln of a weight of 0, finite: a history without any title then pools zeros


@dataclass(frozen=True, slots=True, eq=False)
class UserWeights:
    """keys (d, a) K transposed; query (a,) q; turn (d, d) M transposed; shift (d,) b."""

    keys: Floats
    query: Floats
    turn: Floats
    shift: Floats


@dataclass(frozen=True, slots=True, eq=False)
class UserPass:
    """What the backward pass needs of a forward pass over n histories; `vectors` (n, d) are its result."""

    history: Floats  # (n, L, d)
    keys: Floats  # (n, L, a) tanh(K e)
    attention: Floats  # (n, L), rows sum to 1, or to 0 for an empty history
    pooled: Floats  # (n, d)
    vectors: Floats


def start_user(dims: int, rng: np.random.Generator) -> UserWeights:
    """Weights that give the weighted mean, in float32."""
    keys = rng.standard_normal((dims, ATTENTION_DIMS), dtype=np.float32) / np.float32(np.sqrt(dims))
    zeros = np.zeros(ATTENTION_DIMS, np.float32), np.zeros(dims, np.float32)
    return UserWeights(keys, zeros[0], np.eye(dims, dtype=np.float32), zeros[1])


def encode_users(weights: UserWeights, history: Floats, strength: Floats) -> UserPass:
    """history: (n, L, d) vectors of titles; strength: (n, L) their weights w >= 0, 0 where there is no title."""
    keys = np.tanh(history @ weights.keys)
    present = strength > 0
    scores = keys @ weights.query + np.where(present, np.log(np.where(present, strength, 1)), _ABSENT)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True)) * present
    attention = raised / np.maximum(raised.sum(axis=1, keepdims=True), 1e-30)
    pooled = np.einsum("nl,nld->nd", attention, history, optimize=True)
    return UserPass(history, keys, attention, pooled, pooled @ weights.turn + weights.shift)


def user_gradients(weights: UserWeights, done: UserPass, gradient: Floats) -> tuple[Gradients, Floats]:
    """Gradients by weight name, and by `history` (n, L, d), of a loss with `gradient` (n, d) by `done.vectors`."""
    by_pooled = gradient @ weights.turn.T
    by_attention = np.einsum("nld,nd->nl", done.history, by_pooled, optimize=True)
    mean = (by_attention * done.attention).sum(axis=1, keepdims=True)
    by_score = done.attention * (by_attention - mean)
    by_keys = by_score[:, :, None] * weights.query * (1 - done.keys**2)
    by_history = done.attention[:, :, None] * by_pooled[:, None, :] + by_keys @ weights.keys.T
    flat, flat_keys = done.history.reshape(-1, done.history.shape[2]), by_keys.reshape(-1, by_keys.shape[2])
    gradients = {
        "keys": flat.T @ flat_keys,
        "query": np.einsum("nla,nl->a", done.keys, by_score, optimize=True),
        "turn": done.pooled.T @ gradient,
        "shift": gradient.sum(axis=0),
    }
    return gradients, by_history
