"""The content encoder as a network: structured features and a text vector of a title -> one vector; with its gradient.

x = terms T + text P,  z = x + relu(x + c) H,  e = z / |z|

T starts as a random projection, which keeps the angles between titles as they are (Johnson & Lindenstrauss 1984), and H
near zero: untrained, titles are alike that have the same features; training moves them to where their audience is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.floating]
Gradients = dict[str, Floats]

DIMS = 512  # content and user vectors
SPREAD = 0.3  # of the starting projections: the smaller, the sooner training leaves plain similarity behind
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ContentWeights:
    """terms (m, d) T; text (t, d) P, with t = 0 without a text encoder; bias (d,) c; hidden (d, d) H."""

    terms: Floats
    text: Floats
    bias: Floats
    hidden: Floats

    @property
    def dims(self) -> int:
        """d."""
        return int(self.hidden.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class TitlePass:
    """What the backward pass needs of a forward pass over n titles; `vectors` (n, d) are its result, unit rows."""

    terms: sparse.csr_array  # (n, m)
    text: Floats  # (n, t)
    active: Floats  # (n, d) relu(x + c)
    length: Floats  # (n, 1) |z|
    vectors: Floats


def start_content(terms: int, text_dims: int, rng: np.random.Generator, dims: int = DIMS) -> ContentWeights:
    """Untrained weights in float32."""

    def noise(rows: int, scale: float) -> Floats:
        return rng.standard_normal((rows, dims), dtype=np.float32) * np.float32(scale / np.sqrt(dims))

    return ContentWeights(
        noise(terms, SPREAD), noise(text_dims, SPREAD), np.zeros(dims, np.float32), noise(dims, SPREAD)
    )


def encode_titles(weights: ContentWeights, terms: sparse.csr_array, text: Floats) -> TitlePass:
    """terms: (n, m) structured features; text: (n, t), zero rows where there is none. A title of which nothing at all
    is known gets what the network makes of nothing, like every other such title."""
    x = terms @ weights.terms
    if text.shape[1]:
        x = x + text @ weights.text
    active = np.maximum(x + weights.bias, 0)
    z = x + active @ weights.hidden
    length = np.linalg.norm(z, axis=1, keepdims=True) + z.dtype.type(_EPSILON)
    return TitlePass(terms, text, active, length, z / length)


def title_gradients(weights: ContentWeights, done: TitlePass, gradient: Floats) -> Gradients:
    """Gradients by weight name of a loss whose gradient by `done.vectors` is `gradient` (n, d)."""
    e, length = done.vectors, done.length
    # e = z / (|z| + eps): de = dz / length - e (e . dz) / |z| up to eps, which is below rounding
    by_z = (gradient - e * (gradient * e).sum(axis=1, keepdims=True)) / length
    by_active = (by_z @ weights.hidden.T) * (done.active > 0)
    by_x = by_z + by_active
    return {
        "terms": sparse.csr_array(done.terms.T) @ by_x,
        "text": done.text.T @ by_x,
        "bias": by_active.sum(axis=0),
        "hidden": done.active.T @ by_z,
    }
