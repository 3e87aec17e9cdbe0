"""From the cell's last state to routes: one softmax over the classes, and one yes or no per route for mixed queries."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from core.numeric.activations import sigmoid, softmax
from core.routing.fastgrnn import Array, Cell, backward, forward, new_cell


@dataclass(slots=True)
class Head:
    """w_class (h, 7), b_class (7,): what the query is; w_also (h, 6), b_also (6,): which routes have a part in it."""

    w_class: Array
    b_class: Array
    w_also: Array
    b_also: Array

    def arrays(self) -> dict[str, Array]:
        """The parameters by name; the very arrays, not copies."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(slots=True)
class Network:
    """A cell and the head on its last state: the trained part of the router."""

    cell: Cell
    head: Head

    def arrays(self) -> dict[str, Array]:
        """Every parameter by name; the very arrays, not copies."""
        return self.cell.arrays() | self.head.arrays()

    def logits(self, x: Array, mask: Array | None = None) -> tuple[Array, Array]:
        """Sequences (b, t, d) -> class logits (b, 7) and route logits (b, 6)."""
        state, _ = forward(self.cell, x, mask)
        return state @ self.head.w_class + self.head.b_class, state @ self.head.w_also + self.head.b_also


def new_network(
    rng: np.random.Generator, dims: int, hidden: int, rank_w: int, rank_u: int, classes: int, routes: int
) -> Network:
    """A network before training."""
    spread = hidden**-0.5
    return Network(
        new_cell(rng, dims, hidden, rank_w, rank_u),
        Head(
            (spread * rng.standard_normal((hidden, classes))).astype(np.float32),
            np.zeros(classes, np.float32),
            (spread * rng.standard_normal((hidden, routes))).astype(np.float32),
            np.zeros(routes, np.float32),
        ),
    )


def loss_and_gradient(
    network: Network, x: Array, mask: Array, wanted: Array, parts: Array, weight: Array, keep: Array
) -> tuple[float, dict[str, Array]]:
    """Mean cross-entropy of the classes plus mean binary cross-entropy of the routes, and its gradient by name.

    x (b, t, d), mask (b, t); wanted (b, 7) rows of shares that sum to 1; parts (b, 6) zeros and ones; weight (b,) of
    each example; keep (b, h): dropout, zeros and 1 / share kept, applied to the last state.
    """
    head = network.head
    state, trace = forward(network.cell, x, mask)
    dropped = state * keep
    p = softmax(dropped @ head.w_class + head.b_class)
    q = sigmoid(dropped @ head.w_also + head.b_also)
    share = weight[:, None] / weight.sum()
    tiny = 1e-7
    loss = -(share * wanted * np.log(p + tiny)).sum()
    loss -= (share * (parts * np.log(q + tiny) + (1 - parts) * np.log(1 - q + tiny))).sum() / parts.shape[1]
    d_class = share * (p * wanted.sum(axis=1, keepdims=True) - wanted)
    d_also = share * (q - parts) / parts.shape[1]
    d_state = (d_class @ head.w_class.T + d_also @ head.w_also.T) * keep
    gradient = backward(network.cell, trace, d_state).arrays()
    gradient |= {"w_class": dropped.T @ d_class, "b_class": d_class.sum(axis=0)}
    gradient |= {"w_also": dropped.T @ d_also, "b_also": d_also.sum(axis=0)}
    return float(loss), gradient
