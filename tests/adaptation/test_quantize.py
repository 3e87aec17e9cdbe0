"""Quantization: measured loss, best scales, tiers by use."""

import numpy as np
import pytest

from core.adaptation.quantize import KINDS, compress, kind_for_use, loss, quantize
from core.errors import InvalidInput


@pytest.fixture
def matrix():
    return (np.random.default_rng(0).standard_normal((100, 4)) * [1, 10, 0.01, 5]).astype(np.float32)


def test_fewer_bits_cost_fewer_bytes_and_lose_more(matrix):
    packed = [quantize(matrix, kind) for kind in KINDS]
    sizes, losses = [p.nbytes for p in packed], [loss(matrix, p) for p in packed]
    assert sizes == sorted(sizes, reverse=True)
    assert losses == sorted(losses)
    assert losses[0] == 0
    assert losses[2] < 0.01
    assert 0.3 < losses[3] < 0.7


def test_int8_errors_stay_within_half_a_step_of_each_column(matrix):
    packed = quantize(matrix, "int8")
    assert (np.abs(packed.dequantize() - matrix) <= 0.5001 * packed.scales).all()


def test_binary_scales_are_the_least_squares_best(matrix):
    packed = quantize(matrix, "binary")
    signs = np.where(matrix >= 0, 1.0, -1.0)
    best = (signs * matrix).sum(axis=0) / len(matrix)
    assert np.allclose(packed.scales, best, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_columns_and_odd_sizes_survive(kind):
    matrix = np.zeros((13, 3), np.float32)
    matrix[:, 1] = np.arange(13) - 6.5
    back = quantize(matrix, kind).dequantize()
    assert back.shape == (13, 3)
    assert not back[:, [0, 2]].any()


def test_the_kind_follows_use_and_never_exceeds_the_loss_that_is_allowed(matrix):
    assert [kind_for_use(uses) for uses in (100, 24, 2, 0.5, 0.01)] == ["f32", "f32", "f16", "int8", "binary"]
    for uses in (100, 2, 0.5, 0.01):
        packed, lost = compress(matrix, uses, max_loss=0.05)
        assert lost == pytest.approx(loss(matrix, packed))
        assert lost <= 0.05
    assert compress(matrix, 0.01, max_loss=0.05)[0].kind == "int8"  # binary would lose too much
    assert compress(matrix, 0.01, max_loss=0.9)[0].kind == "binary"
    assert compress(matrix, 0.01, max_loss=0.0)[0].kind == "f32"


def test_values_beyond_the_range_and_unknown_kinds_are_refused(matrix):
    with pytest.raises(InvalidInput):
        quantize(matrix * 1e6, "f16")
    with pytest.raises(InvalidInput):
        quantize(matrix, "int4")
