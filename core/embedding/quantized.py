"""Embedding rows in fewer bits, searched as they are.

| kind | bytes for d = 384 | how a row is kept | how a query meets it |
|--------|------|------------------------------------------|----------------------------------------------|
| f32 | 1536 | as it is | one product |
| f16 | 768 | rounded | widened in blocks, then the product |
| int8 | 388 | codes x (largest component / 127) | widened in blocks, product x scale |
| binary | 48 | signs | share of equal signs, then exact on the best |

Measured by tests/benchmarks/bench_embeddings.py. int8 is what snapshots carry: as quick as f32 in a quarter of the
memory, and within .01 of the cosine. NumPy widens halves so slowly that f16 is many times slower than both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

KINDS = ("f32", "f16", "int8", "binary")
BLOCK = 2048  # rows that are widened at a time: 3 MB in float32, which stays in the cache
RESCORED = 8  # times k: candidates by sign bits of which the exact cosine is computed
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedRows:
    """n unit vectors of d dimensions in one of KINDS; rows of zeros are no vectors. codes: (n, d), binary (n, d / 8);
    scales: (n,) for int8, else empty."""

    kind: str
    codes: NDArray[Any]
    scales: Floats

    @property
    def bytes_per_row(self) -> float:
        """Codes and scales."""
        return float((self.codes.nbytes + self.scales.nbytes) / max(len(self.codes), 1))

    def cosine(self, query: Floats) -> Floats:
        """(n,) similarity to a unit vector (d,); for binary estimated from the angle that equal signs speak for, by
        P(equal) = 1 - angle / pi (Goemans & Williamson 1995)."""
        if self.kind == "f32":
            return np.asarray(self.codes @ query, np.float32)
        if self.kind == "binary":
            return np.cos(np.pi * self._different(query) / len(query), dtype=np.float32)
        found = np.empty(len(self.codes), np.float32)
        for start in range(0, len(found), BLOCK):
            found[start : start + BLOCK] = self.codes[start : start + BLOCK].astype(np.float32) @ query
        return found * self.scales if self.kind == "int8" else found

    def _different(self, query: Floats) -> NDArray[np.uint16]:
        """(n,) number of components with another sign than the query's."""
        signs = np.packbits(query > 0)
        if signs.size % 8 == 0:
            wide = np.ascontiguousarray(self.codes).view(np.uint64) ^ signs.view(np.uint64)
        else:
            wide = self.codes ^ signs
        return np.bitwise_count(wide).sum(axis=1, dtype=np.uint16)


def quantize_rows(vectors: Floats, kind: str) -> QuantizedRows:
    """(n, d) vectors in `kind`. Raises InvalidInput for an unknown one."""
    none = np.empty(0, np.float32)
    if kind == "f32":
        return QuantizedRows(kind, np.asarray(vectors, np.float32), none)
    if kind == "f16":
        return QuantizedRows(kind, vectors.astype(np.float16), none)
    if kind == "binary":
        return QuantizedRows(kind, np.packbits(vectors > 0, axis=1), none)
    if kind != "int8":
        raise InvalidInput(f"{kind!r} is not one of {', '.join(KINDS)}")
    scales = (np.abs(vectors).max(axis=1, initial=0.0) / 127).astype(np.float32)
    return QuantizedRows(kind, np.rint(vectors / np.where(scales > 0, scales, 1)[:, None]).astype(np.int8), scales)


def nearest(rows: QuantizedRows, query: Floats, k: int, exact: QuantizedRows | None = None) -> NDArray[np.int64]:
    """Rows of the k largest cosines, best first. exact: rescores the RESCORED x k best of `rows`, if given."""
    scores = rows.cosine(query)
    if exact is not None:
        best = _largest(scores, RESCORED * k)
        some = QuantizedRows(exact.kind, exact.codes[best], exact.scales[best] if len(exact.scales) else exact.scales)
        return best[_largest(some.cosine(query), k)]
    return _largest(scores, k)


def _largest(scores: Floats, k: int) -> NDArray[np.int64]:
    rows = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
    return rows[np.argsort(-scores[rows], kind="stable")]
