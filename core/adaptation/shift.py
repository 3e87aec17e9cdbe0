"""When does a new task begin? When the mean of what is observed moves by more than chance and by more than a little.

Two questions: does a new batch come from elsewhere than everything before (`ShiftDetector`, for streams of batches),
and where in a sequence that is at hand has the mean moved (`change_point`)?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptData, InvalidInput

SIGNIFICANCE = 3.0  # standard normal quantile: about one false alarm in a thousand batches
EFFECT = 0.1  # squared distance over the spread of single observations: with many samples even dust is significant
SPREAD_FLOOR = 1e-3  # of |mean|^2, so that identical observations do not make every rounding error a shift

# Of a sequence of likes: at least so many before and after the point, and a stricter quantile, as many are tried.
# Constructed shifts (core.evaluation.taste_shift) found, and points found in a user who was not shifted: MovieTweetings
# 100 % and .20, simulated 93 % and .05; at quantile 3, 100 % and .46, 97 % and .18; at 5, 100 % and .08, 75 % and .01.
BEFORE, AFTER, POINT_SIGNIFICANCE = 10, 5, 4.0


class ShiftDetector:
    """Running mean and total variance (Welford) of vectors (d,), compared with each new batch.

    With batch mean m of n samples against mean mu of N, E|m - mu|^2 = tr(Sigma) (1/n + 1/N) whatever the covariance, so
    one scalar variance is enough. How far chance may exceed that expectation depends on how many directions share the
    variance; it is about chi-square / k with k = tr(Sigma)^2 / tr(Sigma^2) degrees of freedom (Satterthwaite).
    """

    def __init__(self, dim: int, minimum: int = 20) -> None:
        self.mean = np.zeros(dim, dtype=np.float64)
        self.squares = 0.0  # sum of |x - mean|^2
        self.count = 0
        self.minimum = minimum  # samples needed before a shift can be called

    def is_shift(self, batch: NDArray[Any]) -> bool:
        """True if the batch (n, d) comes from elsewhere than what was observed so far. Changes nothing."""
        n = len(self._check(batch))
        if n == 0 or self.count < self.minimum:
            return False
        moved = float(((batch.mean(axis=0, dtype=np.float64) - self.mean) ** 2).sum())
        spread = self.squares / self.count + SPREAD_FLOOR * float((self.mean**2).sum()) + 1e-12
        expected = spread * (1.0 / n + 1.0 / self.count)
        return moved > chi_square_ratio(degrees_of_freedom(batch)) * expected and moved > EFFECT * spread

    def observe(self, batch: NDArray[Any]) -> None:
        """Add a batch (n, d) to what is known."""
        n = len(self._check(batch))
        if n == 0:
            return
        mean = batch.mean(axis=0, dtype=np.float64)
        between = float(((mean - self.mean) ** 2).sum())
        self.squares += float(((batch - mean) ** 2).sum()) + between * n * self.count / (n + self.count)
        self.mean += (mean - self.mean) * (n / (n + self.count))
        self.count += n

    def reset(self) -> None:
        """Forget everything: a new task has begun."""
        self.mean[:] = 0.0
        self.squares, self.count = 0.0, 0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The state as named arrays."""
        return {"mean": self.mean, "moments": np.array([self.squares, self.count], dtype=np.float64)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `to_arrays` gave."""
        if arrays["mean"].shape != self.mean.shape:
            raise CorruptData(f"stored shift statistics have {arrays['mean'].shape} dimensions")
        self.mean = np.array(arrays["mean"], dtype=np.float64)
        self.squares, self.count = float(arrays["moments"][0]), int(arrays["moments"][1])

    def _check(self, batch: NDArray[Any]) -> NDArray[Any]:
        if batch.ndim != 2 or batch.shape[1] != len(self.mean):
            raise InvalidInput(f"shift detection over {len(self.mean)} dimensions got a batch of shape {batch.shape}")
        return batch


def change_point(x: NDArray[Any]) -> int | None:
    """Where in a sequence (n, d), oldest first, the mean moved: x[:place] before, x[place:] after; None if nowhere.

    The place is the likeliest one (the largest |difference of means|^2 over what chance makes of it, Page 1955), and
    has to exceed chance as in `ShiftDetector`, at a stricter level.
    """
    n = len(x)
    if n < BEFORE + AFTER:
        return None
    sums = np.cumsum(x, axis=0, dtype=np.float64)
    places = np.arange(BEFORE, n - AFTER + 1)
    before = sums[places - 1] / places[:, None]
    after = (sums[-1] - sums[places - 1]) / (n - places)[:, None]
    moved = ((before - after) ** 2).sum(axis=1)
    squares = float(np.einsum("ij,ij->", x, x, dtype=np.float64))
    within = squares - places * (before**2).sum(axis=1) - (n - places) * (after**2).sum(axis=1)
    spread = np.maximum(within, 0.0) / n + SPREAD_FLOOR * squares / n + 1e-12
    ratio = moved / (spread * (1.0 / places + 1.0 / (n - places)))
    best = int(np.argmax(ratio))
    place = int(places[best])
    rest = np.concatenate([x[:place] - before[best], x[place:] - after[best]])
    chance = chi_square_ratio(degrees_of_freedom(rest, n), POINT_SIGNIFICANCE)
    return place if ratio[best] > chance and moved[best] > EFFECT * spread[best] else None


def degrees_of_freedom(batch: NDArray[Any], rows: int = 128) -> float:
    """tr(Sigma)^2 / tr(Sigma^2) of a batch (n, d), estimated from at most `rows` of it; from 1 to their number."""
    centred = batch[:rows] - batch[:rows].mean(axis=0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred  # the same traces
    squares = float((gram.astype(np.float64) ** 2).sum())
    return float(np.trace(gram)) ** 2 / squares if squares > 0 else 1.0


def chi_square_ratio(k: float, quantile: float = SIGNIFICANCE) -> float:
    """The value that chi-square / k exceeds as often as a standard normal exceeds `quantile` (Wilson & Hilferty
    1931)."""
    return float((1.0 - 2.0 / (9.0 * k) + quantile * np.sqrt(2.0 / (9.0 * k))) ** 3)
