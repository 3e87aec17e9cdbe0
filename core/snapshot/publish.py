"""Snapshots in a bucket: publish, list, activate, fetch, and hold the active one in a serving instance."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Conflict, CorruptData, NotFound, SonaError, StoreUnavailable, TooLarge
from core.snapshot.manifest import MANIFEST, Manifest, from_bytes, is_version, verify
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import Bucket

_ROOT = "snapshots"
ACTIVE = f"{_ROOT}/ACTIVE"  # holds the version that instances serve

_RETRY_EMPTY_S = 1.0  # without any snapshot, requests between two attempts are refused at once instead of queueing


def _object(version: str, name: str) -> str:
    return f"{_ROOT}/{version}/{name}"


def publish(folder: Path, bucket: Bucket, max_mib: float = math.inf) -> str:
    """Upload a built snapshot and return its version. The manifest goes last: what is listed is whole.

    A snapshot is immutable: publishing the same one again does nothing, another one of the same version is a Conflict.
    Raises CorruptData when the folder does not match its manifest, TooLarge beyond `max_mib`: no instance could hold it
    beside the one it serves.
    """
    manifest = verify(folder)
    mib = sum(file.bytes for file in manifest.files.values()) / (1 << 20)
    if mib > max_mib:
        raise TooLarge(f"snapshot {manifest.version} has {mib:.1f} MiB, and instances hold one of {max_mib:g}")
    data = (folder / MANIFEST).read_bytes()
    try:
        if bucket.read(_object(manifest.version, MANIFEST))[0] == data:
            return manifest.version
        raise Conflict(f"another snapshot {manifest.version} is already published")
    except NotFound:
        for name in manifest.files:
            bucket.upload(_object(manifest.version, name), folder / name)
        bucket.write(_object(manifest.version, MANIFEST), data, if_generation=0)
    return manifest.version


def list_versions(bucket: Bucket) -> list[str]:
    """Versions that are published whole, oldest first."""
    names = [name.split("/") for name in bucket.list(f"{_ROOT}/")]
    return sorted(parts[1] for parts in names if len(parts) == 3 and parts[2] == MANIFEST)


def active_version(bucket: Bucket) -> str:
    """The version that instances should serve. Raises NotFound before the first activation."""
    return _active(bucket)[0]


def active_manifest(bucket: Bucket) -> Manifest:
    """What the active snapshot was built from. Raises NotFound before the first activation, CorruptData."""
    return from_bytes(bucket.read(_object(active_version(bucket), MANIFEST))[0])


def _active(bucket: Bucket) -> tuple[str, int]:
    data, generation = bucket.read(ACTIVE)
    version = data.decode(errors="replace").strip()
    if not is_version(version):
        raise CorruptData(f"{ACTIVE} names no snapshot: {version[:40]!r}")
    return version, generation


def activate(bucket: Bucket, version: str) -> str | None:
    """Let instances serve `version`; returns the one before (None: the first). Also the way back to an older one.

    Raises NotFound for a version that is not published, Conflict when somebody else activated another meanwhile.
    """
    if not is_version(version):
        raise NotFound(f"snapshot {version!r} is not published")
    bucket.read(_object(version, MANIFEST))
    try:
        before, generation = _active(bucket)
    except NotFound:
        before, generation = None, 0
    if before != version:
        bucket.write(ACTIVE, version.encode(), if_generation=generation)
    return before


@contextmanager
def _locked(cache_dir: Path) -> Iterator[None]:
    """One process at a time changes the cache; the lock goes with the process, so a crash leaves none behind."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(bucket: Bucket, version: str, cache_dir: Path, keep: str | None = None) -> Path:
    """The folder of a verified copy of `version` under `cache_dir`, downloaded unless it is there.

    Every other version but `keep` (the one still being served) is removed first: the cache may be memory, sized for
    two. Raises NotFound for an unpublished version, CorruptData when the bytes do not match the manifest.
    """
    with _locked(cache_dir):
        target = cache_dir / version
        for path in cache_dir.iterdir():
            if path.is_dir() and path.name not in (version, keep):  # broken downloads of dead processes too
                shutil.rmtree(path, ignore_errors=True)
        if target.exists():
            try:
                verify(target)
                return target
            except CorruptData:
                shutil.rmtree(target)
        return _download(bucket, version, target)


def _download(bucket: Bucket, version: str, target: Path) -> Path:
    data, _ = bucket.read(_object(version, MANIFEST))
    manifest = from_bytes(data)
    if manifest.version != version:
        raise CorruptData(f"the manifest of snapshot {version} is that of {manifest.version}")
    temporary = Path(tempfile.mkdtemp(prefix=".fetch-", dir=target.parent))
    try:
        for name in manifest.files:
            bucket.download(_object(version, name), temporary / name)
        (temporary / MANIFEST).write_bytes(data)
        verify(temporary)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


class SnapshotHolder:
    """The active snapshot of a serving instance.

    Instances have no background threads: the pointer is looked at by a request that finds the last look older than
    `max_age_s`. Only that request waits for a download; all others keep being served from the snapshot in hand, and so
    is everybody when the bucket or the new version fails. `failure` says why the last look failed, if it did.
    """

    def __init__(self, bucket: Bucket, cache_dir: Path, max_age_s: float) -> None:
        self._bucket = bucket
        self._cache_dir = cache_dir
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._held: Snapshot | None = None
        self._looked_at = float("-inf")
        self.failure: str | None = None

    def current(self, now: float) -> Snapshot:
        """The snapshot to serve a request at `now` (Unix seconds). Raises StoreUnavailable when there is none."""
        held = self._held
        if held is None:
            self._lock.acquire()
        elif self._is_fresh(now) or not self._lock.acquire(blocking=False):
            return held
        try:
            if not self._is_fresh(now):
                self._look(now)
        finally:
            self._lock.release()
        if self._held is None:
            raise StoreUnavailable("snapshot", self.failure or "")
        return self._held

    def _is_fresh(self, now: float) -> bool:
        max_age_s = self._max_age_s if self._held is not None else min(self._max_age_s, _RETRY_EMPTY_S)
        return abs(now - self._looked_at) < max_age_s

    def _look(self, now: float) -> None:
        held = self._held
        try:
            version = active_version(self._bucket)
            if held is None or held.version != version:
                keep = held.version if held is not None else None
                self._held = Snapshot.open(fetch(self._bucket, version, self._cache_dir, keep))
            self.failure = None
        except (SonaError, OSError) as error:
            self.failure = f"{type(error).__name__}: {error}"
        self._looked_at = now
