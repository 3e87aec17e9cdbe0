"""LoRA: the forward is the formula, the gradients match finite differences, the bounds bound."""

import numpy as np
import pytest

from core.adaptation import lora as L
from core.errors import InvalidInput


def random_lora(rng, dim=6, rank=3, alpha=2.0, dtype=np.float64):
    return L.Lora(rng.standard_normal((rank, dim)).astype(dtype), rng.standard_normal((dim, rank)).astype(dtype), alpha)


def finite_difference(loss, weights, step=1e-6):
    gradient = np.zeros_like(weights)
    for index in np.ndindex(weights.shape):
        for sign in (1, -1):
            moved = weights.copy()
            moved[index] += sign * step
            gradient[index] += sign * loss(moved) / (2 * step)
    return gradient


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    q, v = rng.standard_normal((2, 5, 6))
    return random_lora(rng), q, v, np.array([1.0, 0.0, 1.0, 0.3, 0.0])


def test_delta_is_scale_times_b_times_a_times_q_for_vectors_and_rows(batch):
    lora, q, _, _ = batch
    expected = np.stack([(2.0 / 3) * lora.B @ (lora.A @ row) for row in q])
    assert np.allclose(L.delta(lora, q), expected)
    assert np.allclose(L.delta(lora, q[2]), expected[2])


def test_fused_tiers_equal_the_sum_of_their_deltas():
    rng = np.random.default_rng(1)
    first, second = random_lora(rng, rank=2, alpha=1.0, dtype=np.float32), random_lora(rng, rank=4, dtype=np.float32)
    q = rng.standard_normal((7, 6)).astype(np.float32)
    A, B = L.fuse(first, second)
    assert A.shape == (6, 6)
    assert np.allclose(q @ A.T @ B.T, L.delta(first, q) + L.delta(second, q), atol=1e-5)


def test_preference_gradient_matches_finite_differences_on_both_factors(batch):
    lora, q, v, y = batch
    grad_A, grad_B = L.preference_gradient(lora, q, v, y, temperature=0.5)
    numeric_A = finite_difference(lambda A: L.preference_loss(L.Lora(A, lora.B, 2.0), q, v, y, 0.5), lora.A)
    numeric_B = finite_difference(lambda B: L.preference_loss(L.Lora(lora.A, B, 2.0), q, v, y, 0.5), lora.B)
    assert np.allclose(grad_A, numeric_A, atol=1e-7)
    assert np.allclose(grad_B, numeric_B, atol=1e-7)


def test_reward_gradient_matches_finite_differences_on_both_factors(batch):
    lora, q, v, y = batch
    pull = v * (y - 0.5)[:, None]
    grad_A, grad_B = L.reward_gradient(lora, q, pull)
    assert np.allclose(
        grad_A, finite_difference(lambda A: L.reward_loss(L.Lora(A, lora.B, 2.0), q, pull), lora.A), atol=1e-7
    )
    assert np.allclose(
        grad_B, finite_difference(lambda B: L.reward_loss(L.Lora(lora.A, B, 2.0), q, pull), lora.B), atol=1e-7
    )


def test_fisher_is_the_mean_of_squared_per_sample_gradients(batch):
    lora, q, v, _ = batch
    singles = [L.factor_gradients(lora, q[i : i + 1], v[i : i + 1]) for i in range(len(q))]
    fisher_A, fisher_B = L.squared_gradients(lora, q, v)
    assert np.allclose(fisher_A, np.mean([a**2 for a, _ in singles], axis=0))
    assert np.allclose(fisher_B, np.mean([b**2 for _, b in singles], axis=0))


def test_loss_is_finite_for_enormous_scores(batch):
    lora, q, v, y = batch
    assert np.isfinite(L.preference_loss(lora, q * 1e4, v * 1e4, y))


def test_spectral_norm_is_the_top_singular_value_and_the_bound_holds():
    lora = random_lora(np.random.default_rng(3), dim=20, rank=4)
    exact = np.linalg.svd(lora.scale * lora.B @ lora.A, compute_uv=False)[0]
    assert float(L.spectral_norm(lora.A, lora.B, lora.scale)) == pytest.approx(exact)
    q = np.random.default_rng(4).standard_normal((200, 20))
    small = L.delta(L.bounded(lora, 0.5), q)
    assert (np.linalg.norm(small, axis=1) <= 0.5 * np.linalg.norm(q, axis=1) + 1e-9).all()
    assert np.array_equal(L.bounded(lora, 2 * exact).B, lora.B)
    stacked = L.limited(lora.A, np.stack([lora.B, 9 * lora.B]), lora.scale, 0.5)
    assert np.allclose(stacked[0], stacked[1])


def test_decay_shrinks_the_delta_by_its_rate(batch):
    lora, q, _, _ = batch
    assert np.allclose(L.delta(L.decayed(lora, 0.25), q), 0.75 * L.delta(lora, q))


def test_a_fresh_adapter_has_orthonormal_inputs_and_changes_nothing():
    lora = L.fresh(64, 4, 1.0, np.random.default_rng(0))
    assert np.allclose(lora.A @ lora.A.T, np.eye(4), atol=1e-6)
    assert not L.delta(lora, np.ones(64, np.float32)).any()


@pytest.mark.parametrize(
    ("A", "B", "named"),
    [
        (np.ones((2, 4)), np.ones((4, 3)), "up factor"),
        (np.ones(4), np.ones((4, 1)), "down factor"),
        ([[np.nan, 1]], [[1], [1]], "down factor"),
    ],
)
def test_weights_from_outside_are_checked_and_the_factor_is_named(A, B, named):
    with pytest.raises(InvalidInput, match=named):
        L.require_lora(A, B, 1.0)
