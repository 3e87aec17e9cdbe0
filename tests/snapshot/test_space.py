from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_world import LOVE, NOW, SPACE

from core.adaptation.base import BaseSettings
from core.adaptation.generation import Generation, from_bytes, to_bytes
from core.adaptation.lora import Lora
from core.adaptation.query import query_vector
from core.adaptation.renewal import GenerationSettings, renew
from core.catalog import Title, content_key
from core.errors import CorruptData
from core.snapshot.build import build
from core.snapshot.inputs import Interactions
from core.snapshot.manifest import read_manifest, verify
from core.snapshot.snapshot import Snapshot
from core.snapshot.space import FILE, lay_out, read_space, write_space

K = 20


@pytest.fixture(scope="module")
def generation(interactions: Interactions) -> Generation:
    made = renew(interactions, [], GenerationSettings(dim=16, base=BaseSettings(passes=2)))
    assert made is not None
    return replace(made[0], name="first")


@pytest.fixture(scope="module")
def snapshot_folder(
    titles: list[Title], interactions: Interactions, generation: Generation, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return build(titles, interactions, NOW, tmp_path_factory.mktemp("space"), generation=generation)


def exact_generation(rng: np.random.Generator, n: int = 60, d: int = 4) -> tuple[Generation, np.ndarray]:
    """A generation whose factors give all item-item weights exactly, and those weights: positive and symmetric."""
    factors = rng.random((n, d)).astype(np.float16).astype(np.float32)
    axes = np.eye(d, dtype=np.float32)
    keys = np.arange(1, n + 1, dtype=np.uint64) * 10
    half = factors.astype(np.float16)
    made = Generation("g", "test", keys, half, half, axes[:2], axes[:1], Lora(axes[:2], axes[:, :2], 2.0))
    return made, factors @ factors.T


def lists_of(weights: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.argsort(-weights, axis=1, kind="stable")[:, :k].astype(np.int32)
    return index, np.take_along_axis(weights, index, axis=1).astype(np.float16)


def without(generation: Generation, rows: list[int]) -> Generation:
    kept = np.delete(np.arange(len(generation.keys)), rows)
    return replace(
        generation, keys=generation.keys[kept], sources=generation.sources[kept], targets=generation.targets[kept]
    )


def test_a_snapshot_built_without_a_generation_has_no_space(folder: Path) -> None:
    assert Snapshot.open(folder).space is None
    assert read_manifest(folder).parameters["generation"] is None


def test_a_snapshot_carries_the_generation_over_its_own_rows(snapshot_folder: Path, generation: Generation) -> None:
    verify(snapshot_folder)
    assert read_manifest(snapshot_folder).parameters["generation"] == "first"
    snapshot = Snapshot.open(snapshot_folder)
    space = snapshot.space
    assert space is not None
    assert (space.generation, space.embedding_version) == ("first", "ease-svd-16")
    assert space.sources.dtype == space.targets.dtype == np.float32
    for content_id in SPACE + LOVE:
        row, place = snapshot.row(content_id), np.searchsorted(generation.keys, np.uint64(content_key(content_id)))
        np.testing.assert_array_equal(space.sources[row], generation.sources[place].astype(np.float32))
        np.testing.assert_array_equal(space.targets[row], generation.targets[place].astype(np.float32))
    np.testing.assert_array_equal(space.A_slow, generation.A_slow)
    np.testing.assert_array_equal(space.base.B, generation.base.B)


def test_a_query_in_a_snapshots_space_points_at_titles_of_the_same_taste(snapshot_folder: Path) -> None:
    snapshot = Snapshot.open(snapshot_folder)
    assert snapshot.space is not None
    liked = np.array([snapshot.row(content_id) for content_id in SPACE[:2]])
    scores = snapshot.space.targets @ query_vector(snapshot.space, liked, np.ones(2, np.float32))
    best = {snapshot.content_id(int(row)) for row in np.argsort(-scores)[:5]}
    assert set(SPACE[2:]) < best


def test_titles_that_nobody_watches_together_with_others_are_silent(snapshot_folder: Path) -> None:
    snapshot = Snapshot.open(snapshot_folder)
    row = snapshot.row("the-expanse-2015")
    assert snapshot.space is not None
    assert not snapshot.space.sources[row].any()
    assert not snapshot.space.targets[row].any()


def test_a_new_title_gets_the_factors_that_its_neighbours_imply() -> None:
    whole, weights = exact_generation(np.random.default_rng(0))
    laid = lay_out(without(whole, [7, 30]), whole.keys, *lists_of(weights, len(weights)))
    for row in (7, 30):
        np.testing.assert_allclose(laid.sources[row], whole.sources[row], atol=0.02)
        np.testing.assert_allclose(laid.targets[row], whole.targets[row], atol=0.02)
    others = np.delete(np.arange(len(weights)), [7, 30])
    np.testing.assert_array_equal(laid.sources[others], whole.sources[others])


def test_lists_cut_to_the_strongest_neighbours_still_imply_factors_of_the_right_length() -> None:
    whole, weights = exact_generation(np.random.default_rng(1))
    laid = lay_out(without(whole, [7]), whole.keys, *lists_of(weights, K))
    found, true = laid.sources[7].astype(np.float32), whole.sources[7].astype(np.float32)
    cosine = found @ true / (np.linalg.norm(found) * np.linalg.norm(true))
    assert cosine > 0.8
    assert np.linalg.norm(found) == pytest.approx(float(np.linalg.norm(true)), rel=0.4)  # K of 60 weights: a third


def test_a_title_of_the_generation_that_left_the_catalogue_is_left_out() -> None:
    whole, weights = exact_generation(np.random.default_rng(2))
    laid = lay_out(whole, whole.keys[1:], *lists_of(weights[1:, 1:], K))
    np.testing.assert_array_equal(laid.keys, whole.keys[1:])
    np.testing.assert_array_equal(laid.targets, whole.targets[1:])


def test_the_same_generation_gives_the_same_bytes_and_another_one_another_version(
    snapshot_folder: Path, titles: list[Title], interactions: Interactions, generation: Generation, tmp_path: Path
) -> None:
    again = build(titles[::-1], interactions, NOW, tmp_path, generation=from_bytes(to_bytes(generation)))
    assert again.name == snapshot_folder.name
    other = build(titles, interactions, NOW, tmp_path, generation=replace(generation, name="second"))
    assert other.name != snapshot_folder.name


def test_a_space_over_other_titles_or_in_damaged_bytes_is_corrupt(tmp_path: Path) -> None:
    whole, _ = exact_generation(np.random.default_rng(3))
    with pytest.raises(CorruptData, match="cannot be read"):
        read_space(tmp_path, whole.keys)
    write_space(tmp_path, whole)
    np.testing.assert_array_equal(read_space(tmp_path, whole.keys).base.A, whole.base.A)
    with pytest.raises(CorruptData, match="other titles"):
        read_space(tmp_path, whole.keys + np.uint64(1))
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(CorruptData):
        read_space(tmp_path, whole.keys)
