"""Activation functions at their known values and at their extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.numeric import activations as f

GRID = np.array([-1e4, -30.0, -2.0, -1e-3, 0.0, 1e-3, 2.0, 30.0, 1e4])


@pytest.mark.parametrize(
    "function", [f.sigmoid, f.silu, f.gelu, f.elu, f.elu_plus_one, f.leaky_relu, f.softmax, f.sparsemax]
)
def test_float32_is_kept_and_extremes_stay_finite(function):
    out = function(GRID.astype(np.float32))
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.abs(out - function(GRID)).max() <= 2e-6 * np.abs(out).max()


def test_known_values():
    assert f.sigmoid(np.array([0.0, math.log(3)])) == pytest.approx([0.5, 0.75])
    assert f.silu(np.array([math.log(3)])) == pytest.approx([0.75 * math.log(3)])
    assert f.elu(np.array([2.0, math.log(0.5)])) == pytest.approx([2.0, -0.5])
    assert f.elu_plus_one(np.array([2.0, math.log(0.5)])) == pytest.approx([3.0, 0.5])
    assert f.leaky_relu(np.array([3.0, -1.0]), 0.1) == pytest.approx([3.0, -0.1])
    assert f.leaky_relu(np.array([3.0, -1.0]), np.array([7.0, 2.0])) == pytest.approx([3.0, -2.0])
    exact = [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in (-3.0, -1.0, 0.5, 2.0)]
    assert f.gelu(np.array([-3.0, -1.0, 0.5, 2.0])) == pytest.approx(exact, abs=5e-4)
    assert f.log_sum_exp(np.array([[1000.0, 1000.0]])) == pytest.approx([1000 + math.log(2)])
    assert f.softmax(np.array([0.0, math.log(3)])) == pytest.approx([0.25, 0.75])


def test_sparsemax_of_small_cases():
    assert f.sparsemax(np.array([0.5, 0.5])) == pytest.approx([0.5, 0.5])
    assert f.sparsemax(np.array([5.0, 0.0, 0.0])) == pytest.approx([1.0, 0.0, 0.0])
    assert f.sparsemax(np.array([0.2, 0.1, -2.0])) == pytest.approx([0.55, 0.45, 0.0])


def test_masked_softmax_hides_keys_and_decides_what_blind_rows_see():
    z = np.array([[1.0, 1.0, 9.0], [0.0, math.log(3), 0.0]])
    hidden = f.masked_softmax(z, np.array([[True, True, False], [False, False, False]]))
    assert hidden[0] == pytest.approx([0.5, 0.5, 0.0])
    assert hidden[1] == pytest.approx([0.2, 0.6, 0.2])
    assert np.array_equal(f.masked_softmax(z, np.zeros(3, bool), blind_sees_all=False), np.zeros((2, 3)))


def test_layer_norm_gives_mean_zero_variance_one_and_leaves_constant_rows_at_zero():
    x = np.random.default_rng(0).normal(3, 5, (4, 50))
    out = f.layer_norm(x)
    assert np.abs(out.mean(axis=1)).max() < 1e-12
    assert np.abs(out.std(axis=1) - 1).max() < 1e-4
    assert np.abs(f.layer_norm(1e-9 * x) - out).max() < 1e-9
    assert np.array_equal(f.layer_norm(np.zeros((1, 3))), np.zeros((1, 3)))
