"""Attention in spaces of constant curvature (numbers 14-17)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.dense import unit_length
from core.attention.registry import mechanism
from core.errors import InvalidInput
from core.numeric.activations import softmax
from core.numeric.poincare import (
    gyro_midpoints,
    lift,
    lorentz_centroids,
    pairwise_lorentz_distance,
    pairwise_poincare_distance,
    project_to_ball,
)

Array = NDArray[Any]
TINY = 1e-15


@mechanism(
    "hyperbolic",
    number=14,
    family="hyperbolic",
    source="Gulcehre et al. 2019, Hyperbolic Attention Networks",
    row_weights=False,
)
def hyperbolic(q: Array, k: Array, v: Array, *, curvature: float = 1.0, temperature: float = 1.0) -> Array:
    """softmax(-d_P(q, k) / T), then the gyro-midpoint of the values (Gulcehre 2019, in ball coordinates).

    q, k and v are points of the Poincare ball; points outside are moved to its edge, and the output is inside.
    """
    weights = softmax(-pairwise_poincare_distance(q, k, curvature) / temperature)
    return gyro_midpoints(weights, v, curvature)


@mechanism(
    "lorentz",
    number=15,
    family="hyperbolic",
    source="Law et al. 2019, Lorentzian Distance Learning; Chen et al. 2022, Fully Hyperbolic Neural Networks",
    row_weights=False,
)
def lorentz(q: Array, k: Array, v: Array, *, curvature: float = 1.0, temperature: float = 1.0) -> Array:
    """softmax(-d_L(q, k) / T) on the hyperboloid, then the Lorentz centroid of the values (Law 2019).

    q, k and v are the space coordinates of points, of any length; so is the output.
    """
    distance = pairwise_lorentz_distance(lift(q, curvature), lift(k, curvature), curvature)
    return lorentz_centroids(softmax(-distance / temperature), lift(v, curvature), curvature)[..., 1:]


def cone_energy(q: Array, k: Array, curvature: float = 1.0, aperture: float = 0.1) -> Array:
    """How far k lies outside the cone of q: max(0, angle(q, k) - psi(q)), 0 for descendants (Ganea 2018).

    q (..., n_q, d), k (..., n, d) in the ball -> (..., n_q, n). psi(x) = arcsin(aperture (1 - c|x|^2) / (sqrt c |x|)):
    the nearer to the origin, the wider, and the origin's cone is everything.
    """
    root = math.sqrt(curvature)
    x, y = (root * project_to_ball(points.astype(np.float64), curvature) for points in (q, k))
    xx = np.einsum("...i,...i->...", x, x)[..., :, None]
    yy = np.einsum("...i,...i->...", y, y)[..., None, :]
    xy = x @ np.swapaxes(y, -1, -2)
    apart = np.sqrt(np.maximum(xx + yy - 2 * xy, 0))
    length = np.sqrt(xx)
    rise = (xy * (1 + xx) - xx * (1 + yy)) / np.maximum(length * apart * np.sqrt(1 + xx * yy - 2 * xy), TINY)
    angle = np.arccos(np.clip(np.where(apart < 1e-9, 1.0, rise), -1, 1))
    psi = np.arcsin(np.minimum(aperture * (1 - xx) / np.maximum(length, TINY), 1))
    return np.maximum(0, angle - np.where(length < 1e-9, np.pi, psi)).astype(q.dtype)


@mechanism("entailment_cone", number=16, family="hyperbolic", source="Ganea et al. 2018, Hyperbolic Entailment Cones")
def entailment_cone(
    q: Array, k: Array, v: Array, *, curvature: float = 1.0, temperature: float = 0.1, aperture: float = 0.1
) -> Array:
    """softmax(-E(q, k) / T) v: keys in the cone of the query, its descendants in a tree of genres, share the weight."""
    return softmax(-cone_energy(q, k, curvature, aperture) / q.dtype.type(temperature)) @ v


@mechanism(
    "mixed_curvature",
    number=17,
    family="hyperbolic",
    source="Gu et al. 2019, Learning Mixed-Curvature Representations in Product Spaces",
)
def mixed_curvature(
    q: Array,
    k: Array,
    v: Array,
    *,
    split: tuple[int, int, int] | None = None,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    curvature: float = 1.0,
) -> Array:
    """Scores in a product of spaces E x H x S: weighted sum of q . k / sqrt d_E, -d_P and minus the angle (Gu 2019).

    split: how many coordinates belong to each space, in this order; thirds by default, E taking the remainder.
    """
    d = q.shape[-1]
    split = split if split is not None else (d - 2 * (d // 3), d // 3, d // 3)
    if len(split) != 3 or sum(split) != d or min(split) < 0:
        raise InvalidInput(f"split {split} does not add up to the last axis of q, shape {q.shape}")
    cuts = [split[0], split[0] + split[1]]
    (q_e, q_h, q_s), (k_e, k_h, k_s) = np.split(q, cuts, axis=-1), np.split(k, cuts, axis=-1)
    z = weights[0] / max(split[0], 1) ** 0.5 * (q_e @ np.swapaxes(k_e, -1, -2))
    if split[1]:
        z = z - weights[1] * pairwise_poincare_distance(q_h, k_h, curvature)
    if split[2]:
        cos = unit_length(q_s) @ np.swapaxes(unit_length(k_s), -1, -2)
        z = z - weights[2] * np.arccos(np.clip(cos, -1, 1))
    return softmax(z) @ v
