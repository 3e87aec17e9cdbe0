"""FastGRNN: a recurrent cell whose gate and candidate share their matrices (Kusupati et al. 2018, section 3.2).

    z_t = sigmoid(W x_t + U h_{t-1} + b_z)
    c_t = tanh(W x_t + U h_{t-1} + b_h)
    h_t = (s (1 - z_t) + n) * c_t + z_t * h_{t-1}        s = sigmoid(zeta), n = sigmoid(nu)

W = W1 W2^T and U = U1 U2^T have low rank. Batches are (b, t, d) with a mask (b, t): where it is 0 the state stays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.numeric.activations import sigmoid

Array = NDArray[np.floating]


@dataclass(slots=True)
class Cell:
    """w1 (h, r_w), w2 (d, r_w), u1 (h, r_u), u2 (h, r_u), b_z (h,), b_h (h,), zeta and nu (1,) before squashing."""

    w1: Array
    w2: Array
    u1: Array
    u2: Array
    b_z: Array
    b_h: Array
    zeta: Array
    nu: Array

    def arrays(self) -> dict[str, Array]:
        """The parameters by name; the very arrays, not copies."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def hidden(self) -> int:
        """h, the width of the state."""
        return len(self.b_z)


@dataclass(slots=True)
class Trace:
    """What `backward` needs of a forward pass. Per step t: state before it, gate and candidate, each (b, h)."""

    x: Array
    mask: Array
    before: list[Array]
    gate: list[Array]
    candidate: list[Array]


def new_cell(rng: np.random.Generator, dims: int, hidden: int, rank_w: int, rank_u: int) -> Cell:
    """A cell for inputs of `dims` values of size about 1. zeta = 1 and nu = -4 as the authors start."""

    def normal(rows: int, columns: int, spread: float) -> Array:
        return (spread * rng.standard_normal((rows, columns))).astype(np.float32)

    return Cell(
        w1=normal(hidden, rank_w, rank_w**-0.5),
        w2=normal(dims, rank_w, dims**-0.5),
        u1=normal(hidden, rank_u, rank_u**-0.5),
        u2=normal(hidden, rank_u, hidden**-0.5),
        b_z=np.ones(hidden, np.float32),
        b_h=np.ones(hidden, np.float32),
        zeta=np.array([1.0], np.float32),
        nu=np.array([-4.0], np.float32),
    )


def forward(cell: Cell, x: Array, mask: Array | None = None) -> tuple[Array, Trace]:
    """Last states (b, h) of sequences x (b, t, d), from states of zero. Raises InvalidInput for another shape."""
    if x.ndim != 3 or x.shape[2] != len(cell.w2):
        raise InvalidInput(f"sequences of shape {x.shape}, wanted (batch, steps, {len(cell.w2)})")
    mask = np.ones(x.shape[:2], x.dtype) if mask is None else mask.astype(x.dtype)
    share, floor = sigmoid(cell.zeta), sigmoid(cell.nu)
    projected = (x @ cell.w2) @ cell.w1.T  # (b, t, h): the inputs of all steps at once
    trace = Trace(x, mask, [], [], [])
    h = np.zeros((len(x), cell.hidden), x.dtype)
    for t in range(x.shape[1]):
        pre = projected[:, t] + (h @ cell.u2) @ cell.u1.T
        z, c = sigmoid(pre + cell.b_z), np.tanh(pre + cell.b_h)
        trace.before.append(h)
        trace.gate.append(z)
        trace.candidate.append(c)
        kept = mask[:, t, None]
        h = kept * ((share * (1 - z) + floor) * c + z * h) + (1 - kept) * h
    return h, trace


def backward(cell: Cell, trace: Trace, d_h: Array) -> Cell:
    """Gradients of a loss, given its gradient (b, h) with respect to the last states: back through time."""
    share, floor = sigmoid(cell.zeta), sigmoid(cell.nu)
    steps = range(trace.x.shape[1])
    grad = Cell(**{name: np.zeros_like(values) for name, values in cell.arrays().items()})
    d_pre = np.empty((*trace.x.shape[:2], cell.hidden), trace.x.dtype)
    for t in reversed(steps):
        z, c, h, kept = trace.gate[t], trace.candidate[t], trace.before[t], trace.mask[:, t, None]
        d_new = kept * d_h
        d_z = d_new * (h - share * c) * z * (1 - z)
        d_c = d_new * (share * (1 - z) + floor) * (1 - c * c)
        d_pre[:, t] = d_z + d_c
        grad.b_z += d_z.sum(axis=0)
        grad.b_h += d_c.sum(axis=0)
        grad.zeta += (d_new * (1 - z) * c).sum() * share * (1 - share)
        grad.nu += (d_new * c).sum() * floor * (1 - floor)
        through = d_pre[:, t] @ cell.u1
        grad.u1 += d_pre[:, t].T @ (h @ cell.u2)
        grad.u2 += h.T @ through
        d_h = d_h - d_new + d_new * z + through @ cell.u2.T
    flat, inputs = d_pre.reshape(-1, cell.hidden), trace.x.reshape(-1, trace.x.shape[2])
    grad.w1 += flat.T @ (inputs @ cell.w2)
    grad.w2 += inputs.T @ (flat @ cell.w1)
    return grad
