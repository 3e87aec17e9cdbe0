"""The instant steps move the output for a query along the pull, keep their bounds, and know their rank's best."""

import numpy as np
import pytest

from core.adaptation.instant import reinforce, reinforce_output
from core.adaptation.lora import Lora, delta, fresh, spectral_norm
from core.numeric.vectors import unit, unit_rows


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_one_step_moves_the_query_by_exactly_rate_times_pull():
    rng = np.random.default_rng(0)
    q, pull = unit(normal(rng, 64)), normal(rng, 64)
    moved = reinforce(fresh(64, 2, 1.0, rng), q, pull, rate=0.01)
    assert np.allclose(delta(moved, q), 0.01 * pull, atol=1e-5)


def test_many_steps_track_the_best_low_rank_sum():
    """Three query-action pairs, rank 2: the result is near the Eckart-Young optimum of the exact sum."""
    rng = np.random.default_rng(1)
    queries, actions = unit_rows(normal(rng, 3, 32)), unit_rows(normal(rng, 3, 32))
    strengths = np.array([3.0, 2.0, 0.1], np.float32)
    lora, exact = fresh(32, 2, 1.0, rng), np.zeros((32, 32))
    for _ in range(20):
        for q, a, strength in zip(queries, actions, strengths, strict=True):
            lora = reinforce(lora, q, strength * a, rate=0.01, decay=0.0, limit=10.0)
            exact += 0.01 * strength * np.outer(a, q)
    singular = np.linalg.svd(exact, compute_uv=False)
    best = np.sqrt((singular[2:] ** 2).sum())
    assert np.linalg.norm(lora.scale * lora.B @ lora.A - exact) <= 1.3 * best


def test_rows_stay_orthonormal_and_outputs_bounded_over_thousands_of_steps():
    rng = np.random.default_rng(2)
    lora = fresh(48, 2, 1.0, rng)
    for _ in range(3000):
        lora = reinforce(lora, unit(normal(rng, 48)), unit(normal(rng, 48)), rate=0.2)
    assert np.allclose(lora.A @ lora.A.T, np.eye(2), atol=1e-4)
    assert spectral_norm(lora.A, lora.B, lora.scale) <= 1.001
    assert np.isfinite(lora.B).all()


def test_repeating_one_lesson_saturates_at_the_limit_in_its_direction():
    rng = np.random.default_rng(3)
    q, action = unit(normal(rng, 32)), unit(normal(rng, 32))
    lora = fresh(32, 1, 1.0, rng)
    for _ in range(500):
        lora = reinforce(lora, q, action, rate=0.1)
    assert np.allclose(delta(lora, q), action, atol=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_rank_may_equal_the_dimension(dim):
    rng = np.random.default_rng(4)
    lora = fresh(dim, min(dim, 2), 1.0, rng)
    for _ in range(10):
        lora = reinforce(lora, unit(normal(rng, dim)), normal(rng, dim), rate=0.1)
    assert np.isfinite(delta(lora, np.ones(dim, np.float32))).all()


def test_the_output_step_leaves_a_alone_and_moves_the_query_along_the_pull():
    rng = np.random.default_rng(5)
    lora = fresh(64, 2, 1.0, rng)
    q, pull = unit(lora.A.sum(axis=0)), unit(normal(rng, 64))
    moved = reinforce_output(lora, q, pull, rate=0.1)
    assert moved.A is lora.A
    assert np.allclose(delta(moved, q), 0.1 * pull, atol=0.01)


def test_the_output_step_hardly_moves_for_a_query_that_a_does_not_see():
    rng = np.random.default_rng(6)
    lora = fresh(64, 2, 1.0, rng)
    q = normal(rng, 64)
    q = unit(q - lora.A.T @ (lora.A @ q) + np.float32(0.01) * lora.A[0])
    moved = reinforce_output(lora, q, unit(normal(rng, 64)), rate=0.1)
    assert spectral_norm(moved.A, moved.B, moved.scale) < 0.1


def test_output_steps_stay_bounded():
    rng = np.random.default_rng(7)
    lora = Lora(normal(rng, 2, 48), np.zeros((48, 2), np.float32), 1.0)
    for _ in range(1000):
        lora = reinforce_output(lora, unit(normal(rng, 48)), unit(normal(rng, 48)), rate=0.5)
    assert spectral_norm(lora.A, lora.B, lora.scale) <= 1.001
