"""How long the stores may hold the request under way: each wait ends when the request's time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)  # time.monotonic()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Within the block, stores are waited for until `seconds` from now at most, and refused at once after that.

    A shorter time that holds already stays in force. It belongs to this thread's work, not to other requests.
    """
    before = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(before)


def remaining_s() -> float:
    """What is left of the request's time; inf where nobody has set any."""
    ends_at = _ends_at.get()
    return math.inf if ends_at == math.inf else ends_at - time.monotonic()
