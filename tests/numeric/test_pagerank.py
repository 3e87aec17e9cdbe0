import numpy as np
import pytest
from scipy import sparse

from core.numeric.pagerank import personalised_pagerank


def random_walk(rng: np.random.Generator, n: int) -> sparse.csr_array:
    """Rows of three to five random steps; the last node is a dead end."""
    dense = np.zeros((n, n))
    for row in range(n - 1):
        targets = rng.choice(n, rng.integers(3, 6), replace=False)
        dense[row, targets] = rng.random(len(targets)) + 0.1
    totals = dense.sum(axis=1, keepdims=True)
    return sparse.csr_array(np.divide(dense, totals, out=np.zeros_like(dense), where=totals > 0))


def direct_solution(walk: sparse.csr_array, restart: np.ndarray, c: float) -> np.ndarray:
    """p = c e + (1 - c) p W', where a dead end's row of W' is the restart vector e of that very walk."""
    solutions = []
    for e in restart:
        full = walk.toarray()
        full[np.diff(walk.indptr) == 0] = e
        solutions.append(c * e @ np.linalg.inv(np.eye(len(e)) - (1 - c) * full))
    return np.array(solutions)


@pytest.mark.parametrize("c", [0.1, 0.3, 0.9])
def test_power_iteration_matches_the_direct_solve(c: float) -> None:
    rng = np.random.default_rng(1)
    walk = random_walk(rng, 30)
    restart = np.vstack([np.eye(30)[[0, 7, 29]], rng.dirichlet(np.ones(30))])
    found = personalised_pagerank(walk, restart, c, tolerance=1e-12, max_iterations=1000)
    np.testing.assert_allclose(found, direct_solution(walk, restart, c), atol=1e-10)


def test_every_distribution_sums_to_one_also_with_dead_ends_and_few_iterations() -> None:
    walk = random_walk(np.random.default_rng(2), 50)
    found = personalised_pagerank(walk, np.eye(50, dtype=np.float32), 0.15, max_iterations=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert found.min() >= 0


def test_two_nodes_that_point_at_each_other_have_the_known_answer() -> None:
    walk = sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    found = personalised_pagerank(walk, np.array([[1.0, 0.0]]), 0.5, tolerance=1e-12)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3]], atol=1e-9)  # p0 = c / (1 - (1 - c)^2)


def test_a_walk_that_always_restarts_stays_at_its_seed() -> None:
    walk = random_walk(np.random.default_rng(3), 10)
    np.testing.assert_allclose(personalised_pagerank(walk, np.eye(10), 1.0), np.eye(10))


def test_blocks_of_seeds_do_not_influence_each_other() -> None:
    walk = random_walk(np.random.default_rng(4), 20)
    together = personalised_pagerank(walk, np.eye(20), 0.2, tolerance=1e-13)
    alone = personalised_pagerank(walk, np.eye(20)[5:6], 0.2, tolerance=1e-13)
    np.testing.assert_allclose(together[5:6], alone, atol=1e-11)
