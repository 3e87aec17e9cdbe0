"""Tiers: folding, truncation and projection are the best approximations they claim to be."""

import numpy as np
import pytest

from core.adaptation import tiers
from core.adaptation.lora import Lora, delta
from core.errors import InvalidInput


def adapter(rng, dim, rank, alpha=1.0):
    return Lora(
        rng.standard_normal((rank, dim)).astype(np.float32), rng.standard_normal((dim, rank)).astype(np.float32), alpha
    )


def product(lora):
    return lora.scale * lora.B @ lora.A


def test_folding_is_exact_where_the_slow_inputs_cover_the_fast_ones():
    rng = np.random.default_rng(0)
    slow = adapter(rng, 12, 5)
    fast = Lora((rng.standard_normal((2, 5)) @ slow.A).astype(np.float32), adapter(rng, 12, 2).B, 1.0)
    folded, lost = tiers.fold(fast, slow)
    q = rng.standard_normal((9, 12)).astype(np.float32)
    assert np.allclose(delta(folded, q), delta(slow, q) + delta(fast, q), atol=1e-4)
    assert lost == pytest.approx(0, abs=1e-3)
    assert folded.A is slow.A


def test_folding_is_the_least_squares_best_and_reports_what_is_lost():
    rng = np.random.default_rng(1)
    slow, fast = adapter(rng, 12, 4), adapter(rng, 12, 2)
    folded, lost = tiers.fold(fast, slow)
    wanted = product(slow) + product(fast)
    best = np.linalg.norm(product(folded) - wanted)
    for _ in range(20):
        other = Lora(slow.A, folded.B + 0.01 * rng.standard_normal(folded.B.shape).astype(np.float32), 1.0)
        assert np.linalg.norm(product(other) - wanted) > best
    assert lost == pytest.approx(best / np.linalg.norm(product(fast)), rel=1e-3)


def test_truncation_reaches_the_eckart_young_bound():
    rng = np.random.default_rng(2)
    parts = (adapter(rng, 15, 3), adapter(rng, 15, 4, alpha=2.0))
    whole = sum(product(part) for part in parts)
    kept = tiers.truncate(parts, 4, alpha=1.0)
    singular = np.linalg.svd(whole, compute_uv=False)
    assert np.linalg.norm(product(kept) - whole) == pytest.approx(np.sqrt((singular[4:] ** 2).sum()), rel=1e-4)


def test_truncation_to_more_than_the_rank_is_exact():
    rng = np.random.default_rng(3)
    part = adapter(rng, 10, 2)
    assert np.allclose(product(tiers.truncate((part,), 4, alpha=1.0)), product(part), atol=1e-5)


def test_projection_onto_a_rotated_generation_keeps_the_adapter():
    rng = np.random.default_rng(4)
    old = adapter(rng, 16, 4)
    rotation = rng.standard_normal((4, 4)).astype(np.float32)
    A_new = rotation @ old.A
    B_new = tiers.project(old.B, tiers.transfer(old.A, A_new))
    assert np.allclose(B_new @ A_new, old.B @ old.A, atol=1e-3)


def test_projection_of_the_wrong_rank_is_refused():
    with pytest.raises(InvalidInput):
        tiers.project(np.ones((8, 3), np.float32), np.eye(4, dtype=np.float32))


@pytest.mark.parametrize(
    ("tier", "rank"), [("fast", 0), ("fast", 3), ("slow", 3), ("slow", 17), ("base", 0), ("fast", 1.0)]
)
def test_ranks_outside_the_tier_are_refused(tier, rank):
    with pytest.raises(InvalidInput, match=tier):
        tiers.require_rank(tier, rank)
