"""A model as a folder: `model.onnx`, what goes with it, and a manifest with the sha256 of every file.

What is run is exactly what was verified: files are read once, hashed, and the session is made from those bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.embedding.onnx_format import has_external_data
from core.errors import CorruptData

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT = "sona-model/1"
MANIFEST = "manifest.json"
MODEL = "model.onnx"
MAX_BYTES = 512 << 20  # of one file: an instance's memory, /tmp included
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """kind: what the model is for (`text-encoder`...); facts: what its user must know (dims, pooling...);
    files: name -> sha256 in hex and size in bytes."""

    kind: str
    version: str
    facts: dict[str, Any]
    files: dict[str, tuple[str, int]]


def is_model_version(name: str) -> bool:
    """Whether `name` is one path component of letters, digits, dots, dashes and underscores."""
    return _NAME.fullmatch(name) is not None


def write_manifest(folder: Path, kind: str, version: str, facts: Mapping[str, Any]) -> ModelManifest:
    """Describe every file of the folder; the manifest is written last, so that a folder that has one is whole."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    record = {"format": FORMAT, "kind": kind, "version": version, "facts": dict(facts), "files": files}
    data = json.dumps(record, sort_keys=True, indent=1).encode() + b"\n"
    (folder / MANIFEST).write_bytes(data)
    return parse_manifest(data)


def parse_manifest(data: bytes) -> ModelManifest:
    """Raises CorruptData for anything that is not a manifest of this format, or one whose names lead elsewhere."""
    try:
        record = json.loads(data)
        if record["format"] != FORMAT:
            raise CorruptData(f"model format {record['format']!r} is not {FORMAT}")
        manifest = ModelManifest(
            kind=str(record["kind"]),
            version=str(record["version"]),
            facts=dict(record["facts"]),
            files={str(name): (str(entry["sha256"]), int(entry["bytes"])) for name, entry in record["files"].items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CorruptData(f"not a manifest of a model: {error!r}") from error
    if not all(is_model_version(name) for name in (manifest.version, *manifest.files)):
        raise CorruptData("a model manifest names an impossible version or file")
    return manifest


def read_manifest(folder: Path) -> ModelManifest:
    """The folder's manifest. Raises CorruptData, for a missing one too."""
    try:
        return parse_manifest((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise CorruptData(f"the manifest of a model cannot be read: {error}") from error


def read_verified(
    folder: Path, kind: str, files: Collection[str] = (), facts: Collection[str] = ()
) -> tuple[ModelManifest, dict[str, bytes]]:
    """The manifest and the bytes of every file it names, checked against it.

    Raises CorruptData for a missing, truncated, oversized or changed file, for a model of another kind, and for one
    without the `files` and `facts` that the caller reads.
    """
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        raise CorruptData(f"model {manifest.version} is a {manifest.kind!r}, not a {kind!r}")
    if missing := {*files} - manifest.files.keys() | {*facts} - manifest.facts.keys():
        raise CorruptData(f"model {manifest.version} lacks {', '.join(sorted(missing))}")
    return manifest, {name: _verified(folder, manifest, name) for name in manifest.files}


def _verified(folder: Path, manifest: ModelManifest, name: str) -> bytes:
    digest, size = manifest.files[name]
    try:
        if (found := (folder / name).stat().st_size) != size or size > MAX_BYTES:
            raise CorruptData(f"{name} of model {manifest.version} has {found} bytes instead of {size}")
        data = (folder / name).read_bytes()
    except OSError as error:
        raise CorruptData(f"{name} of model {manifest.version} cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptData(f"{name} of model {manifest.version} has the wrong sha256")
    return data


def open_session(model: bytes, threads: int) -> InferenceSession:
    """A CPU session over a serialised model, with `threads` for one run. Raises CorruptData for a model that keeps
    weights in other files, or that onnxruntime refuses."""
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    if has_external_data(model):
        raise CorruptData("an ONNX model wants to read its weights from another file")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about the host's processors say nothing about the model
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # two cores are shared with other requests
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except (
        refusals.Fail,
        refusals.InvalidArgument,
        refusals.InvalidGraph,
        refusals.InvalidProtobuf,
        refusals.NotImplemented,
        refusals.RuntimeException,
    ) as error:
        raise CorruptData(f"onnxruntime refuses the model: {error}") from error
