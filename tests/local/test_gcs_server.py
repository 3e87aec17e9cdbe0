"""The Cloud Storage stand-in, through the real google-cloud-storage client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from core.local.gcs_server import GcsServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with GcsServer(tmp_path_factory.mktemp("gcs")) as running:
        yield running


def connect(server: GcsServer) -> storage.Client:
    options = {"api_endpoint": server.endpoint}
    return storage.Client(project="laptop", credentials=AnonymousCredentials(), client_options=options)


def test_only_one_of_two_writers_creates_and_a_stale_one_does_not_replace(server: GcsServer) -> None:
    blob = connect(server).create_bucket("pointers").blob("current")
    blob.upload_from_string(b"1", if_generation_match=0)
    generation = blob.generation
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"2", if_generation_match=0)
    blob.upload_from_string(b"3", if_generation_match=generation)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"4", if_generation_match=generation)
    assert blob.download_as_bytes() == b"3"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_objects_generations_and_metadata_survive_the_server(server: GcsServer, end: str) -> None:
    bucket = connect(server).create_bucket(f"snapshots-{end}")
    blob = bucket.blob("v1/items.bin")
    blob.metadata = {"sha256": "abc"}
    blob.upload_from_string(bytes(range(256)) * 1000, content_type="application/x-snapshot")
    getattr(server, end)()
    server.start()
    again = connect(server).bucket(f"snapshots-{end}").get_blob("v1/items.bin")
    assert again.generation == blob.generation
    assert (again.metadata, again.content_type) == ({"sha256": "abc"}, "application/x-snapshot")
    assert again.download_as_bytes() == bytes(range(256)) * 1000
    assert again.download_as_bytes(start=256, end=259) == bytes([0, 1, 2, 3])


def test_a_file_is_uploaded_in_parts_listed_and_deleted(server: GcsServer, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(b"0123456789abcdef" * 50_000)
    bucket = connect(server).create_bucket("large")
    bucket.blob("folder/large", chunk_size=262_144).upload_from_filename(source)
    assert [found.name for found in bucket.list_blobs(prefix="folder/")] == ["folder/large"]
    bucket.blob("folder/large").download_to_filename(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    bucket.blob("folder/large").delete()
    with pytest.raises(NotFound):
        bucket.blob("folder/large").download_as_bytes()
