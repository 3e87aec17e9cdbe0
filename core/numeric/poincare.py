"""Hyperbolic geometry: the Poincare ball and the hyperboloid, curvature -c with c > 0.

References
  [1] Ungar, A Gyrovector Space Approach to Hyperbolic Geometry, 2009
  [2] Ganea, Becigneul & Hofmann, Hyperbolic Neural Networks, 2018
  [3] Law, Liao, Snell & Zemel, Lorentzian Distance Learning, 2019

Points and tangent vectors are rows of length d; leading axes broadcast. Arguments: vectors, base point, curvature.
Everything is computed in float64, because 1 - c|x|^2 loses its digits near the boundary, and returned in the dtype of
the input (float32 stays float32). All functions raise InvalidInput for a curvature that is not positive and for
vectors of different lengths.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Array = NDArray[Any]
MARGIN = 1e-5  # points stay this far inside the boundary: float32 cannot tell anything nearer from the boundary itself
TINY = 1e-15  # stands for the length of a zero vector where one divides by it


def _doubled(c: float, *rows: Any) -> tuple[np.dtype, list[Array]]:
    """The dtype to answer in, and the arrays in float64."""
    if not (c > 0 and math.isfinite(c)):
        raise InvalidInput(f"curvature must be positive and finite, not {c}")
    arrays = [np.asarray(x) for x in rows]
    if any(x.ndim == 0 or x.shape[-1] != arrays[0].shape[-1] for x in arrays):
        raise InvalidInput(f"points differ in shape: {' and '.join(str(x.shape) for x in arrays)}")
    single = all(x.dtype == np.float32 for x in arrays)
    return np.dtype(np.float32 if single else np.float64), [x.astype(np.float64) for x in arrays]


def _length(x: Array) -> Array:
    return np.sqrt(np.einsum("...i,...i->...", x, x))[..., None]


def _project(x: Array, c: float) -> Array:
    limit = max(1 / math.sqrt(c) - MARGIN, 0.5 / math.sqrt(c))  # the second for balls smaller than the margin
    length = _length(x)
    return np.where(length > limit, x * (limit / np.maximum(length, TINY)), x)


def _add(x: Array, y: Array, c: float) -> Array:
    xy = np.einsum("...i,...i->...", x, y)[..., None]
    xx, yy = _length(x) ** 2, _length(y) ** 2
    above = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
    return above / np.maximum(1 + 2 * c * xy + c * c * xx * yy, TINY)


def _artanh(x: Array) -> Array:
    return np.arctanh(np.minimum(x, 1 - 1e-15))


def project_to_ball(x: Any, c: float = 1.0) -> Array:
    """The nearest point with |x| <= 1/sqrt(c) - 1e-5. x: (..., d). Points inside are returned as they are."""
    dtype, (x,) = _doubled(c, x)
    return _project(x, c).astype(dtype)


def conformal_factor(x: Any, c: float = 1.0) -> Array:
    """lambda_x = 2 / (1 - c|x|^2): the local scale of the metric. x: (..., d) -> (...,)."""
    dtype, (x,) = _doubled(c, x)
    return (2 / (1 - c * _length(_project(x, c))[..., 0] ** 2)).astype(dtype)


def mobius_add(x: Any, y: Any, c: float = 1.0) -> Array:
    """x (+) y = ((1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y) / (1 + 2c<x,y> + c^2|x|^2|y|^2) [1], [2].

    Not commutative; 0 is neutral; (-x) (+) (x (+) y) = y.
    """
    dtype, (x, y) = _doubled(c, x, y)
    return _project(_add(_project(x, c), _project(y, c), c), c).astype(dtype)


def mobius_scalar(v: Any, r: Any, c: float = 1.0) -> Array:
    """r (x) v = tanh(r artanh(sqrt c |v|)) v / (sqrt c |v|) [2]. v: (..., d); r: a number or (...,)."""
    dtype, (v,) = _doubled(c, v)
    v = _project(v, c)
    root, length = math.sqrt(c), np.maximum(_length(v), TINY)
    factor = np.asarray(r, dtype=np.float64)[..., None] if np.ndim(r) else float(r)
    return _project(np.tanh(factor * _artanh(root * length)) / (root * length) * v, c).astype(dtype)


def exp_map(v: Any, base: Any, c: float = 1.0) -> Array:
    """exp_p(v) = p (+) tanh(sqrt c lambda_p |v| / 2) v / (sqrt c |v|) [2]; d(p, exp_p(v)) = lambda_p |v|."""
    dtype, (v, p) = _doubled(c, v, base)
    p = _project(p, c)
    root, length = math.sqrt(c), np.maximum(_length(v), TINY)
    half_angle = root * length / (1 - c * _length(p) ** 2)  # sqrt c lambda |v| / 2
    return _project(_add(p, np.tanh(half_angle) / (root * length) * v, c), c).astype(dtype)


def log_map(y: Any, base: Any, c: float = 1.0) -> Array:
    """The inverse of exp_p: 2/(sqrt c lambda_p) artanh(sqrt c |w|) w/|w| with w = (-p) (+) y [2]."""
    dtype, (y, p) = _doubled(c, y, base)
    p = _project(p, c)
    w = _add(-p, _project(y, c), c)
    root, length = math.sqrt(c), np.maximum(_length(w), TINY)
    return ((1 - c * _length(p) ** 2) / root * _artanh(root * length) / length * w).astype(dtype)


def poincare_distance(u: Any, v: Any, c: float = 1.0) -> Array:
    """arcosh(1 + 2c|u-v|^2 / ((1-c|u|^2)(1-c|v|^2))) / sqrt c, written as 2 arsinh, which keeps small distances exact.

    u, v: (..., d) -> (...,).
    """
    dtype, (u, v) = _doubled(c, u, v)
    u, v = _project(u, c), _project(v, c)
    scale = (1 - c * _length(u) ** 2) * (1 - c * _length(v) ** 2)
    return (2 / math.sqrt(c) * np.arcsinh(math.sqrt(c) * _length(u - v) / np.sqrt(scale)))[..., 0].astype(dtype)


def pairwise_poincare_distance(u: Any, v: Any, c: float = 1.0) -> Array:
    """All distances between the rows of u (..., m, d) and v (..., n, d) -> (..., m, n), by one matrix product."""
    dtype, (u, v) = _doubled(c, u, v)
    u, v = _project(u, c), _project(v, c)
    uu, vv = _length(u) ** 2, np.swapaxes(_length(v) ** 2, -1, -2)
    squared = np.maximum(uu + vv - 2 * (u @ np.swapaxes(v, -1, -2)), 0)
    return (2 / math.sqrt(c) * np.arcsinh(np.sqrt(c * squared / ((1 - c * uu) * (1 - c * vv))))).astype(dtype)


def gyro_midpoint(points: Any, weights: Any = None, c: float = 1.0) -> Array:
    """Weighted gyro-midpoint [1]: 1/2 (x) sum w lambda x / sum w (lambda - 1).

    points: (..., n, d); weights: (..., n), not negative, any scale, equal when omitted. Returns (..., d), the point
    that minimises sum w cosh(sqrt c d(point, x)): the Einstein midpoint in ball coordinates, in closed form.
    """
    if weights is None:
        weights = np.ones(np.shape(points)[-2], dtype=np.asarray(points).dtype)
    return gyro_midpoints(np.asarray(weights)[..., None, :], points, c)[..., 0, :]


def gyro_midpoints(weights: Any, points: Any, c: float = 1.0) -> Array:
    """A gyro-midpoint of the points (..., n, d) per row of weights (..., m, n) -> (..., m, d)."""
    dtype, (points,) = _doubled(c, points)
    w = np.asarray(weights, dtype=np.float64)
    points = _project(points, c)
    factor = 2 / (1 - c * _length(points) ** 2)
    doubled = (w @ (factor * points)) / np.maximum(w @ (factor - 1), TINY)  # 2 (x) midpoint
    return _project(doubled / (1 + np.sqrt(np.maximum(1 - c * _length(doubled) ** 2, 0))), c).astype(dtype)


def lorentz_inner(x: Any, y: Any) -> Array:
    """<x, y> = -x_0 y_0 + x_1 y_1 + ... (..., d + 1) -> (...,). On the hyperboloid <x, x> = -1/c."""
    dtype, (x, y) = _doubled(1.0, x, y)
    return (np.einsum("...i,...i->...", x[..., 1:], y[..., 1:]) - x[..., 0] * y[..., 0]).astype(dtype)


def lift(x: Any, c: float = 1.0) -> Array:
    """The point of the hyperboloid above x: (sqrt(|x|^2 + 1/c), x). x: (..., d), any length -> (..., d + 1)."""
    dtype, (x,) = _doubled(c, x)
    return np.concatenate([np.sqrt(_length(x) ** 2 + 1 / c), x], axis=-1).astype(dtype)


def to_lorentz(x: Any, c: float = 1.0) -> Array:
    """The isometry from the ball (..., d) to the hyperboloid (..., d + 1): ((1 + c|x|^2)/sqrt c, 2x) / (1 - c|x|^2)."""
    dtype, (x,) = _doubled(c, x)
    x = _project(x, c)
    squared = c * _length(x) ** 2
    return (np.concatenate([(1 + squared) / math.sqrt(c), 2 * x], axis=-1) / (1 - squared)).astype(dtype)


def from_lorentz(x: Any, c: float = 1.0) -> Array:
    """The inverse of `to_lorentz`: x_1..d / (1 + sqrt c x_0). (..., d + 1) -> (..., d)."""
    dtype, (x,) = _doubled(c, x)
    return _project(x[..., 1:] / (1 + math.sqrt(c) * x[..., :1]), c).astype(dtype)


def lorentz_distance(x: Any, y: Any, c: float = 1.0) -> Array:
    """arcosh(-c<x, y>)/sqrt c of points on the hyperboloid, (..., d + 1) -> (...,).

    Written as 2 arsinh(sqrt(c<x-y, x-y>)/2), with x_0 recomputed from the rest, so that near points keep their digits.
    """
    dtype, (x, y) = _doubled(c, x, y)
    x, y = lift(x[..., 1:], c), lift(y[..., 1:], c)
    squared = np.maximum(lorentz_inner(x - y, x - y), 0)
    return (2 / math.sqrt(c) * np.arcsinh(np.sqrt(c * squared) / 2)).astype(dtype)


def pairwise_lorentz_distance(x: Any, y: Any, c: float = 1.0) -> Array:
    """All distances between the rows of x (..., m, d + 1) and y (..., n, d + 1), on the hyperboloid -> (..., m, n)."""
    dtype, (x, y) = _doubled(c, x, y)
    x, y = lift(x[..., 1:], c), lift(y[..., 1:], c)
    y[..., 0] *= -1
    return (np.arccosh(np.maximum(-c * (x @ np.swapaxes(y, -1, -2)), 1)) / math.sqrt(c)).astype(dtype)


def lorentz_centroids(weights: Any, points: Any, c: float = 1.0) -> Array:
    """sum w x / (sqrt c | |sum w x|_L |) per row of weights: least sum of squared Lorentzian distances [3].

    weights: (..., m, n), not negative; points: (..., n, d + 1) on the hyperboloid -> (..., m, d + 1).
    """
    dtype, (points,) = _doubled(c, points)
    total = np.asarray(weights, dtype=np.float64) @ lift(points[..., 1:], c)
    return (total / np.sqrt(np.maximum(-c * lorentz_inner(total, total), TINY))[..., None]).astype(dtype)
