"""Objects in Cloud Storage, or in a stand-in at an endpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from core.config import StoreSettings
from core.errors import Conflict, CorruptData, NotFound, StoreSilent, StoreUnavailable

STORE = "bucket"  # the name in StoreUnavailable
TIMEOUT_S = (3.0, 30.0)  # connect; silence while data flows
RETRY_S = 10.0  # how long a passing failure is tried again
READ_TIMEOUT_S = (1.0, 2.0)  # `read` is for small objects, and a request may wait for it
READ_RETRY_S = 1.0
READS_OF_A_CHANGING_OBJECT = 5


@contextmanager
def _translated(name: str) -> Iterator[None]:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException, Timeout

    try:
        yield
    except exceptions.NotFound as error:
        raise NotFound(f"there is no object {name}") from error
    except (exceptions.PreconditionFailed, exceptions.Conflict) as error:
        raise Conflict(f"{name} has been written by somebody else") from error
    except DataCorruption as error:
        raise CorruptData(f"{name} arrived with another checksum") from error
    except (exceptions.GoogleAPIError, GoogleAuthError, InvalidResponse, RequestException) as error:
        cause = getattr(error, "cause", None) or error  # of a RetryError: what the last attempt met
        silent = isinstance(cause, (Timeout, exceptions.DeadlineExceeded))
        raise (StoreSilent if silent else StoreUnavailable)(STORE, type(cause).__name__) from error


class GcsBucket:
    """Bucket over Cloud Storage. Every request has a timeout; passing failures are tried again for `RETRY_S`."""

    def __init__(self, stores: StoreSettings, name: str = "") -> None:
        self._stores = stores
        self._name = name or stores.snapshots_bucket

    def upload(self, name: str, path: Path) -> None:
        with _translated(name):
            self._blob(name).upload_from_filename(str(path), timeout=TIMEOUT_S, retry=self._retry)

    def download(self, name: str, path: Path) -> None:
        """Raises NotFound for a missing object. `path` appears only when it is whole."""
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with _translated(name):
                self._blob(name).download_to_filename(str(unfinished), timeout=TIMEOUT_S, retry=self._retry)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def write(self, name: str, data: bytes, if_generation: int | None = None) -> int:
        """Write and return the new generation; Conflict when `if_generation` (0 = must not exist) does not match."""
        blob = self._blob(name)
        with _translated(name):
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                if_generation_match=if_generation,
                timeout=TIMEOUT_S,
                retry=self._retry,
            )
        return int(blob.generation)

    def read(self, name: str) -> tuple[bytes, int]:
        """Bytes and generation of the same version. Raises NotFound."""
        for _ in range(READS_OF_A_CHANGING_OBJECT):
            newest = self._blob(name)
            with _translated(name):
                newest.reload(timeout=READ_TIMEOUT_S, retry=self._read_retry)
            version = self._blob(name, int(newest.generation))
            try:
                with _translated(name):
                    data = version.download_as_bytes(timeout=READ_TIMEOUT_S, retry=self._read_retry)
            except NotFound:  # replaced in between; a bucket with versioning still has it
                continue
            return bytes(data), int(newest.generation)
        raise Conflict(f"{name} is being written all the time")

    def list(self, prefix: str) -> list[str]:
        with _translated(prefix):
            blobs = self._client.list_blobs(self._name, prefix=prefix, timeout=TIMEOUT_S, retry=self._retry)
            return sorted(blob.name for blob in blobs)

    def delete(self, name: str) -> None:
        """Deleting what is not there is no error."""
        try:
            with _translated(name):
                self._blob(name).delete(timeout=TIMEOUT_S, retry=self._retry)
        except NotFound:
            return

    def create(self) -> None:
        """Create the bucket unless it exists: for the laptop edition, in the cloud Terraform owns it."""
        try:
            with _translated(self._name):
                self._client.create_bucket(self._name, timeout=TIMEOUT_S, retry=self._retry)
        except Conflict:
            return

    def _blob(self, name: str, generation: int | None = None) -> Any:
        return self._client.bucket(self._name).blob(name, generation=generation)

    @cached_property
    def _client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        if not self._stores.storage_endpoint:
            return Client(project=self._stores.project)
        return Client(
            project=self._stores.project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self._stores.storage_endpoint},
        )

    @cached_property
    def _retry(self) -> Any:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(RETRY_S).with_delay(initial=0.1, maximum=2.0)

    @cached_property
    def _read_retry(self) -> Any:
        return self._retry.with_timeout(READ_RETRY_S)


def ensure_bucket(stores: StoreSettings) -> None:
    """Create the buckets of the laptop edition unless they exist."""
    for name in (stores.snapshots_bucket, stores.models_bucket):
        GcsBucket(stores, name).create()
