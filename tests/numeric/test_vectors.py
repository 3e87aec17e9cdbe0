"""Validation names the argument; lengths, cosines and rankings hold at the edges of float32."""

import numpy as np
import pytest

from core.errors import InvalidInput
from core.numeric.vectors import cosine, require_finite, require_number, require_vector, top_k, unit, unit_rows


@pytest.mark.parametrize("bad", [[1.0, float("nan")], [float("inf"), 0.0], [1e300, 0.0], "ab", [[1.0, 2.0]], [1.0]])
def test_bad_vectors_are_refused_and_the_message_names_the_argument(bad):
    with pytest.raises(InvalidInput, match="embedding"):
        require_vector(bad, 2, "embedding")


def test_large_finite_values_are_accepted():
    assert require_vector(np.array([3e38, 1.0], np.float32), 2, "x")[0] == np.float32(3e38)


def test_lists_and_doubles_become_float32():
    assert require_finite([[1, 2], [3, 4]], "x", (None, 2)).dtype == np.float32


@pytest.mark.parametrize("bad", ["high", None, float("nan"), float("-inf"), [1, 2]])
def test_numbers_are_checked(bad):
    with pytest.raises(InvalidInput, match="quality"):
        require_number(bad, "quality")


def test_unit_vectors_have_length_one_from_tiny_to_huge():
    for scale in (1e-25, 1e-3, 1.0, 1e25):
        x = np.array([3.0, 4.0], np.float32) * np.float32(scale)
        assert np.allclose(unit(x), [0.6, 0.8], atol=1e-6)
        assert np.allclose(unit_rows(x[None]), [[0.6, 0.8]], atol=1e-6)
    assert not unit(np.zeros(3, np.float32)).any()
    assert not unit_rows(np.zeros((2, 3), np.float32)).any()


def test_cosine_takes_vectors_and_matrices():
    rows = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
    assert cosine(rows[0], rows[1]) == pytest.approx(0)
    assert np.allclose(cosine(rows, rows[0]), [1, 0, 2**-0.5])
    assert np.allclose(cosine(rows, rows[:2]), [[1, 0], [0, 1], [2**-0.5, 2**-0.5]])


def test_cosine_of_different_dimensions_raises():
    with pytest.raises(InvalidInput):
        cosine(np.ones(3, np.float32), np.ones(4, np.float32))


def test_top_k_equals_a_stable_sort_with_ties():
    scores = np.array([1, 3, 2, 3, 3, 0], np.float32)
    for k in range(8):
        assert top_k(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()
