"""Base generations in a bucket: `generations/<name>/` holds one with its manifest, `generations/ACTIVE` names the one
that the next snapshot is built with."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.adaptation.generation import Generation, from_bytes, to_bytes
from core.errors import CorruptData, NotFound
from core.snapshot.manifest import MANIFEST, is_version
from core.stores.protocols import Bucket

FORMAT = "sona-generation/1"
FILE = "generation.bin"
_ROOT = "generations"
ACTIVE = f"{_ROOT}/ACTIVE"


def named(generation: Generation, now: float) -> Generation:
    """The generation with the name it is published under: the time `now` (Unix seconds) and a hash of what it holds."""
    digest = hashlib.sha256(to_bytes(replace(generation, name=""))).hexdigest()
    return replace(generation, name=f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{digest[:8]}")


def publish_generation(bucket: Bucket, generation: Generation, facts: Mapping[str, Any]) -> int:
    """Upload a named generation, the manifest with `facts` (JSON) last: what has one is whole. Returns its bytes.

    Publishing the same one again does nothing.
    """
    data = to_bytes(generation)
    manifest = {
        "format": FORMAT,
        "name": generation.name,
        "facts": dict(facts),
        "files": {FILE: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
    }
    try:
        bucket.read(_object(generation.name, MANIFEST))
    except NotFound:
        bucket.write(_object(generation.name, FILE), data)
        bucket.write(_object(generation.name, MANIFEST), json.dumps(manifest, sort_keys=True, indent=1).encode())
    return len(data)


def list_generations(bucket: Bucket) -> list[str]:
    """Names of the generations that are published whole, oldest first."""
    parts = [name.split("/") for name in bucket.list(f"{_ROOT}/")]
    return sorted(part[1] for part in parts if len(part) == 3 and part[2] == MANIFEST)


def active_generation(bucket: Bucket) -> tuple[str | None, int]:
    """Name of the active generation, None before the first, and the pointer's object generation for `activate`."""
    try:
        data, pointer = bucket.read(ACTIVE)
    except NotFound:
        return None, 0
    name = data.decode(errors="replace").strip()
    if not is_version(name):
        raise CorruptData(f"{ACTIVE} names no generation: {name[:40]!r}")
    return name, pointer


def activate_generation(bucket: Bucket, name: str, pointer: int) -> None:
    """Let the next snapshots be built with a published generation; also the way back to an older one.

    pointer: what `active_generation` gave. Raises NotFound for a generation that is not published, Conflict when
    another has been activated since then.
    """
    if not is_version(name):
        raise NotFound(f"generation {name!r} is not published")
    bucket.read(_object(name, MANIFEST))
    bucket.write(ACTIVE, name.encode(), if_generation=pointer)


def load_generation(bucket: Bucket, name: str) -> Generation:
    """A published generation. Raises NotFound, and CorruptData when the bytes are not the manifest's."""
    try:
        manifest = json.loads(bucket.read(_object(name, MANIFEST))[0])
        expected = manifest["files"][FILE]["sha256"]
        if manifest["format"] != FORMAT or manifest["name"] != name:
            raise CorruptData(f"the manifest of generation {name} is another's")
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"not a manifest of a base generation: {error!r}") from error
    with TemporaryDirectory() as workplace:
        path = Path(workplace) / FILE
        bucket.download(_object(name, FILE), path)
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected:
        raise CorruptData(f"{FILE} of generation {name} has the wrong sha256")
    generation = from_bytes(data)
    if generation.name != name:
        raise CorruptData(f"generation {name} calls itself {generation.name}")
    return generation


def _object(name: str, file: str) -> str:
    return f"{_ROOT}/{name}/{file}"
