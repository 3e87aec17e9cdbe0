"""Adapter and embedding matrices in fewer bits, with the loss measured: f32 -> f16 -> int8 -> binary.

| kind | bytes per weight | how |
|------|------------------|-----|
| f32 | 4 | as it is |
| f16 | 2 | rounded |
| int8 | 1 | symmetric, one scale per column: max |column| / 127 |
| binary | 1/8 | signs, one scale per column: mean |column| (XNOR-Net, Rastegari et al. 2016: the least-squares best) |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.numeric.vectors import Floats

KINDS = ("f32", "f16", "int8", "binary")  # most to least precise
USES_PER_DAY = {"f32": 24.0, "f16": 1.0, "int8": 1.0 / 7.0}  # at least so many; below the last: binary


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix (rows, columns) in one of KINDS. codes: the values, int8 codes, or sign bits packed along the rows."""

    kind: str
    rows: int
    codes: NDArray[Any]
    scales: Floats  # (columns,); empty for f32 and f16

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return int(self.codes.nbytes + self.scales.nbytes)

    def dequantize(self) -> Floats:
        """The matrix (rows, columns) as float32."""
        if self.kind == "binary":
            signs = np.unpackbits(self.codes, axis=0, count=self.rows).astype(np.float32) * 2 - 1
            return np.asarray(signs * self.scales, dtype=np.float32)
        values = self.codes.astype(np.float32)
        return values * self.scales if self.kind == "int8" else values


def quantize(matrix: Floats, kind: str) -> Quantized:
    """`matrix` (rows, columns) in `kind`. Raises InvalidInput for an unknown kind or values beyond its range."""
    if matrix.ndim != 2 or kind not in KINDS:
        raise InvalidInput(f"cannot quantize shape {matrix.shape} as {kind!r}; kinds are {', '.join(KINDS)}")
    no_scales, rows = np.empty(0, dtype=np.float32), len(matrix)
    magnitude = np.abs(matrix)
    if kind == "f32":
        return Quantized(kind, rows, np.array(matrix, dtype=np.float32), no_scales)
    if kind == "f16":
        if magnitude.max(initial=0.0) > np.finfo(np.float16).max:
            raise InvalidInput("a value is too large for f16")
        return Quantized(kind, rows, matrix.astype(np.float16), no_scales)
    if kind == "int8":
        scales = (magnitude.max(axis=0, initial=0.0) / 127.0).astype(np.float32)
        codes = np.rint(matrix / np.where(scales > 0, scales, 1)).clip(-127, 127).astype(np.int8)
        return Quantized(kind, rows, codes, scales)
    scales = (magnitude.mean(axis=0) if rows else np.zeros(matrix.shape[1])).astype(np.float32)
    return Quantized(kind, rows, np.packbits(matrix >= 0, axis=0), scales)


def loss(matrix: Floats, quantized: Quantized) -> float:
    """Relative error |matrix - quantized| / |matrix| (Frobenius); 0 for a zero matrix."""
    size = float(np.linalg.norm(matrix))
    return float(np.linalg.norm(matrix - quantized.dequantize())) / size if size > 0 else 0.0


def kind_for_use(uses_per_day: float) -> str:
    """The kind that the frequency of use deserves: what is read all day stays precise, what sleeps may shrink."""
    return next((kind for kind, least in USES_PER_DAY.items() if uses_per_day >= least), "binary")


def compress(matrix: Floats, uses_per_day: float, max_loss: float = 0.05) -> tuple[Quantized, float]:
    """`matrix` in the smallest kind that its use allows and whose measured loss is at most `max_loss`; and that
    loss."""
    for kind in reversed(KINDS[: KINDS.index(kind_for_use(uses_per_day)) + 1]):
        candidate = quantize(matrix, kind)
        lost = loss(matrix, candidate)
        if lost <= max_loss:
            return candidate, lost
    return quantize(matrix, "f32"), 0.0
