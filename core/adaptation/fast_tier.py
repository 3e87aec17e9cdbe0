"""A user's fast tier: rank 2, learned from one interaction at once, and trusted only while it foretells.

Only B is the user's; A belongs to the base generation (core.adaptation.space). Each event first tests the tier and then
teaches it (prequential evaluation, Dawid 1984): the running mean of what the tier gained on events that it had not seen
decides whether requests apply it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.adaptation.signal import BASELINE_START
from core.adaptation.space import Space

TEMPERATURE = 0.2  # of the scores in the loss, as in the slow tier's training
GAIN_RATE = 0.1  # of the running mean: about the last ten events count
RATE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class FastTier:
    """B (d, r) float16 in the space of `generation`. gain: running mean of the drop in loss on the event that came
    next, in nats; baseline: running mean of outcomes; updates: events that it has learned from."""

    generation: str
    B: NDArray[np.float16]
    gain: float = 0.0
    updates: int = 0
    baseline: float = BASELINE_START

    @property
    def useful(self) -> bool:
        """Whether it has foretold better than nothing: only then do requests apply it."""
        return self.updates > 1 and self.gain > 0.0


def fresh_tier(space: Space) -> FastTier:
    """A tier that changes nothing yet."""
    return FastTier(space.generation, np.zeros((space.A_fast.shape[1], space.A_fast.shape[0]), np.float16))
