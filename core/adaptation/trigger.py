"""When is a user's slow tier worth adapting? When enough happened, not too soon after the last time, and it meant
something."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """All three must be met."""

    interactions: int = 5  # since the last adaptation
    interval_s: float = 3600.0  # since the last adaptation
    signal: float = 0.7  # sum of |signal strength|, to be exceeded


def adaptation_due(
    interactions: int, signal: float, now_s: float, last_adapted_s: float | None, thresholds: Thresholds | None = None
) -> bool:
    """True if an adaptation is due.

    interactions and signal (the accumulated absolute strength): since the last adaptation, which was at last_adapted_s
    (None = never, then no time needs to pass).
    """
    needed = thresholds or Thresholds()
    rested = last_adapted_s is None or now_s - last_adapted_s >= needed.interval_s
    return interactions >= needed.interactions and rested and signal > needed.signal
