"""Rate limits shared by all instances: one key a caller and route, counted and judged by one atomic script."""

from __future__ import annotations

import hashlib
from typing import Any

import redis

from core.stores.valkey import translated

# Generic cell rate algorithm (ITU-T I.371): the key holds when the bucket is full again, in milliseconds of the
# server's clock, so that instances need not agree on the time. KEYS: bucket. ARGV: milliseconds per call, burst, calls.
# Returns the milliseconds to wait, 0 when the calls are granted.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local interval, burst, calls = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + calls * interval
local wait = full_at - burst * interval - now
if wait > 0.5 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.ceil(full_at - now) + 1)
return 0
"""


class ValkeyRateLimits:
    """RateLimits over Valkey. A key names its caller by a hash and is gone when the bucket is full."""

    def __init__(self, valkey: redis.Redis) -> None:
        self._take = valkey.register_script(_TAKE)

    def take(self, caller: str, route: str, per_second: float, burst: int, calls: int) -> float:
        name = hashlib.blake2b(caller.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        with translated():
            wait_ms: Any = self._take(keys=[f"rate:{{{name}}}:{route}"], args=[1000.0 / per_second, burst, calls])
        return float(wait_ms) / 1000.0
