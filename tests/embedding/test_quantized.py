import numpy as np
import pytest

from core.embedding.quantized import KINDS, nearest, quantize_rows
from core.errors import InvalidInput

DIMS = 384


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors(rng: np.random.Generator) -> np.ndarray:
    """Three thousand rows around forty centres, as texts lie."""
    centres = rng.standard_normal((40, DIMS))
    return unit(centres[rng.integers(0, 40, 3000)] + rng.standard_normal((3000, DIMS)))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize(("kind", "error", "size"), [("f32", 1e-6, 1536), ("f16", 1e-3, 768), ("int8", 0.01, 388)])
def test_cosines_keep_their_value(vectors: np.ndarray, kind: str, error: float, size: int) -> None:
    rows, query = quantize_rows(vectors, kind), vectors[7]
    np.testing.assert_allclose(rows.cosine(query), vectors @ query, atol=error)
    assert rows.bytes_per_row == size


def test_signs_estimate_the_angle(vectors: np.ndarray) -> None:
    rows = quantize_rows(vectors, "binary")
    assert rows.bytes_per_row == 48
    assert rows.cosine(vectors[7])[7] == pytest.approx(1.0)
    np.testing.assert_allclose(rows.cosine(-vectors[7])[7], -1.0)
    assert np.abs(rows.cosine(vectors[7]) - vectors @ vectors[7]).mean() < 0.08  # sqrt(1 / 384) of pi


@pytest.mark.parametrize("dims", [5, 8, 100, 384])
def test_any_number_of_dimensions_will_do(rng: np.random.Generator, dims: int) -> None:
    vectors = unit(rng.standard_normal((50, dims)))
    for kind in KINDS:
        assert nearest(quantize_rows(vectors, kind), vectors[3], 1).tolist() == [3], kind


@pytest.mark.parametrize(("kind", "recall"), [("f32", 1.0), ("f16", 0.99), ("int8", 0.95)])
def test_the_nearest_stay_the_nearest(vectors: np.ndarray, rng: np.random.Generator, kind: str, recall: float) -> None:
    assert recall_of(vectors, rng, kind) >= recall


def test_rescoring_makes_signs_good_enough(vectors: np.ndarray, rng: np.random.Generator) -> None:
    queries = np.random.default_rng(5)
    alone = recall_of(vectors, queries, "binary")
    rescored = recall_of(vectors, np.random.default_rng(5), "binary", rescore=True)
    assert rescored > alone + 0.2
    assert rescored > 0.8


def recall_of(vectors: np.ndarray, rng: np.random.Generator, kind: str, rescore: bool = False) -> float:
    rows = quantize_rows(vectors, kind)
    exact = quantize_rows(vectors, "int8") if rescore else None
    kept = []
    for query in unit(vectors[rng.integers(0, len(vectors), 30)] + rng.standard_normal((30, DIMS)) / 30):
        best = set(np.argsort(-(vectors @ query))[:10].tolist())
        kept.append(len(best & set(nearest(rows, query, 10, exact).tolist())) / 10)
    return float(np.mean(kept))


def test_rows_without_a_vector_are_like_nothing() -> None:
    vectors = np.zeros((2, DIMS), np.float32)
    vectors[1, 0] = 1.0
    for kind in ("f32", "f16", "int8"):
        assert quantize_rows(vectors, kind).cosine(vectors[1]).tolist() == pytest.approx([0.0, 1.0])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidInput):
        quantize_rows(np.zeros((1, 8), np.float32), "int4")
