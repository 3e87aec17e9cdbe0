"""RouteCounters in Valkey: one hash of sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from core.stores.valkey import translated

KEY = "routing:{counters}"
SINCE = "since"
TTL_S = 90 * 86_400  # since the last increment


class ValkeyRouteCounters:
    """Fields are names of sums, bounded by the numbers of routes, models and attention mechanisms."""

    def __init__(self, valkey: redis.Redis) -> None:
        self._valkey = valkey

    def add(self, increments: Mapping[str, float], now: float) -> None:
        with translated():
            pipeline = self._valkey.pipeline(transaction=True)
            pipeline.hsetnx(KEY, SINCE, repr(now))
            for name, amount in increments.items():
                pipeline.hincrbyfloat(KEY, name, amount)
            pipeline.expire(KEY, TTL_S)
            pipeline.execute()

    def read(self) -> tuple[dict[str, float], float | None]:
        with translated():
            stored: Any = self._valkey.hgetall(KEY)
        counts = {name.decode(): float(value) for name, value in stored.items()}
        return counts, counts.pop(SINCE, None)
