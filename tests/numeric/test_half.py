"""Half-precision numbers made wide."""

import numpy as np

from core.numeric.half import widened


def test_every_finite_half_keeps_its_value() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    np.testing.assert_array_equal(widened(every), every.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(widened(every)), np.signbit(every))


def test_what_is_widened_is_left_as_it_was() -> None:
    halves = np.array([[1.5, -0.25], [6e-8, 65504.0]] * 1000, np.float16)[:, ::-1]
    assert widened(halves).shape == (2000, 2)
    assert halves[0, 1] == np.float16(1.5)
