"""A safe container for named arrays: no pickle, every size checked before anything is read, checksummed.

Layout, little-endian: magic "SONA", format version u16, zero u16, header length u32, CRC-32 u32 of all that follows, a
JSON header {kind, meta, arrays: [[name, dtype, shape], …]}, then the arrays' bytes in that order.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptData

MAGIC = b"SONA"
FORMAT = 1
PREFIX = struct.Struct("<4sHHII")
DTYPES = {name: np.dtype(f"<{name}") for name in ("f4", "f2", "f8", "i1", "i8", "u1")}


def pack(kind: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """The arrays and a JSON-able `meta` as bytes. Raises TypeError for an array type outside DTYPES."""
    described, chunks = [], []
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<").str.lstrip("<|")
        if dtype not in DTYPES:
            raise TypeError(f"array {name!r} has type {array.dtype}")
        described.append([name, dtype, list(array.shape)])
        chunks.append(np.ascontiguousarray(array, dtype="<" + dtype).tobytes())
    header = json.dumps({"kind": kind, "meta": meta, "arrays": described}, separators=(",", ":"), allow_nan=False)
    encoded = header.encode()
    body = b"".join([encoded, *chunks])
    return PREFIX.pack(MAGIC, FORMAT, 0, len(encoded), zlib.crc32(body)) + body


def unpack(blob: bytes, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays (read-only views of `blob`) and meta. Raises CorruptData for anything but an intact blob of this kind
    whose floats are all finite."""
    if len(blob) < PREFIX.size:
        raise CorruptData(f"{len(blob)} bytes are too few for a header")
    magic, version, zero, header_length, checksum = PREFIX.unpack_from(blob)
    if magic != MAGIC or zero != 0:
        raise CorruptData("not a SONA container")
    if version != FORMAT:
        raise CorruptData(f"container format {version}, this code reads {FORMAT}")
    if PREFIX.size + header_length > len(blob) or zlib.crc32(memoryview(blob)[PREFIX.size :]) != checksum:
        raise CorruptData("the container is truncated or damaged")
    described, meta = _read_header(blob[PREFIX.size : PREFIX.size + header_length], kind)
    offset, arrays = PREFIX.size + header_length, {}
    for name, dtype, shape in described:
        count, stored = math.prod(shape), DTYPES[dtype]
        size = count * stored.itemsize
        if offset + size > len(blob):
            raise CorruptData(f"array {name!r} is longer than the container")
        array = arrays[name] = np.frombuffer(blob, stored, count, offset).reshape(shape)
        if stored.kind == "f" and not np.isfinite(array).all():
            raise CorruptData(f"array {name!r} contains NaN or infinity")
        offset += size
    if offset != len(blob):
        raise CorruptData(f"{len(blob) - offset} bytes follow the last array")
    return arrays, meta


def _read_header(encoded: bytes, kind: str) -> tuple[list[tuple[str, str, list[int]]], dict[str, Any]]:
    try:
        header = json.loads(encoded)
        described = [(str(name), str(dtype), [int(n) for n in shape]) for name, dtype, shape in header["arrays"]]
        found, meta = header["kind"], header["meta"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptData(f"unreadable container header: {error}") from error
    if found != kind:
        raise CorruptData(f"the container holds {found!r}, expected {kind!r}")
    if not isinstance(meta, dict) or any(t not in DTYPES or min(s, default=0) < 0 for _, t, s in described):
        raise CorruptData("the container header describes impossible arrays")
    return described, meta
