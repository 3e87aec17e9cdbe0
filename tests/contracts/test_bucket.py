"""Bucket on Cloud Storage's API: generations decide who wrote, files arrive whole, absence is not an outage."""

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.config import StoreSettings
from core.errors import Conflict, NotFound, StoreUnavailable
from core.local.gcs_server import GcsServer
from core.stores.gcs import GcsBucket, ensure_bucket


@pytest.fixture
def stores(gcs_endpoint: str) -> StoreSettings:
    return StoreSettings(storage_endpoint=gcs_endpoint, snapshots_bucket=f"bucket-{uuid.uuid4().hex}")


@pytest.fixture
def bucket(stores: StoreSettings) -> GcsBucket:
    ensure_bucket(stores)
    return GcsBucket(stores)


def test_making_sure_of_a_bucket_twice_keeps_its_objects(bucket: GcsBucket, stores: StoreSettings) -> None:
    bucket.write("a", b"1")
    ensure_bucket(stores)
    assert bucket.list("") == ["a"]


@pytest.mark.parametrize("data", [b"", b"\0\xff" * 1000, b'{"active": "7"}'])
def test_an_object_comes_back_with_the_generation_it_was_written_with(bucket: GcsBucket, data: bytes) -> None:
    generation = bucket.write("active.json", data)
    assert bucket.read("active.json") == (data, generation)


def test_every_write_gives_a_newer_generation(bucket: GcsBucket) -> None:
    assert bucket.write("a", b"1") < bucket.write("a", b"1")


def test_a_write_that_expects_another_generation_changes_nothing(bucket: GcsBucket) -> None:
    first = bucket.write("a", b"first", if_generation=0)
    with pytest.raises(Conflict):
        bucket.write("a", b"again", if_generation=0)
    second = bucket.write("a", b"second", if_generation=first)
    with pytest.raises(Conflict):
        bucket.write("a", b"late", if_generation=first)
    assert bucket.read("a") == (b"second", second)


def test_of_writers_who_expect_the_same_generation_one_wins(bucket: GcsBucket) -> None:
    generation = bucket.write("a", b"start")
    start = threading.Barrier(6)

    def write(number: int) -> int | None:
        start.wait()
        try:
            bucket.write("a", str(number).encode(), if_generation=generation)
        except Conflict:
            return None
        return number

    with ThreadPoolExecutor(6) as threads:
        winners = [number for number in threads.map(write, range(6)) if number is not None]
    assert len(winners) == 1
    assert bucket.read("a")[0] == str(winners[0]).encode()


def test_readers_of_an_object_that_is_being_written_see_whole_versions(bucket: GcsBucket) -> None:
    written = {bucket.write("a", b"0" * 1000): b"0" * 1000}
    stopping = threading.Event()

    def keep_writing() -> None:
        for number in range(1, 30):
            data = str(number % 10).encode() * 1000
            written[bucket.write("a", data)] = data
        stopping.set()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(keep_writing)
        seen = []
        while not stopping.is_set():
            try:
                seen.append(bucket.read("a"))
            except Conflict:  # too busy to read: said, not guessed
                continue
        writing.result()
    assert seen
    assert all(written[generation] == data for data, generation in seen)


def test_a_file_of_many_megabytes_arrives_as_it_was(bucket: GcsBucket, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(10_000_000))  # beyond one request of the client library
    bucket.upload("snapshots/7/embeddings.bin", source)
    bucket.download("snapshots/7/embeddings.bin", target)
    assert target.read_bytes() == source.read_bytes()


def test_what_is_missing_is_not_found_and_leaves_no_file(bucket: GcsBucket, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        bucket.read("missing")
    with pytest.raises(NotFound):
        bucket.download("missing", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []
    bucket.delete("missing")


def test_a_failed_download_keeps_the_file_that_was_there(bucket: GcsBucket, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(NotFound):
        bucket.download("missing", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_a_deleted_object_is_gone_and_may_be_created_again(bucket: GcsBucket) -> None:
    bucket.write("a", b"1")
    bucket.delete("a")
    with pytest.raises(NotFound):
        bucket.read("a")
    assert bucket.write("a", b"2", if_generation=0) > 0


def test_listing_takes_a_prefix_and_any_name(bucket: GcsBucket) -> None:
    names = ["snapshots/1/a", "snapshots/10/a", "snapshots/2/ü 漢 #?%", "other"]
    for name in names:
        bucket.write(name, name.encode())
    assert bucket.list("snapshots/1/") == ["snapshots/1/a"]
    assert bucket.list("") == sorted(names)
    assert bucket.list("nothing") == []
    assert all(bucket.read(name)[0] == name.encode() for name in names)


def test_an_outage_is_unavailable_not_missing_and_passes(
    bucket: GcsBucket, gcs_server: GcsServer, tmp_path: Path
) -> None:
    bucket.write("a", b"kept")
    gcs_server.kill()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as raised:
            bucket.read("a")
        assert raised.value.store == "bucket"
        assert time.monotonic() - started < 3.0, "a request may wait for a read"
    finally:
        gcs_server.start()
    assert bucket.read("a")[0] == b"kept"


def test_a_write_survives_a_short_outage(bucket: GcsBucket, gcs_server: GcsServer) -> None:
    gcs_server.kill()
    restart = threading.Timer(0.3, gcs_server.start)
    restart.start()
    bucket.write("a", b"1")
    restart.join()
    assert bucket.read("a")[0] == b"1"
