"""New titles in the content lists, where the content encoder says that their audience is."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from small_world import LOVE, NOW, SPACE

from core.catalog import Title, content_key
from core.embedding.content_encoder_pair import PlacedTitles
from core.snapshot.build import build
from core.snapshot.content import Audience, content_neighbours, newness
from core.snapshot.inputs import Interactions
from core.snapshot.manifest import read_manifest
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Snapshot

NEW = Title("unheard-of-2026", "Unheard Of", year=2026)  # no genre, no keyword


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_a_title_needs_the_encoder_less_the_more_it_is_liked() -> None:
    p = SnapshotParameters(audience_half_likes=2.0)
    np.testing.assert_allclose(newness(np.array([0, 2, 6]), p), [1, 0.5, 0.25])


def test_an_audience_adds_the_excess_over_the_kth_best_fit_to_shared_features() -> None:
    features = sparse.csr_array(np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 0]], np.float32))
    fans = unit([[1, 0]] * 4)
    vectors = unit([[0, 1], [0, 1], [0.6, 0.8], [1, 0]])  # fit with any fan: 0, 0, .6, 1
    audience = Audience(vectors, fans, np.array([1, 1, 0.5, 1], np.float32), strength=2.0)
    lists = content_neighbours(features, 2, audience)
    # the second best fit is .6, so only title 3 exceeds it, by .4; title 1 shares half a feature
    assert lists.index[0].tolist() == [3, 1]
    np.testing.assert_allclose(lists.weight[0], [0.8, 0.5], rtol=1e-3)
    plain = content_neighbours(features, 2)
    assert plain.index[0].tolist() == [1, 0]


@pytest.fixture
def placed(titles: list[Title]) -> PlacedTitles:
    """Love films one way, all else another; the new title with the love films."""
    known = [*titles, NEW]
    love = [title.content_id in (*LOVE, NEW.content_id) for title in known]
    vectors = unit([[1, 0.1 * i] if one else [-1, 0.1 * i] for i, one in enumerate(love)])
    keys = np.array([content_key(title.content_id) for title in known], np.uint64)
    return PlacedTitles("audience-1", keys, vectors, vectors)


def test_a_new_title_is_listed_with_those_its_audience_likes(
    titles: list[Title], interactions: Interactions, placed: PlacedTitles, tmp_path: Path
) -> None:
    p = SnapshotParameters(neighbours=8, audience_strength=1.0)
    without, encoded = (
        Snapshot.open(build([*titles, NEW], interactions, NOW, tmp_path / name, p, placed=given))
        for name, given in (("without", None), ("encoded", placed))
    )
    new = encoded.row(NEW.content_id)

    def listing(snapshot: Snapshot, places: int) -> set[str]:
        """Whose first neighbours the new title is among."""
        lists = snapshot.content
        found = ((lists.index == new) & (lists.weight > 0))[:, :places].any(axis=1)
        return {snapshot.content_id(row) for row in np.flatnonzero(found)}

    assert not listing(without, 3)  # sharing a year is the least that a title can share
    assert listing(encoded, 3) & set(LOVE)
    assert not listing(encoded, 3) & set(SPACE)
    np.testing.assert_array_equal(encoded.graph.index, without.graph.index)  # relationships stand on facts alone


def test_a_snapshot_carries_the_encoded_titles_and_names_the_encoder(
    titles: list[Title], interactions: Interactions, placed: PlacedTitles, tmp_path: Path
) -> None:
    folder = build([*titles, NEW], interactions, NOW, tmp_path, placed=placed)
    snapshot = Snapshot.open(folder)
    assert snapshot.encoded is not None
    assert snapshot.encoded.dtype == np.float16
    np.testing.assert_allclose(snapshot.encoded[snapshot.row("amelie-2001")], placed.vectors[8], atol=1e-3)
    assert read_manifest(folder).parameters["content_encoder"] == "audience-1"
    assert Snapshot.open(build(titles, interactions, NOW, tmp_path)).encoded is None
