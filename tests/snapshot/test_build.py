import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_world import DAY_S, LOVE, NOW, SPACE, like

from core.catalog import Title, content_key
from core.errors import CorruptData, InvalidInput
from core.snapshot.build import build
from core.snapshot.inputs import Interactions, collect_interactions
from core.snapshot.manifest import MANIFEST, read_manifest, verify
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Neighbours, Snapshot


@pytest.fixture(scope="module")
def snapshot(folder: Path) -> Snapshot:
    return Snapshot.open(folder)


def strongest(snapshot: Snapshot, lists: Neighbours, content_id: str) -> list[str]:
    row = snapshot.row(content_id)
    return [snapshot.content_id(i) for i, w in zip(lists.index[row], lists.weight[row], strict=True) if w > 0]


def test_every_title_is_found_by_key_and_id_and_comes_back_whole(snapshot: Snapshot, titles: list[Title]) -> None:
    assert len(snapshot) == len(titles)
    for title in titles:
        row = snapshot.row(title.content_id)
        assert row is not None
        assert snapshot.content_id(row) == title.content_id
        assert snapshot.title(row) == title
        assert snapshot.title(np.int32(row)) is snapshot.title(row)  # parsed once


def test_unknown_keys_have_row_minus_one(snapshot: Snapshot) -> None:
    known = content_key("moon-2009")
    rows = snapshot.rows(np.array([0, known, 2**64 - 1, known + 1], np.uint64))
    assert rows.dtype == np.int32
    assert rows.tolist() == [-1, snapshot.row("moon-2009"), -1, -1]
    assert snapshot.rows(np.zeros(0, np.uint64)).shape == (0,)
    assert snapshot.row("no-such-title") is None


def test_lists_stay_within_a_taste(snapshot: Snapshot) -> None:
    assert set(strongest(snapshot, snapshot.collaborative, "alien-1979")) <= set(SPACE) - {"alien-1979"}
    assert set(strongest(snapshot, snapshot.transitions, "past-lives-2023")) <= set(LOVE)
    assert strongest(snapshot, snapshot.transitions, "alien-1979")[0] == "aliens-1986"  # watched in this order
    assert strongest(snapshot, snapshot.content, "alien-1979")[0] == "aliens-1986"
    assert strongest(snapshot, snapshot.graph, "before-sunset-2004")[0] == "before-sunrise-1995"


@pytest.mark.parametrize("name", ["collaborative", "transitions", "content", "graph"])
def test_lists_fall_in_weight_without_repeats_and_are_padded_with_the_own_row(snapshot: Snapshot, name: str) -> None:
    lists = getattr(snapshot, name)
    assert (lists.index.dtype, lists.weight.dtype) == (np.int32, np.float16)
    assert lists.index.shape == lists.weight.shape == (12, 100)
    assert np.all(np.diff(lists.weight, axis=1) <= 0)
    for row in range(12):
        real = lists.weight[row] > 0
        assert len(set(lists.index[row][real])) == real.sum() > 0 or name != "content"
        assert row not in lists.index[row][real]
        assert np.all(lists.index[row][~real] == row)


def test_popularity_decays_and_is_also_kept_undecayed(snapshot: Snapshot) -> None:
    row = snapshot.row("past-lives-2023")
    likes = snapshot.popularity_all[row]
    assert snapshot.popularity[row] == likes  # its viewers like it last, on the day of the build
    first = snapshot.row("before-sunrise-1995")
    assert snapshot.popularity[first] == pytest.approx(snapshot.popularity_all[first] * 0.5, rel=0.01)  # 3 days before
    assert snapshot.popularity_all.sum() == 160


def test_contexts_and_segments_know_who_watches_what(snapshot: Snapshot) -> None:
    words = snapshot.vocabulary
    assert words.segments == ("region:DE", "region:FR")
    assert words.devices == ("mobile", "tv")
    alien, amelie = snapshot.row("alien-1979"), snapshot.row("amelie-2001")
    for table, german in ((snapshot.segments, 0), (snapshot.devices, 1)):
        np.testing.assert_allclose(table.sum(axis=1), 1.0, rtol=1e-5)
        assert table[german, alien] > table[1 - german, alien]
        assert table[german, amelie] < table[1 - german, amelie]
    assert snapshot.dayparts.shape == (4, 12)
    assert snapshot.weekend.shape == (2, 12)


def test_availability_and_relationships_are_found_by_row(snapshot: Snapshot) -> None:
    row = snapshot.row("alien-1979")
    entries = snapshot.availability_of(row)
    assert [snapshot.vocabulary.services[code] for code in entries["service"]] == ["Lumen", "Orbit"]
    assert entries["expires_at"].tolist() == [np.inf, NOW + DAY_S]
    assert len(snapshot.availability_of(snapshot.row("moon-2009"))) == 0
    assert set(snapshot.relationships_of(row)["source"]) == {row}
    assert sum(len(snapshot.relationships_of(row)) for row in range(12)) == len(snapshot.relationships)


def test_arrays_cannot_be_written(snapshot: Snapshot) -> None:
    with pytest.raises(ValueError, match="read-only"):
        snapshot.popularity[0] = 1.0


def test_the_same_input_in_another_order_gives_the_same_bytes(
    folder: Path, titles: list[Title], interactions: Interactions, tmp_path: Path
) -> None:
    again = build(titles[::-1], interactions, NOW, tmp_path)
    assert again.name == folder.name
    assert read_manifest(again) == read_manifest(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_another_parameter_or_time_gives_another_version(
    folder: Path, titles: list[Title], interactions: Interactions, tmp_path: Path
) -> None:
    other = build(titles, interactions, NOW, tmp_path, replace(SnapshotParameters(), restart_probability=0.5))
    later = build(titles, interactions, NOW + DAY_S, tmp_path)
    assert len({folder.name, other.name, later.name}) == 3
    assert later.name > folder.name  # versions sort by time
    assert read_manifest(other).parameters["restart_probability"] == 0.5


def test_a_catalogue_of_one_title_and_no_interaction_is_a_snapshot(tmp_path: Path) -> None:
    snapshot = Snapshot.open(build([Title("a", "Alone")], collect_interactions([]), NOW, tmp_path))
    assert (len(snapshot), snapshot.content_id(0)) == (1, "a")
    assert snapshot.collaborative.weight.max() == snapshot.graph.weight.max() == 0
    np.testing.assert_allclose(snapshot.dayparts, 1.0)
    assert snapshot.devices.shape == snapshot.segments.shape == (0, 1)


def test_interactions_with_titles_outside_the_catalogue_are_left_out(titles: list[Title], tmp_path: Path) -> None:
    events = [like("ada", "gone-1999", NOW), like("ada", "moon-2009", NOW)]
    snapshot = Snapshot.open(build(titles, collect_interactions(events), NOW, tmp_path))
    assert snapshot.popularity_all.sum() == 1


def test_a_failed_build_leaves_nothing_behind(titles: list[Title], interactions: Interactions, tmp_path: Path) -> None:
    def stop(part: str, done: float) -> None:
        if part == "graph":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(titles, interactions, NOW, tmp_path, progress=stop)
    with pytest.raises(InvalidInput):
        build([], interactions, NOW, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_progress_names_every_part_and_ends_at_one(
    titles: list[Title], interactions: Interactions, tmp_path: Path
) -> None:
    seen: list[tuple[str, float]] = []
    build(titles, interactions, NOW, tmp_path, progress=lambda part, done: seen.append((part, done)))
    shares = [done for _, done in seen]
    assert shares == sorted(shares)
    assert (shares[0], seen[-1]) == (0.0, ("done", 1.0))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def test_a_whole_snapshot_verifies(copy: Path) -> None:
    assert verify(copy).version == copy.name


def test_one_flipped_bit_is_found(copy: Path) -> None:
    path = copy / "collaborative_index.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptData, match=r"collaborative_index.npy .* wrong sha256"):
        verify(copy)


@pytest.mark.parametrize("name", ["vectors.npy", "titles.jsonl", "vocabulary.json"])
def test_truncated_and_missing_files_are_found_when_opening(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[:-8])
    with pytest.raises(CorruptData, match=name):
        Snapshot.open(copy)
    (copy / name).unlink()
    with pytest.raises(CorruptData, match=name):
        Snapshot.open(copy)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"format": "other/9"}',
        b'{"format": "sona-snapshot/1", "version": "v"}',
        b"\xff\xfe",
    ],
)
def test_a_foreign_manifest_is_corrupt(copy: Path, data: bytes) -> None:
    (copy / MANIFEST).write_bytes(data)
    with pytest.raises(CorruptData):
        Snapshot.open(copy)


def test_a_manifest_cannot_name_files_outside_its_folder(copy: Path) -> None:
    data = (copy / MANIFEST).read_text().replace('"keys.npy"', '"../keys.npy"')
    (copy / MANIFEST).write_text(data)
    with pytest.raises(CorruptData, match="impossible"):
        verify(copy)


def test_an_array_of_another_shape_is_corrupt_even_when_the_manifest_agrees(copy: Path) -> None:
    size = (copy / "keys.npy").stat().st_size
    (copy / "popularity.npy").write_bytes((copy / "keys.npy").read_bytes())
    manifest = (copy / MANIFEST).read_text()
    before, entry = read_manifest_size(manifest, "popularity.npy"), manifest.index('"popularity.npy"')
    changed = manifest[entry:].replace(before, before.replace(before.split(":")[1].strip(), str(size)), 1)
    (copy / MANIFEST).write_text(manifest[:entry] + changed)
    with pytest.raises(CorruptData, match="popularity"):
        Snapshot.open(copy)


def read_manifest_size(manifest: str, name: str) -> str:
    """The `"bytes": n` text of one file's entry."""
    entry = manifest[manifest.index(f'"{name}"') :]
    return entry[entry.index('"bytes"') : entry.index(",")]
