"""GraphSAGE: its gradient, what it learns, and that it knows what to do with a title it has never seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from core.catalog import RelationshipType, Title
from core.embedding.graph_sage import (
    SageSettings,
    SageWeights,
    _gradients,
    _unit,
    _Walkers,
    _with_neighbours,
    train_sage,
)
from core.embedding.graph_sage_model import Facts, GraphSage, write_graph_sage
from core.errors import CorruptData
from core.numeric.activations import sigmoid
from core.numeric.sparse import stochastic_rows
from core.snapshot.graph import WALK_WEIGHTS, Embedded, graph_neighbours
from core.snapshot.snapshot import RELATIONSHIP_TYPES, RELATIONSHIPS

SMALL = SageSettings(features=8, hidden=8, dims=8, steps=120, pairs=200, negatives=40, weight=1.0, rate=0.02)


def two_worlds(n: int = 60) -> tuple[np.ndarray, sparse.csr_array, sparse.csr_array]:
    """Features that say nothing of the world but the parity within it, edges by facts along two rings, and co-watching
    within each ring."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n, 8)).astype(np.float32)
    features[:, 0] += np.where(np.arange(n) < n // 2, 1.5, -1.5)
    half, rows = n // 2, np.arange(n)
    following = np.where(rows < half, (rows + 1) % half, half + (rows + 1 - half) % half)
    ring = sparse.csr_array((np.ones(n, np.float32), (rows, following)), shape=(n, n))
    watched = [(i, j) for i in rows for j in rng.choice(half, 5) + (i // half) * half if i != j]
    source, target = np.array(watched).T
    co = sparse.csr_array((np.ones(len(watched), np.float32), (source, target)), shape=(n, n))
    return features, sparse.csr_array(ring + ring.T), co


def loss(
    weights: SageWeights, below: np.ndarray, mean: sparse.csr_array, pairs: tuple, others: np.ndarray, s: SageSettings
) -> float:
    """The paper's, written down anew."""
    hidden = np.maximum(below @ weights.first, 0)
    z = np.concatenate([hidden, mean @ hidden], axis=1) @ weights.second
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    u, v, n = z[pairs[0]], z[pairs[1]], z[others]
    together = -np.log(sigmoid(s.sharpness * (u * v).sum(axis=1)))
    apart = -np.log(sigmoid(-s.sharpness * (u @ n.T))).mean(axis=1) * s.weight
    return float((together + apart).mean())


def test_the_gradient_is_that_of_the_papers_loss() -> None:
    rng = np.random.default_rng(1)
    features, edges, _ = two_worlds(12)
    mean = stochastic_rows(sparse.csr_array(edges, dtype=np.float64))
    below = _with_neighbours(features.astype(np.float64), mean)
    weights = SageWeights(rng.standard_normal((16, 5)), rng.standard_normal((10, 4)))
    pairs, others = (rng.integers(12, size=7), rng.integers(12, size=7)), rng.integers(12, size=6)
    settings = replace(SMALL, sharpness=3.0)
    found = _gradients(weights, below, mean, pairs, others, settings)
    for array, gradient in zip((weights.first, weights.second), found, strict=True):
        for place in [tuple(rng.integers(size) for size in array.shape) for _ in range(6)]:
            before, step = array[place], 1e-5
            array[place] = before + step
            up = loss(weights, below, mean, pairs, others, settings)
            array[place] = before - step
            down = loss(weights, below, mean, pairs, others, settings)
            array[place] = before
            assert gradient[place] == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-6)


def test_titles_that_walks_join_come_closer_than_others() -> None:
    """Of two pairs, one within a world and one across, the first is the closer one."""
    features, edges, co = two_worlds()
    world = np.arange(60) < 30
    within = (world[:, None] == world) & ~np.eye(60, dtype=bool)
    right = {}
    for steps in (0, 120):
        z = train_sage(features, edges, co, replace(SMALL, steps=steps)).embed(features, edges)
        assert np.linalg.norm(z, axis=1) == pytest.approx(1, abs=1e-5)
        cosine = z @ z.T
        right[steps] = (cosine[within][:, None] > cosine[world[:, None] != world]).mean()
    assert right[120] > 0.9 > 0.75 > right[0]


def test_a_title_that_came_later_is_embedded_by_its_features_and_its_edges() -> None:
    """The weights were trained without it; its neighbours by facts, not its features, tell its world."""
    features, edges, co = two_worlds()
    weights = train_sage(features, edges, co, SMALL)
    later = np.concatenate([features, np.zeros((1, 8), np.float32)])
    links = sparse.csr_array((np.ones(4), ([60] * 4, [31, 35, 40, 44])), shape=(61, 61))
    known = sparse.csr_array((edges.data, edges.indices, np.append(edges.indptr, edges.indptr[-1])), shape=(61, 60))
    known.resize((61, 61))
    z = weights.embed(later, known + links)
    assert (z[60] @ z[30:60].T).mean() > (z[60] @ z[:30].T).mean() + 0.5


def test_training_is_repeatable() -> None:
    features, edges, co = two_worlds()
    first, again = (train_sage(features, edges, co, replace(SMALL, steps=5)) for _ in range(2))
    assert first.first.tobytes() == again.first.tobytes()
    assert first.second.tobytes() == again.second.tobytes()


def test_walkers_follow_the_edges_by_their_weight_and_stay_where_none_leads_on() -> None:
    walk = sparse.csr_array(np.array([[0, 0.75, 0.25, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))
    walkers = _Walkers(walk, np.random.default_rng(0))
    start, end = walkers.pairs(4000, 1)
    assert set(start.tolist()) == {0, 2}
    assert np.mean(end[start == 0] == 1) == pytest.approx(0.75, abs=0.03)
    assert set(end[start == 2].tolist()) == {1}
    start, end = walkers.pairs(500, 5)
    assert set(end.tolist()) <= {1, 2}
    assert set(walkers.negatives(500).tolist()) == {1, 2}


def test_a_new_title_enters_the_graphs_lists_where_it_is_close_and_a_known_one_does_not() -> None:
    walk = sparse.csr_array(np.array([[0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    vectors = _unit(np.array([[1, 0.1], [1, -0.1], [1, 0], [-1, 0.2]], np.float32))[0]
    newness = np.array([0, 0, 1, 1], np.float32)
    without = graph_neighbours(walk, 3, 0.3)
    lists = graph_neighbours(walk, 3, 0.3, Embedded(vectors, newness, 0.5))
    assert without.index[0].tolist() == [1, 0, 0]
    assert lists.index[0].tolist() == [1, 2, 0]
    assert 0 < lists.weight[0, 1] <= 0.5 * lists.weight[0, 0] + 1e-3
    known = graph_neighbours(walk, 3, 0.3, Embedded(vectors, np.zeros(4, np.float32), 0.5))
    assert known.index[0].tolist() == [1, 0, 0]


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, list[Title], np.ndarray]:
    titles = [
        Title(f"t{i}", f"t{i}", genres=("drama" if i < 6 else "comedy",), keywords=(f"k{i % 3}",)) for i in range(12)
    ]
    kind = RELATIONSHIP_TYPES.index(RelationshipType.SAME_GENRE)
    edges = np.array([(i, (i + 1) % 6 + i // 6 * 6, kind, 0.5) for i in range(12)], RELATIONSHIPS)
    facts = Facts.of(titles, 6, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    width = facts.projection.shape[1]
    weights = SageWeights(*(rng.standard_normal(shape).astype(np.float32) for shape in ((2 * width, 5), (10, 4))))
    write_graph_sage(tmp_path / "model", weights, facts)
    return tmp_path / "model", titles, edges


def test_a_model_comes_back_as_it_was_written(model: tuple[Path, list[Title], np.ndarray]) -> None:
    folder, titles, edges = model
    first, again = GraphSage.open(folder), GraphSage.open(folder)
    z = first.embed(titles, edges, WALK_WEIGHTS)
    assert z.shape == (12, 4)
    assert z.tobytes() == again.embed(titles, edges, WALK_WEIGHTS).tobytes()
    assert first.version.startswith("graph-")
    later = Title("later", "later", genres=("drama",), keywords=("k1", "never seen"))
    assert first.facts.features([later, Title("bare", "bare")])[0].any()


def test_what_somebody_watched_does_not_change_where_a_title_is(model: tuple[Path, list[Title], np.ndarray]) -> None:
    folder, titles, edges = model
    watched = np.array([(0, 7, RELATIONSHIP_TYPES.index(RelationshipType.CO_WATCHED), 1.0)], RELATIONSHIPS)
    sage = GraphSage.open(folder)
    with_likes = sage.embed(titles, np.concatenate([edges, watched]), WALK_WEIGHTS)
    assert with_likes.tolist() == sage.embed(titles, edges, WALK_WEIGHTS).tolist()


def test_a_damaged_model_is_refused(model: tuple[Path, list[Title], np.ndarray]) -> None:
    folder, _, _ = model
    data = bytearray((folder / "weights.bin").read_bytes())
    data[-1] ^= 1
    (folder / "weights.bin").write_bytes(bytes(data))
    with pytest.raises(CorruptData):
        GraphSage.open(folder)
