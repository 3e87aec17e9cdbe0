from pathlib import Path

import numpy as np
import pytest

from core.catalog import Title, content_key
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Snapshot
from core.snapshot.text import TextVectors

NOW = 1_790_000_000.0
TITLES = [Title(f"t{number}", name) for number, name in enumerate(("Ada", "Bolt", "Cello", "Dune", "Ember"))]
KEYS = np.array([content_key(title.content_id) for title in TITLES], np.uint64)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def text() -> TextVectors:
    """Vectors of all titles but the last, and of one that is not in the catalogue."""
    keys = np.append(KEYS[:4], np.uint64(content_key("elsewhere")))
    return TextVectors("model+text-1", "abc", keys, unit(np.random.default_rng(2).standard_normal((5, 16))))


def opened(folder: Path, text: TextVectors | None, **parameters: int) -> Snapshot:
    made = build(TITLES, collect_interactions([]), NOW, folder, SnapshotParameters(**parameters), text=text)
    return Snapshot.open(made)


def test_every_title_gets_its_own_vector_and_an_unknown_one_zeros(text: TextVectors) -> None:
    keys = np.sort(KEYS)
    laid_out = text.over(keys)
    for key, row in zip(keys, laid_out, strict=True):
        place = np.flatnonzero(text.keys == key)
        expected = text.vectors[place[0]] if len(place) else np.zeros(16)
        np.testing.assert_array_equal(row, expected)


def test_a_snapshot_is_searched_with_the_vectors_it_was_built_with(tmp_path: Path, text: TextVectors) -> None:
    snapshot = opened(tmp_path, text)
    assert snapshot.text is not None
    query = text.vectors[2].astype(np.float32)
    cosine = snapshot.text.cosine(query)
    assert snapshot.content_id(int(cosine.argmax())) == "t2"
    assert cosine[snapshot.row("t4")] == 0.0
    np.testing.assert_allclose(cosine, text.over(snapshot.keys) @ query, atol=0.01)


def test_a_snapshot_without_vectors_says_so(tmp_path: Path) -> None:
    snapshot = opened(tmp_path, None)
    assert (snapshot.text, snapshot.text_version) == (None, None)
    assert snapshot.lexicon is not None
    assert snapshot.content_id(int(snapshot.lexicon.scores("dune", 5).argmax())) == "t3"


def test_too_many_vectors_stay_in_the_database(tmp_path: Path, text: TextVectors) -> None:
    snapshot = opened(tmp_path, text, text_max_titles=4)
    assert (snapshot.text, snapshot.text_version) == (None, "model+text-1")
