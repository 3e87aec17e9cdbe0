"""The manifest of a snapshot folder: what belongs to it and how to tell that it is whole.

`manifest.json` names the format, the version, the parameters of the build, and every other file with size and sha256.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import CorruptData

FORMAT = "sona-snapshot/1"
MANIFEST = "manifest.json"
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the snapshot: its size in bytes and its sha256 in hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot folder holds. `created_at` is Unix seconds; `files` does not name the manifest itself."""

    version: str
    created_at: float
    items: int
    dims: int
    parameters: dict[str, Any]
    counts: dict[str, int]
    files: dict[str, FileEntry]


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def describe_files(folder: Path) -> dict[str, FileEntry]:
    """Size and hash of every file in the folder but the manifest, by name."""
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return {path.name: FileEntry(path.stat().st_size, sha256_of(path)) for path in paths}


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON; the same manifest always gives the same bytes."""
    record = {name: getattr(manifest, name) for name in ("version", "created_at", "items", "dims")}
    record |= {"format": FORMAT, "parameters": manifest.parameters, "counts": manifest.counts}
    record["files"] = {
        name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in sorted(manifest.files.items())
    }
    return json.dumps(record, sort_keys=True, indent=1).encode() + b"\n"


def from_bytes(data: bytes) -> Manifest:
    """Inverse of `to_bytes`. Raises CorruptData for anything that is not a manifest of this format."""
    try:
        record = json.loads(data)
        if record["format"] != FORMAT:
            raise CorruptData(f"snapshot format {record['format']!r} is not {FORMAT}")
        files = {name: FileEntry(int(entry["bytes"]), str(entry["sha256"])) for name, entry in record["files"].items()}
        manifest = Manifest(
            version=record["version"],
            created_at=float(record["created_at"]),
            items=int(record["items"]),
            dims=int(record["dims"]),
            parameters=dict(record["parameters"]),
            counts=dict(record["counts"]),
            files=files,
        )
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CorruptData(f"not a snapshot manifest: {error!r}") from error
    # Names become paths in the cache, so nothing may point outside it.
    if not all(isinstance(name, str) and _VERSION.fullmatch(name) for name in (manifest.version, *manifest.files)):
        raise CorruptData("a snapshot manifest names an impossible version or file")
    return manifest


def is_version(name: str) -> bool:
    """Whether `name` can be a snapshot's version: one path component of letters, digits, dots, dashes, underscores."""
    return _VERSION.fullmatch(name) is not None


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest, with every listed file present in its full size. Raises CorruptData."""
    try:
        manifest = from_bytes((folder / MANIFEST).read_bytes())
        for name, entry in manifest.files.items():
            if (size := (folder / name).stat().st_size) != entry.bytes:
                raise CorruptData(f"{name} of snapshot {manifest.version} has {size} bytes instead of {entry.bytes}")
    except FileNotFoundError as error:
        raise CorruptData(f"snapshot file {error.filename} is missing") from error
    return manifest


def verify(folder: Path) -> Manifest:
    """Check size and sha256 of every file of the snapshot. Raises CorruptData naming the first wrong one."""
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        if sha256_of(folder / name) != entry.sha256:
            raise CorruptData(f"{name} of snapshot {manifest.version} has the wrong sha256")
    return manifest
