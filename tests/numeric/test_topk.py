import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from core.numeric.topk import keep_largest, largest_per_row


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 30), st.integers(1, 12))
def test_dense_rows_keep_what_a_full_sort_puts_first(seed: int, m: int, n: int, k: int) -> None:
    scores = np.random.default_rng(seed).permuted(np.arange(m * n, dtype=np.float32)).reshape(m, n)
    index, value = largest_per_row(scores, k)
    expected = np.argsort(-scores, axis=1)[:, :k]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(value, np.take_along_axis(scores, expected, axis=1))


def test_ties_are_ordered_by_column() -> None:
    index, _ = largest_per_row(np.array([[1.0, 3.0, 1.0, 3.0]]), 4)
    assert index.tolist() == [[1, 3, 0, 2]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_sparse_rows_keep_their_largest_stored_entries_in_order(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((6, 20), density=0.4, rng=rng, format="csr")
    kept = keep_largest(matrix, k)
    for row in range(6):
        expected = np.sort(matrix[[row]].data)[::-1][:k]
        np.testing.assert_array_equal(kept.data[kept.indptr[row] : kept.indptr[row + 1]], expected)
    dense = matrix.toarray()
    rows = np.repeat(np.arange(6), np.diff(kept.indptr))
    np.testing.assert_array_equal(kept.data, dense[rows, kept.indices])


def test_sparse_rows_without_entries_stay_empty() -> None:
    assert keep_largest(sparse.csr_array((3, 4)), 2).nnz == 0
