"""Texts as the router reads them: an encoder's token vectors, then their mean, each scaled to size 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Floats = NDArray[np.float32]
MAX_STEPS = 32  # tokens that are read: the first ones of a longer text say what it asks for
_TINY = 1e-12


def sequence(tokens: Floats) -> Floats:
    """(t, d) token vectors of one text -> (min(t, 32) + 1, d): the last step is the text's pooled vector.

    With that step alone a text can be routed by its embedding, too.
    """
    if tokens.ndim != 2 or not len(tokens):
        raise InvalidInput(f"token vectors of shape {tokens.shape}, wanted (tokens, dims)")
    steps = np.concatenate([tokens[:MAX_STEPS], tokens.mean(axis=0, keepdims=True)])
    return scaled(steps)


def scaled(vectors: Floats) -> Floats:
    """Rows with a root mean square of 1: neither the encoder's scale nor a vector's length says anything."""
    size = np.sqrt(np.square(vectors).mean(axis=-1, keepdims=True))
    return np.asarray(vectors / np.maximum(size, _TINY), dtype=np.float32)


def padded(sequences: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Sequences (t_i, d) as one batch (b, t, d) with its mask (b, t)."""
    longest = max(len(steps) for steps in sequences)
    batch = np.zeros((len(sequences), longest, sequences[0].shape[1]), np.float32)
    mask = np.zeros((len(sequences), longest), np.float32)
    for row, steps in enumerate(sequences):
        batch[row, : len(steps)] = steps
        mask[row, : len(steps)] = 1.0
    return batch, mask
