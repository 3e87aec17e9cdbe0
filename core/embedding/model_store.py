"""Models in a bucket: `models/<kind>/<version>/` holds one with its manifest, `models/<kind>/ACTIVE` names the one that
new work is done with. Only whoever deploys writes there; instances download, verify and keep a copy."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.embedding.encoder import KIND, Encoder
from core.embedding.model_folder import MANIFEST, is_model_version, parse_manifest, read_verified
from core.errors import Conflict, CorruptData, NotFound, SonaError
from core.stores.protocols import Bucket

_ROOT = "models"
RETRY_S = 30.0  # a model that could not be loaded is asked for again after this; until then requests do not wait


def publish_model(bucket: Bucket, folder: Path, kind: str = KIND) -> str:
    """Upload a verified model folder, its manifest last, and return its version. The same one again changes nothing.

    Raises Conflict when another model of that version is published, CorruptData for a folder that is not whole.
    """
    manifest, files = read_verified(folder, kind)
    data = (folder / MANIFEST).read_bytes()
    name = _object(kind, manifest.version, MANIFEST)
    try:
        if bucket.read(name)[0] == data:
            return manifest.version
        raise Conflict(f"another model {manifest.version} is already published")
    except NotFound:
        for file in files:
            bucket.upload(_object(kind, manifest.version, file), folder / file)
        bucket.write(name, data, if_generation=0)
    return manifest.version


def active_model(bucket: Bucket, kind: str = KIND) -> str | None:
    """Version of the active model of a kind, None before the first. Raises CorruptData."""
    try:
        version = bucket.read(_object(kind, "ACTIVE"))[0].decode(errors="replace").strip()
    except NotFound:
        return None
    if not is_model_version(version):
        raise CorruptData(f"the pointer to the active {kind} names no model: {version[:40]!r}")
    return version


def activate_model(bucket: Bucket, version: str, kind: str = KIND) -> None:
    """Do new work with a published model; also the way back to an older one. Raises NotFound if not published."""
    if not is_model_version(version):
        raise NotFound(f"model {version!r} is not published")
    bucket.read(_object(kind, version, MANIFEST))
    bucket.write(_object(kind, "ACTIVE"), version.encode())


def fetch_model(bucket: Bucket, version: str, cache_dir: Path, kind: str = KIND) -> Path:
    """The folder of a verified copy under `cache_dir`, downloaded unless it is there.

    Raises NotFound for an unpublished version, CorruptData when the bytes do not match the manifest.
    """
    target = cache_dir / kind / version
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process downloads; released with the process, however it ends
        if target.exists():
            try:
                read_verified(target, kind)
                return target
            except CorruptData:
                shutil.rmtree(target)
        _download(bucket, version, kind, target)
    return target


def _download(bucket: Bucket, version: str, kind: str, target: Path) -> None:
    data, _ = bucket.read(_object(kind, version, MANIFEST))
    manifest = parse_manifest(data)
    if manifest.version != version:
        raise CorruptData(f"the manifest of model {version} is that of {manifest.version}")
    temporary = Path(tempfile.mkdtemp(prefix=".fetch-", dir=target.parent))
    try:
        for name in manifest.files:
            bucket.download(_object(kind, version, name), temporary / name)
        (temporary / MANIFEST).write_bytes(data)
        read_verified(temporary, kind)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _object(*parts: str) -> str:
    return "/".join((_ROOT, *parts))


class EncoderHolder:
    """The text encoder of an instance: fetched and loaded by whoever first needs it, then kept.

    A query must be encoded by the model that encoded the titles, so the snapshot says which version to use.
    """

    def __init__(
        self, bucket: Bucket, cache_dir: Path, threads: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket = bucket
        self._cache_dir = cache_dir
        self._threads = threads
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Encoder | None = None
        self._failed: tuple[str, float, SonaError] | None = None

    def active(self) -> Encoder:
        """The active encoder, for jobs. Raises NotFound when none is active, and what `get` raises."""
        version = active_model(self._bucket)
        if version is None:
            raise NotFound("no text encoder is active")
        return self.get(version)

    def get(self, version: str) -> Encoder:
        """The encoder of that version. Raises NotFound, CorruptData or StoreUnavailable; for RETRY_S at once."""
        held = self._held
        if held is not None and held.version == version:
            return held
        with self._lock:
            if self._held is not None and self._held.version == version:
                return self._held
            if self._failed and self._failed[0] == version and self._clock() - self._failed[1] < RETRY_S:
                raise self._failed[2]
            try:
                folder = fetch_model(self._bucket, version, self._cache_dir)
                self._held, self._failed = Encoder.open(folder, self._threads), None
            except (SonaError, OSError) as error:
                failure = error if isinstance(error, SonaError) else CorruptData(f"model {version}: {error}")
                self._failed = (version, self._clock(), failure)
                raise failure from error
            return self._held
