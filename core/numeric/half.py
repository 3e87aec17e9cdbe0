"""Half-precision numbers made wide: NumPy does it one by one, and a request reads tens of thousands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.numeric.vectors import Floats

FEW = 2000  # so many are made wide one by one before the six steps below have begun
MORE_MANTISSA = 13  # bits that a float32's mantissa is longer by
SIGN_AND_MAGNITUDE = np.int32(-0x7000_2000)  # of a half, widened with its sign and moved up by those bits
LESS_BIAS = np.float32(2.0**112)  # the exponents' biases are 15 and 127


def widened(halves: NDArray[np.float16]) -> Floats:
    """The same numbers, exactly, where there are many in a third of `astype`'s time; all must be finite."""
    if halves.size < FEW:
        return halves.astype(np.float32)
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= MORE_MANTISSA
    bits &= SIGN_AND_MAGNITUDE
    wide = bits.view(np.float32)
    wide *= LESS_BIAS
    return wide
