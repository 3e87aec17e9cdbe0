import numpy as np
import pytest
from scipy import sparse

from core.numeric.sparse import (
    inverse_document_frequency,
    scale_columns,
    scale_rows,
    stochastic_rows,
    truncated_svd,
    unit_rows,
)


@pytest.fixture
def matrix() -> sparse.csr_array:
    dense = sparse.random_array((40, 60), density=0.2, rng=np.random.default_rng(5), format="csr")
    dense.data[:] = np.abs(dense.data)
    return sparse.csr_array(dense)


def test_scaling_is_a_product_with_a_diagonal(matrix: sparse.csr_array) -> None:
    rows, columns = np.arange(40.0), np.arange(60.0)
    np.testing.assert_allclose(scale_rows(matrix, rows).toarray(), np.diag(rows) @ matrix.toarray())
    np.testing.assert_allclose(scale_columns(matrix, columns).toarray(), matrix.toarray() @ np.diag(columns))


def test_normalised_rows_have_length_or_sum_one_and_empty_rows_stay_empty() -> None:
    matrix = sparse.csr_array(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(unit_rows(matrix).toarray(), [[0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(stochastic_rows(matrix).toarray(), [[3 / 7, 4 / 7], [0.0, 0.0]])


def test_a_term_of_every_document_weighs_nothing_and_a_rare_one_most() -> None:
    counts = sparse.csr_array(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1]]))
    np.testing.assert_allclose(inverse_document_frequency(counts), [0.0, np.log(4 / 3), np.log(2)])


def test_singular_values_and_left_vectors_match_lapack(matrix: sparse.csr_array) -> None:
    left, singular = truncated_svd(matrix, 10, np.random.default_rng(0))
    expected_left, expected, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
    np.testing.assert_allclose(singular, expected[:10], rtol=1e-3)
    np.testing.assert_allclose(np.abs(np.sum(left * expected_left[:, :10], axis=0)), 1.0, atol=1e-2)
    assert left[np.abs(left).argmax(axis=0), np.arange(10)].min() > 0


def test_a_matrix_of_low_rank_is_reproduced_by_that_many_vectors() -> None:
    rng = np.random.default_rng(7)
    factor = rng.standard_normal((50, 3))
    matrix = sparse.csr_array(factor @ rng.standard_normal((3, 80)))
    left, singular = truncated_svd(matrix, 3, np.random.default_rng(0))
    rebuilt = left @ (left.T @ matrix.toarray())
    np.testing.assert_allclose(rebuilt, matrix.toarray(), atol=1e-3)
    np.testing.assert_allclose(left.T @ left, np.eye(3), atol=1e-4)
    assert np.all(np.diff(singular) <= 0)


def test_rank_is_cut_to_the_size_of_the_matrix_and_repeats_exactly(matrix: sparse.csr_array) -> None:
    small = sparse.csr_array(matrix[:5])
    first, _ = truncated_svd(small, 256, np.random.default_rng(0))
    second, _ = truncated_svd(small, 256, np.random.default_rng(0))
    assert first.shape == (5, 5)
    np.testing.assert_array_equal(first, second)
