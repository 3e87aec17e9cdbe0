"""Mixture of attention experts (number 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.registry import describe, mechanism
from core.errors import InvalidInput
from core.numeric.activations import softmax

Array = NDArray[Any]
EXPERTS = ("dot_product", "cosine", "linear", "sparsemax")


def routes(q: Array, gate: Array, top_k: int = 2) -> tuple[Array, Array]:
    """The experts of each query, best first, and their weights: softmax(W_g q), the largest top_k, renormalised.

    q: (..., n_q, d); gate: (experts, d). Returns (..., n_q, top_k) integers and weights that sum to 1.
    """
    if top_k > len(gate):
        raise InvalidInput(f"top_k is {top_k} but the gate of shape {gate.shape} has {len(gate)} experts")
    probabilities = softmax(q @ gate.T)
    chosen = np.argsort(-probabilities, axis=-1, kind="stable")[..., :top_k]
    kept = np.take_along_axis(probabilities, chosen, axis=-1)
    return chosen, kept / kept.sum(axis=-1, keepdims=True)


@mechanism("moe", number=5, family="core", source="Zhang et al. 2022, Mixture of Attention Heads")
def moe(
    q: Array, k: Array, v: Array, *, params: Mapping[str, Array], experts: Sequence[str] = EXPERTS, top_k: int = 2
) -> Array:
    """A gate sends each query to its top_k experts, whose outputs are mixed by the gate's weights (Zhang 2022).

    params: gate (experts, d). experts: names of mechanisms that need neither data nor parameters; the laws hold as far
    as they hold for the experts.
    """
    entries = [describe(name) for name in experts]
    if unfit := [entry.name for entry in entries if entry.needs or "params" in entry.accepts]:
        raise InvalidInput(f"moe attention takes experts without data and parameters, not {unfit}")
    if len(entries) != len(params["gate"]):
        raise InvalidInput(f"moe attention has {len(entries)} experts but a gate of shape {params['gate'].shape}")
    chosen, kept = routes(q, params["gate"], top_k)
    mix = np.zeros((*chosen.shape[:-1], len(entries)), dtype=q.dtype)
    np.put_along_axis(mix, chosen, kept, axis=-1)
    out = np.zeros(1, dtype=q.dtype)
    for i, entry in enumerate(entries):
        share = mix[..., i : i + 1]
        if share.any():
            out = out + share * entry.apply(q, k, v)
    return out
