import shutil
import threading
from pathlib import Path

import pytest
from small_world import DAY_S, NOW, FolderBucket

from core.catalog import Title
from core.errors import Conflict, CorruptData, NotFound, StoreUnavailable, TooLarge
from core.snapshot.build import build
from core.snapshot.inputs import Interactions
from core.snapshot.publish import (
    ACTIVE,
    SnapshotHolder,
    activate,
    active_version,
    fetch,
    list_versions,
    publish,
)

MAX_AGE_S = 30.0


@pytest.fixture(scope="module")
def folders(titles: list[Title], interactions: Interactions, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three snapshots, one a day."""
    root = tmp_path_factory.mktemp("three")
    return [build(titles, interactions, NOW + day * DAY_S, root) for day in range(3)]


@pytest.fixture
def published(bucket: FolderBucket, folders: list[Path]) -> list[str]:
    return [publish(folder, bucket) for folder in folders]


@pytest.fixture
def holder(bucket: FolderBucket, tmp_path: Path) -> SnapshotHolder:
    return SnapshotHolder(bucket, tmp_path / "cache", MAX_AGE_S)


def cached(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}


def test_published_versions_are_listed_oldest_first(bucket: FolderBucket, published: list[str]) -> None:
    assert list_versions(bucket) == published == sorted(published)


def test_a_half_uploaded_snapshot_is_not_listed(bucket: FolderBucket, published: list[str]) -> None:
    bucket.write("snapshots/20990101T000000Z-0/keys.npy", b"half")
    assert list_versions(bucket) == published


def test_publishing_again_changes_nothing_and_another_content_is_refused(
    bucket: FolderBucket, published: list[str], folders: list[Path]
) -> None:
    generations = dict(bucket.generations)
    assert publish(folders[0], bucket) == published[0]
    assert bucket.generations == generations
    bucket.write(f"snapshots/{published[0]}/manifest.json", b"{}")
    with pytest.raises(Conflict):
        publish(folders[0], bucket)


def test_a_damaged_folder_is_not_published(bucket: FolderBucket, folders: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folders[0], tmp_path / "copy"))
    (copy / "keys.npy").write_bytes(b"x" * (copy / "keys.npy").stat().st_size)
    with pytest.raises(CorruptData):
        publish(copy, bucket)
    assert bucket.list("") == []


def test_a_snapshot_that_no_instance_could_hold_is_not_published(bucket: FolderBucket, folders: list[Path]) -> None:
    mib = sum(file.stat().st_size for file in folders[0].iterdir() if file.name != "manifest.json") / (1 << 20)
    with pytest.raises(TooLarge, match=f"{mib:.1f} MiB"):
        publish(folders[0], bucket, 0.99 * mib)
    assert bucket.list("") == []
    assert publish(folders[0], bucket, 1.01 * mib) == folders[0].name


def test_activation_moves_the_pointer_forth_and_back(bucket: FolderBucket, published: list[str]) -> None:
    with pytest.raises(NotFound):
        active_version(bucket)
    assert activate(bucket, published[1]) is None
    assert activate(bucket, published[0]) == published[1]
    assert active_version(bucket) == published[0]


@pytest.mark.parametrize("version", ["20200101T000000Z-none", "../outside", ""])
def test_only_published_versions_can_be_activated(bucket: FolderBucket, published: list[str], version: str) -> None:
    with pytest.raises(NotFound):
        activate(bucket, version)


def test_of_two_simultaneous_activations_one_is_a_conflict(bucket: FolderBucket, published: list[str]) -> None:
    activate(bucket, published[0])

    class Overtaken(FolderBucket):
        def read(self, name: str) -> tuple[bytes, int]:
            answer = super().read(name)
            if name == ACTIVE:  # somebody else activates between our read and our write
                self.write(ACTIVE, published[2].encode())
            return answer

    overtaken = Overtaken(bucket.root)
    overtaken.generations = bucket.generations
    with pytest.raises(Conflict):
        activate(overtaken, published[1])
    assert active_version(bucket) == published[2]


def test_a_fetched_snapshot_is_not_downloaded_twice(bucket: FolderBucket, published: list[str], tmp_path: Path) -> None:
    first = fetch(bucket, published[0], tmp_path / "cache")
    downloads = bucket.downloads
    assert fetch(bucket, published[0], tmp_path / "cache") == first
    assert bucket.downloads == downloads > 0


def test_a_damaged_cache_is_fetched_again(bucket: FolderBucket, published: list[str], tmp_path: Path) -> None:
    folder = fetch(bucket, published[0], tmp_path / "cache")
    (folder / "keys.npy").write_bytes(b"")
    (tmp_path / "cache" / ".fetch-left-by-a-killed-process").mkdir()
    assert (fetch(bucket, published[0], tmp_path / "cache") / "keys.npy").stat().st_size > 0
    assert cached(tmp_path) == {published[0]}


def test_a_damaged_download_is_refused_and_leaves_nothing(
    bucket: FolderBucket, published: list[str], tmp_path: Path
) -> None:
    path = bucket.root / "snapshots" / published[0] / "content_index.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"oops")
    with pytest.raises(CorruptData, match="content_index"):
        fetch(bucket, published[0], tmp_path / "cache")
    assert cached(tmp_path) == set()


def test_without_a_snapshot_the_store_is_unavailable_and_says_why(bucket: FolderBucket, holder: SnapshotHolder) -> None:
    with pytest.raises(StoreUnavailable, match="snapshot is unavailable: NotFound"):
        holder.current(NOW)


def test_the_first_activation_is_served_a_second_after_a_failed_look(
    bucket: FolderBucket, published: list[str], holder: SnapshotHolder
) -> None:
    with pytest.raises(StoreUnavailable):
        holder.current(NOW)
    activate(bucket, published[0])
    with pytest.raises(StoreUnavailable):
        holder.current(NOW + 0.5)
    assert holder.current(NOW + 1.0).version == published[0]
    assert holder.failure is None


def test_an_activation_is_noticed_after_the_maximum_age_and_not_before(
    bucket: FolderBucket, published: list[str], holder: SnapshotHolder
) -> None:
    activate(bucket, published[0])
    first = holder.current(NOW)
    activate(bucket, published[1])
    assert holder.current(NOW + MAX_AGE_S - 1) is first
    assert holder.current(NOW + MAX_AGE_S).version == published[1]
    assert first.title(0).content_id == first.content_id(0)  # an answer under way goes on with the old one


def test_the_cache_holds_at_most_two_versions(
    bucket: FolderBucket, published: list[str], holder: SnapshotHolder, tmp_path: Path
) -> None:
    for step, version in enumerate(published):
        activate(bucket, version)
        assert holder.current(NOW + step * MAX_AGE_S).version == version
    assert cached(tmp_path) == set(published[1:])


def test_a_lost_bucket_keeps_the_old_snapshot_and_is_reported_until_it_is_back(
    bucket: FolderBucket, published: list[str], holder: SnapshotHolder
) -> None:
    activate(bucket, published[0])
    first = holder.current(NOW)
    bucket.broken = True
    assert holder.current(NOW + MAX_AGE_S) is first
    assert holder.failure is not None
    assert "unplugged" in holder.failure
    bucket.broken = False
    activate(bucket, published[1])
    assert holder.current(NOW + 2 * MAX_AGE_S).version == published[1]
    assert holder.failure is None


def test_a_damaged_new_version_keeps_the_old_snapshot(
    bucket: FolderBucket, published: list[str], holder: SnapshotHolder
) -> None:
    activate(bucket, published[0])
    first = holder.current(NOW)
    (bucket.root / "snapshots" / published[1] / "keys.npy").write_bytes(b"")
    activate(bucket, published[1])
    assert holder.current(NOW + MAX_AGE_S) is first
    assert holder.failure is not None
    assert "CorruptData" in holder.failure


def test_only_one_request_waits_for_a_swap(bucket: FolderBucket, published: list[str], tmp_path: Path) -> None:
    entered, proceed = threading.Event(), threading.Event()

    class Slow(FolderBucket):
        def read(self, name: str) -> tuple[bytes, int]:
            if threading.current_thread() is not threading.main_thread():
                entered.set()
                assert proceed.wait(10)
            return super().read(name)

    slow = Slow(bucket.root)
    slow.generations = bucket.generations
    activate(bucket, published[0])
    holder = SnapshotHolder(slow, tmp_path / "cache", MAX_AGE_S)
    first = holder.current(NOW)
    activate(bucket, published[1])
    served: list[str] = []
    swapping = threading.Thread(target=lambda: served.append(holder.current(NOW + MAX_AGE_S).version))
    swapping.start()
    assert entered.wait(10)
    assert holder.current(NOW + MAX_AGE_S) is first  # does not block
    proceed.set()
    swapping.join(10)
    assert served == [published[1]]
    assert holder.current(NOW + MAX_AGE_S).version == published[1]


def test_requests_of_many_threads_during_swaps_all_get_a_whole_snapshot(
    bucket: FolderBucket, published: list[str], holder: SnapshotHolder
) -> None:
    activate(bucket, published[0])
    whole: list[bool] = []

    def requests(offset: int) -> None:
        for step in range(40):
            snapshot, row = holder.current(NOW + step * MAX_AGE_S), step % 12
            known = snapshot.version in published
            whole.append(known and snapshot.title(row).content_id == snapshot.content_id(row))
            if offset == 0:
                activate(bucket, published[step % 3])

    threads = [threading.Thread(target=requests, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert whole == [True] * 160
