"""Composed answers kept in Valkey for a short while: one hash a user, `rec:{pseudonym}`, so that erasing is one key."""

from __future__ import annotations

from typing import Any

import redis

from core.stores.pseudonyms import UNKEYED, Pseudonyms
from core.stores.valkey import keys_of, translated

KEPT = 16  # answers of one user; those of older states are of no use to anybody
SHARED = "rec:{anyone}"  # of viewers of whom nothing is known: tags of users are hexadecimal
KEPT_SHARED = 512

# KEYS: answers, tombstone. ARGV: name, answer, milliseconds to live, most answers. Nothing is kept of an erased user.
_PUT = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class ValkeyAnswers:
    """Answers. The whole hash lives for `ttl_s` after its latest change; how old one answer may be is for readers."""

    def __init__(self, valkey: redis.Redis, ttl_s: float, pseudonyms: Pseudonyms = UNKEYED) -> None:
        self._valkey = valkey
        self._ttl_ms = max(1, round(1000 * ttl_s))
        self._pseudonyms = pseudonyms
        self._put = valkey.register_script(_PUT)

    def get(self, user_id: str | None, name: bytes) -> bytes | None:
        key, _ = self._keys(user_id)
        with translated():
            found: Any = self._valkey.hget(key, name)
        return found

    def put(self, user_id: str | None, name: bytes, answer: bytes) -> None:
        key, tombstone = self._keys(user_id)
        most = KEPT_SHARED if user_id is None else KEPT
        with translated():
            self._put(keys=[key, tombstone], args=[name, answer, self._ttl_ms, most])

    def _keys(self, user_id: str | None) -> tuple[str, str]:
        if user_id is None:
            return SHARED, f"{SHARED}:erased"
        names = keys_of(user_id, self._pseudonyms)
        return names.answers, names.tombstone
