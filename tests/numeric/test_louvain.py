import numpy as np
import pytest
from scipy import sparse

from core.numeric.louvain import louvain, modularity


def graph(n: int, *pairs: tuple[int, int]) -> sparse.csr_array:
    source, target = np.array(pairs).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(pairs)), (source, target)), shape=(n, n))


def clique(*nodes: int) -> list[tuple[int, int]]:
    return [(a, b) for a in nodes for b in nodes if a < b]


def ring_of_cliques(cliques: int, size: int) -> sparse.csr_array:
    groups = [range(i * size, (i + 1) * size) for i in range(cliques)]
    bridges = [(i * size, (i + 1) % cliques * size + 1) for i in range(cliques)]
    return graph(cliques * size, *(pair for group in groups for pair in clique(*group)), *bridges)


def test_two_triangles_on_a_bridge_are_two_communities() -> None:
    """Known by hand: 7 edges, six of them inside, degrees of 7 on each side: Q = 6/7 - 2 (7/14)^2 = 5/14."""
    found = louvain(graph(6, *clique(0, 1, 2), *clique(3, 4, 5), (2, 3)), np.random.default_rng(0))
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.modularity == pytest.approx(5 / 14)


def test_a_ring_of_cliques_falls_into_its_cliques() -> None:
    found = louvain(ring_of_cliques(8, 5), np.random.default_rng(3))
    assert [len(set(found.labels[i * 5 : i * 5 + 5])) for i in range(8)] == [1] * 8
    assert found.labels.max() == 7


def test_no_single_move_gains_modularity() -> None:
    rng = np.random.default_rng(5)
    dense = rng.random((30, 30)) * (rng.random((30, 30)) < 0.15)
    found, whole = louvain(sparse.csr_array(dense), np.random.default_rng(1)), sparse.csr_array(dense + dense.T)
    for node in range(30):
        for label in range(int(found.labels.max()) + 1):
            moved = found.labels.copy()
            moved[node] = label
            assert modularity(whole, moved) <= found.modularity + 1e-9


def test_the_same_seed_gives_the_same_labels_and_the_largest_community_comes_first() -> None:
    rng = np.random.default_rng(2)
    edges = sparse.random_array((200, 200), density=0.03, rng=rng, format="csr")
    first, again = (louvain(edges, np.random.default_rng(7)) for _ in range(2))
    assert first.labels.tolist() == again.labels.tolist()
    sizes = np.bincount(first.labels)
    assert sizes.tolist() == sorted(sizes, reverse=True)


def test_a_higher_resolution_cuts_finer() -> None:
    edges = ring_of_cliques(12, 3)
    counts = [louvain(edges, np.random.default_rng(0), r).labels.max() + 1 for r in (0.2, 1.0, 8.0)]
    assert counts[0] < counts[1] < counts[2]


def test_nodes_without_edges_stay_alone() -> None:
    found = louvain(graph(5, (0, 1)), np.random.default_rng(0))
    assert found.labels.tolist() == [0, 0, 1, 2, 3]
    nothing = louvain(graph(3), np.random.default_rng(0))
    assert nothing.labels.tolist() == [0, 1, 2]
    assert nothing.modularity == 0
