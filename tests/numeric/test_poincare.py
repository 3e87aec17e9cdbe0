"""Hyperbolic geometry by its laws, in float64 and in float32 near the edge of the ball."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput
from core.numeric import poincare as ball

CURVATURES = [0.5, 1.0, 4.0]


def points(rng, norm, c=1.0, shape=(200, 8), dtype=np.float64):
    """Random points with sqrt(c) |x| = norm."""
    x = rng.normal(size=shape)
    return (norm / np.sqrt(c) * x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)


def far(a, b):
    return np.abs(np.asarray(a, np.float64) - b).max()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_distance_from_the_origin_is_two_artanh_of_the_radius():
    origin, half = np.zeros(2), np.array([0.5, 0.0])
    assert far(ball.poincare_distance(origin, half), 1.0986122886681098) < 1e-12
    assert far(ball.poincare_distance(origin, half / 2, 4.0), 1.0986122886681098 / 2) < 1e-12


@pytest.mark.parametrize("c", CURVATURES)
def test_distance_follows_the_textbook_formula(c, rng):
    u, v = points(rng, 0.7, c), points(rng, 0.9, c)
    uu, vv = (u * u).sum(-1), (v * v).sum(-1)
    textbook = np.arccosh(1 + 2 * c * ((u - v) ** 2).sum(-1) / ((1 - c * uu) * (1 - c * vv))) / np.sqrt(c)
    assert far(ball.poincare_distance(u, v, c), textbook) < 1e-9
    assert far(np.diagonal(ball.pairwise_poincare_distance(u, v, c)), textbook) < 1e-9


def test_tiny_distances_keep_their_digits(rng):
    u = points(rng, 0.5)
    step = 1e-9 * points(rng, 1.0)
    expected = 2e-9 / (1 - 0.25)
    assert far(ball.poincare_distance(u, u + step) / expected, 1) < 1e-6


@pytest.mark.parametrize("c", CURVATURES)
def test_mobius_addition_has_a_neutral_element_an_inverse_and_left_cancellation(c, rng):
    x, y = points(rng, 0.9, c), points(rng, 0.6, c)
    zero = np.zeros_like(x)
    assert far(ball.mobius_add(x, zero, c), x) < 1e-12
    assert far(ball.mobius_add(zero, x, c), x) < 1e-12
    assert far(ball.mobius_add(-x, x, c), 0) < 1e-12
    assert far(ball.mobius_add(-x, ball.mobius_add(x, y, c), c), y) < 1e-9
    assert far(ball.mobius_add(x, y, c), ball.mobius_add(y, x, c)) > 0.01


@pytest.mark.parametrize("c", CURVATURES)
def test_distance_is_the_length_of_the_mobius_difference(c, rng):
    x, y = points(rng, 0.8, c), points(rng, 0.5, c)
    apart = np.linalg.norm(ball.mobius_add(-x, y, c), axis=-1)
    assert far(ball.poincare_distance(x, y, c), 2 / np.sqrt(c) * np.arctanh(np.sqrt(c) * apart)) < 1e-9


def test_mobius_scalar_scales_the_distance_from_the_origin(rng):
    x = points(rng, 0.6, 2.0)
    origin = np.zeros_like(x)
    scaled = ball.mobius_scalar(x, 1.7, 2.0)
    assert far(ball.poincare_distance(origin, scaled, 2.0), 1.7 * ball.poincare_distance(origin, x, 2.0)) < 1e-12
    assert far(ball.mobius_scalar(x, 2.0), ball.mobius_add(x, x)) < 1e-12
    assert far(ball.mobius_scalar(x, -1.0), -x) < 1e-12
    factors = np.linspace(0, 2, 200)
    assert far(ball.mobius_scalar(x, factors)[7], ball.mobius_scalar(x[7], factors[7])) < 1e-15


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("norm", [0.0, 0.3, 0.66, 0.9])
def test_log_inverts_exp_and_exp_travels_lambda_times_the_length(c, norm, rng):
    p, v = points(rng, norm, c), 0.1 / np.sqrt(c) * points(rng, 1.0)
    there = ball.exp_map(v, p, c)
    assert far(ball.log_map(there, p, c), v) < 1e-9
    travelled = ball.conformal_factor(p, c) * np.linalg.norm(v, axis=-1)
    assert far(ball.poincare_distance(p, there, c), travelled) < 1e-9
    assert far(ball.conformal_factor(p, c), 2 / (1 - norm**2)) < 1e-9


def test_exp_inverts_log(rng):
    p, y = points(rng, 0.9), points(rng, 0.7)
    assert far(ball.exp_map(ball.log_map(y, p), p), y) < 1e-9


def test_exp_of_nothing_stays_and_log_of_the_base_is_nothing(rng):
    p = points(rng, 0.9)
    assert far(ball.exp_map(np.zeros_like(p), p), p) < 1e-12
    assert far(ball.log_map(p, p), 0) < 1e-9


def test_every_operation_is_right_to_1e5_in_float32_at_norm_09(rng):
    p, y, v = points(rng, 0.9), points(rng, 0.9), 0.1 * points(rng, 1.0)
    p32, y32, v32 = (x.astype(np.float32) for x in (p, y, v))
    p, y, v = (x.astype(np.float64) for x in (p32, y32, v32))  # the same numbers
    pairs = [
        (ball.exp_map(v32, p32), ball.exp_map(v, p)),
        (ball.log_map(y32, p32), ball.log_map(y, p)),
        (ball.mobius_add(p32, y32), ball.mobius_add(p, y)),
        (ball.mobius_scalar(p32, 0.7), ball.mobius_scalar(p, 0.7)),
        (ball.poincare_distance(p32, y32), ball.poincare_distance(p, y)),
        (ball.lorentz_distance(ball.to_lorentz(p32), ball.to_lorentz(y32)), ball.poincare_distance(p, y)),
        (ball.from_lorentz(ball.to_lorentz(p32)), p),
        (ball.gyro_midpoint(p32), ball.gyro_midpoint(p)),
    ]
    for single, double in pairs:
        assert single.dtype == np.float32
        assert far(single, double) < 1e-5
    back = ball.log_map(ball.exp_map(v32, p32), p32)
    assert far(back, v) < 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_projection_moves_only_what_is_outside(dtype, rng):
    inside, outside = points(rng, 0.9, dtype=dtype), points(rng, 50.0, dtype=dtype)
    assert np.array_equal(ball.project_to_ball(inside), inside)
    moved = ball.project_to_ball(outside)
    assert far(np.linalg.norm(moved.astype(np.float64), axis=-1), 0.99999) < 1e-6
    assert far(moved * (50 / 0.99999), outside) < 1e-4
    assert far(np.linalg.norm(ball.project_to_ball(outside, 4.0), axis=-1), 0.49999) < 1e-6


def test_long_steps_and_points_outside_stay_inside_the_ball(rng):
    far_out = points(rng, 50.0, dtype=np.float32)
    for moved in (ball.exp_map(far_out, far_out), ball.mobius_add(far_out, far_out), ball.gyro_midpoint(far_out)):
        assert np.isfinite(moved).all()
        assert np.linalg.norm(moved.astype(np.float64), axis=-1).max() < 1
    assert np.isfinite(ball.log_map(far_out, -far_out)).all()
    assert np.isfinite(ball.poincare_distance(far_out, -far_out)).all()


@pytest.mark.parametrize("c", CURVATURES)
def test_hyperboloid_points_have_inner_product_minus_one_over_c(c, rng):
    x = points(rng, 0.9, c)
    assert far(ball.lorentz_inner(ball.to_lorentz(x, c), ball.to_lorentz(x, c)), -1 / c) < 1e-9
    lifted = ball.lift(7 * x, c)
    assert far(ball.lorentz_inner(lifted, lifted), -1 / c) < 1e-9
    assert np.array_equal(lifted[:, 1:], 7 * x)


@pytest.mark.parametrize("c", CURVATURES)
def test_the_hyperboloid_is_isometric_to_the_ball(c, rng):
    x, y = points(rng, 0.9, c), points(rng, 0.4, c)
    above, beside = ball.to_lorentz(x, c), ball.to_lorentz(y, c)
    assert far(ball.from_lorentz(above, c), x) < 1e-12
    distance = ball.poincare_distance(x, y, c)
    assert far(ball.lorentz_distance(above, beside, c), distance) < 1e-9
    assert far(np.diagonal(ball.pairwise_lorentz_distance(above, beside, c)), distance) < 1e-9
    assert far(np.arccosh(-c * ball.lorentz_inner(above, beside)) / np.sqrt(c), distance) < 1e-9


@pytest.mark.parametrize("c", CURVATURES)
def test_midpoint_of_two_points_is_half_way(c, rng):
    pair = np.stack([points(rng, 0.9, c), points(rng, 0.3, c)], axis=1)
    middle = ball.gyro_midpoint(pair, c=c)
    whole = ball.poincare_distance(pair[:, 0], pair[:, 1], c)
    assert far(ball.poincare_distance(middle, pair[:, 0], c), whole / 2) < 1e-9
    assert far(ball.poincare_distance(middle, pair[:, 1], c), whole / 2) < 1e-9


def test_midpoint_of_equal_points_is_that_point(rng):
    x = points(rng, 0.9)
    assert far(ball.gyro_midpoint(np.stack([x, x, x], axis=1), np.array([0.2, 0.0, 3.0])), x) < 1e-12


@pytest.mark.parametrize("c", CURVATURES)
def test_weighted_midpoint_minimises_the_weighted_cosh_of_the_distances(c, rng):
    x, w = points(rng, 0.8, c, shape=(6, 3)), rng.random(6)

    def cost(at):
        return (w * np.cosh(np.sqrt(c) * ball.poincare_distance(x, at, c))).sum(-1)

    middle = ball.gyro_midpoint(x, w, c)
    around = ball.exp_map(1e-3 * points(rng, 1.0, shape=(100, 3)), middle, c)
    assert min(cost(at) for at in around) > cost(middle)


def test_midpoint_moves_with_the_points(rng):
    x, w, shift = points(rng, 0.6, shape=(6, 3)), rng.random(6), points(rng, 0.5, shape=(3,))
    moved = ball.gyro_midpoint(ball.mobius_add(shift, x), w)
    assert far(moved, ball.mobius_add(shift, ball.gyro_midpoint(x, w))) < 1e-9


def test_many_midpoints_equal_single_ones_and_the_lorentz_centroid(rng):
    x, w = points(rng, 0.8, shape=(6, 3)), rng.random((4, 6))
    many = ball.gyro_midpoints(w, x)
    assert far(many, np.stack([ball.gyro_midpoint(x, row) for row in w])) < 1e-12
    assert far(ball.from_lorentz(ball.lorentz_centroids(w, ball.to_lorentz(x))), many) < 1e-12
    centroids = ball.lorentz_centroids(w, ball.to_lorentz(x))
    assert far(ball.lorentz_inner(centroids, centroids), -1) < 1e-9


@pytest.mark.parametrize("c", [0.0, -1.0, np.nan, np.inf])
def test_a_curvature_that_is_not_positive_is_refused(c):
    with pytest.raises(InvalidInput, match="curvature"):
        ball.exp_map(np.zeros(3), np.zeros(3), c)


def test_vectors_of_different_lengths_are_refused():
    with pytest.raises(InvalidInput, match=r"shape: \(3,\) and \(2,\)"):
        ball.poincare_distance(np.zeros(3), np.zeros(2))
