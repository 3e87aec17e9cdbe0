"""The instant loop: one outcome, one step of the fast tier, well under a hundred microseconds.

Both steps move delta(q) for the unit query q along `pull`, the action vector times its advantage, which is the
REINFORCE gradient taken in the space of outputs; they differ in what they may change.
"""

from __future__ import annotations

import math

import numpy as np

from core.adaptation.lora import Lora, bounded
from core.numeric.vectors import Floats

DECAY = 1e-3  # of the weights per signal: half of what is never confirmed is gone after about 700 signals
LIMIT = 1.0  # |delta(q)| <= |q|: the adapter may answer the query, never drown it
RATE = 0.1  # how far delta moves per unit of advantage, in lengths of the query
IN_SPAN = 0.01  # a unit query nearer than this to the span of A adds no direction


def reinforce(lora: Lora, q: Floats, pull: Floats, rate: float, decay: float = DECAY, limit: float = LIMIT) -> Lora:
    """Both factors learn: the best rank-r approximation of (1 - decay) M + rate pull q^T, where M = (alpha / r) B A.

    A must have orthonormal rows, and so has the result (incremental SVD, Brand 2006, followed by the retraction to rank
    r): no random projection stands between query and output, so delta(q) moves by exactly rate x pull as long as the
    rank suffices. q: unit (d,), pull: (d,). Singular values are cut at `limit`.
    """
    A, rank, scale = lora.A, lora.A.shape[0], lora.scale
    p = A.dot(q)
    residual = q - p.dot(A)
    distance = math.sqrt(float(residual.dot(residual)))
    step = np.float32(rate) * pull
    inputs, outputs = A, lora.B.T * np.float32((1.0 - decay) * scale)  # M' = outputs^T inputs, inputs orthonormal
    outputs += p[:, None] * step
    if distance > IN_SPAN:
        inputs = np.concatenate((A, (residual / np.float32(distance))[None]))
        outputs = np.concatenate((outputs, (np.float32(distance) * step)[None]))
    values, vectors = np.linalg.eigh(outputs.dot(outputs.T).astype(np.float64))
    top = vectors.T[: -rank - 1 : -1].astype(np.float32)  # singular vectors, largest first
    shrink = [min(1.0, limit / math.sqrt(max(value, 1e-30))) / scale for value in values[: -rank - 1 : -1].tolist()]
    down, up = top.dot(inputs), top.dot(outputs)
    up *= np.array(shrink, dtype=np.float32)[:, None]
    nearly_one = down.dot(down.T)  # the identity but for rounding, which a Newton-Schulz step keeps from adding up
    correction = np.float32(-0.5) * nearly_one
    correction.flat[:: rank + 1] += np.float32(1.5)
    return Lora(correction.dot(down), up.T, lora.alpha)


def reinforce_output(
    lora: Lora, q: Floats, pull: Floats, rate: float = RATE, decay: float = DECAY, limit: float = LIMIT
) -> Lora:
    """Only B learns, A being the base generation's: normalised least-mean-squares (Widrow & Hoff 1960).

    delta(q) moves by rate x pull where A sees the query well; the floor under |A q|^2, what a random query has, keeps a
    query that A hardly sees from moving every other one.
    """
    z = lora.A @ q
    floor = float(np.vdot(lora.A, lora.A)) / lora.A.shape[1]
    gain = np.float32(rate / lora.scale / (float(z.dot(z)) + floor))
    B = np.float32(1.0 - decay) * lora.B
    B += (gain * pull)[:, None] * z
    moved = Lora(lora.A, B, lora.alpha)
    ceiling = lora.scale * math.sqrt(float(np.vdot(B, B)) * float(np.vdot(lora.A, lora.A)))
    return moved if ceiling <= limit else bounded(moved, limit)  # the exact norm only where the cheap bound does not do
