"""What an outcome teaches: reward, running baseline, advantage, and the signal that carries them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from core.adaptation.trajectory import Trajectory
from core.errors import InvalidInput
from core.numeric.vectors import Floats, require_finite, require_number, unit

BASELINE_START = 0.5
BASELINE_RATE = 0.1
PATIENCE_MS = 10_000.0  # an answer that took this long is worth half


@dataclass(slots=True)
class Baseline:
    """Running mean of outcomes. Starting at the middle, first outcomes already teach; equal ones fade out."""

    value: float = BASELINE_START
    rate: float = BASELINE_RATE

    def advantage(self, outcome: float) -> float:
        """The outcome minus the baseline, which then moves towards the outcome."""
        advantage = outcome - self.value
        self.value += self.rate * advantage
        return advantage


def clamp_quality(quality: object) -> float:
    """A finite quality, clamped to [0, 1]. Raises InvalidInput."""
    return min(max(require_number(quality, "quality"), 0.0), 1.0)


def outcome_of(success: bool, latency_ms: object, quality: object) -> float:
    """The outcome of a request in [0, 1]: nothing for a failure, else the quality, discounted by the time it took."""
    latency = require_number(latency_ms, "latency_ms")
    if latency < 0:
        raise InvalidInput(f"latency_ms is {latency}")
    reward = clamp_quality(quality)
    return reward / (1.0 + latency / PATIENCE_MS) if success else 0.0


@dataclass(frozen=True, slots=True)
class LearningSignal:
    """One lesson. `LearningSignal(gradient, importance, timestamp)` is the explicit form: move the output along
    `gradient` (d,), away from it if `importance` is negative; lengths and importances above 1 are clipped to 1. The
    class methods name no gradient: the engine takes the trajectory's action.

    outcome: compared with the running baseline; advantage: used as it is; quality: for the record.
    """

    gradient: Floats | None = None
    importance: float = 1.0
    timestamp: float = field(default_factory=time.time)
    quality: float | None = None
    outcome: float | None = None
    advantage: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "importance", min(max(require_number(self.importance, "importance"), -1.0), 1.0))
        object.__setattr__(self, "timestamp", require_number(self.timestamp, "timestamp"))
        if self.gradient is not None:
            object.__setattr__(self, "gradient", require_finite(self.gradient, "gradient", (None,)))

    @classmethod
    def from_feedback(cls, success: bool, latency_ms: float, quality: float) -> LearningSignal:
        """Feedback on a request: its advantage is its outcome minus the engine's running baseline."""
        return cls(quality=clamp_quality(quality), outcome=outcome_of(success, latency_ms, quality))

    @classmethod
    def positive(cls, latency_ms: float = 0.0, quality: float = 1.0) -> LearningSignal:
        """Praise: always pushes towards the action, the more the better and faster it was."""
        return cls(quality=clamp_quality(quality), advantage=0.5 * outcome_of(True, latency_ms, quality))

    @classmethod
    def negative(cls, latency_ms: float = 0.0, quality: float = 0.0) -> LearningSignal:
        """Blame: always pushes away from the action, the more the worse it was."""
        outcome = outcome_of(True, latency_ms, quality)
        return cls(quality=clamp_quality(quality), advantage=-0.5 * (1.0 - outcome))

    @classmethod
    def from_trajectory(cls, trajectory: Trajectory, baseline: float | None = None) -> LearningSignal:
        """REINFORCE (Williams 1992): the unit direction of (quality - baseline) x action + the steps' contrast, with
        its length as importance. Without a baseline the advantage that the engine gave at its end is used.

        Equal step scores and a quality at the baseline teach nothing: gradient and importance are 0.
        """
        pull = trajectory.pull
        if baseline is not None:
            pull = pull + (trajectory.quality - baseline - trajectory.advantage) * trajectory.action
        length = math.sqrt(float(pull.dot(pull)))
        return cls(unit(pull), length, quality=trajectory.quality)
