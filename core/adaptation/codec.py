"""A user's adapter as bytes: small for the hot store, exact for the cold one.

Only B factors are stored; A belongs to the base generation that the adapter names. The container (`tensors`) gives
magic, format version, sizes and checksum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation import tensors
from core.adaptation.quantize import Quantized, quantize
from core.errors import CorruptData, InvalidInput
from core.numeric.vectors import Floats, require_finite

KIND = "sona-adapter"
HOT_KINDS = {"slow": "int8", "fast": "f16"}
COLD_KINDS = {"slow": "f32", "fast": "f32"}
CODE_TYPES = {"f32": np.float32, "f16": np.float16, "int8": np.int8, "binary": np.uint8}


@dataclass(frozen=True, slots=True, eq=False)
class UserAdapter:
    """slow (d, r_slow) and fast (d, r_fast): the B factors. generation and embedding_version name the space they live
    in: an adapter of another one is projected or re-fitted, never applied as it is."""

    slow: Floats
    fast: Floats
    generation: str
    embedding_version: str
    interactions: int = 0  # that it has learned from
    version: int = 0  # grows with every save


def encode(adapter: UserAdapter, kinds: dict[str, str] | None = None) -> bytes:
    """The adapter as bytes; kinds: quantization by tier, HOT_KINDS unless told. Raises InvalidInput for non-finite
    factors."""
    kinds = kinds or HOT_KINDS
    arrays: dict[str, NDArray[Any]] = {}
    for tier in ("slow", "fast"):
        matrix = require_finite(getattr(adapter, tier), f"the {tier} factor", (len(adapter.slow), None))
        packed = quantize(matrix, kinds[tier])
        arrays[tier] = packed.codes
        arrays[f"{tier}.scales"] = packed.scales
    meta = {
        "dim": len(adapter.slow), "kinds": kinds, "generation": adapter.generation,
        "embedding": adapter.embedding_version, "interactions": adapter.interactions, "version": adapter.version,
    }  # fmt: skip
    return tensors.pack(KIND, arrays, meta)


def decode(blob: bytes) -> UserAdapter:
    """The adapter from `encode`'s bytes. Raises CorruptData for anything else, whatever way it is wrong."""
    arrays, meta = tensors.unpack(blob, KIND)
    try:
        dim, kinds = int(meta["dim"]), meta["kinds"]
        slow, fast = (_read(arrays, tier, kinds[tier], dim) for tier in ("slow", "fast"))
        generation, embedding = str(meta["generation"]), str(meta["embedding"])
        return UserAdapter(slow, fast, generation, embedding, int(meta["interactions"]), int(meta["version"]))
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise CorruptData(f"unreadable adapter: {error}") from error


def _read(arrays: dict[str, NDArray[Any]], tier: str, kind: str, dim: int) -> Floats:
    codes, scales = arrays[tier], arrays[f"{tier}.scales"]
    rows = (dim + 7) // 8 if kind == "binary" else dim
    if codes.ndim != 2 or len(codes) != rows or codes.dtype != CODE_TYPES[kind]:
        raise CorruptData(f"the {tier} factor is {codes.dtype} {codes.shape}, not {kind} of {dim} rows")
    if scales.shape != ((codes.shape[1],) if kind in ("int8", "binary") else (0,)):
        raise CorruptData(f"the {tier} factor has {scales.shape} scales")
    return Quantized(kind, dim, codes, scales).dequantize()
