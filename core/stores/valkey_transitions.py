"""Transitions in Valkey: one stream, of which about the latest MOST entries are kept. No entry says whose it was."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import redis

from core.stores.protocols import Succession
from core.stores.valkey import translated

KEY = "live:{transitions}"
FIELD = b"t"
TTL_S = 7 * 86_400  # since the last entry: by then the next snapshot has long learned all of it
MOST = 50_000  # 5 MB
_WORD = 8  # bytes of the time, and of each key


class ValkeyTransitions:
    """A place is a stream id, whose first part is the server's time: what an emptied server adds comes later."""

    def __init__(self, valkey: redis.Redis, most: int = MOST) -> None:
        self._valkey = valkey
        self._most = most

    def add(self, successions: Sequence[Succession]) -> None:
        if not successions:
            return
        with translated(), self._valkey.pipeline(transaction=True) as pipeline:
            for one in successions:
                pipeline.xadd(KEY, {FIELD: _pack(one)}, maxlen=self._most, approximate=True)
            pipeline.expire(KEY, TTL_S)
            pipeline.execute()

    def read(self, place: str | float, most: int) -> tuple[list[Succession], str]:
        start = f"({place}" if isinstance(place, str) else f"{max(int(place * 1000), 0)}-0"
        with translated():
            entries: Any = self._valkey.xrange(KEY, min=start, count=most)
        found = [_unpack(fields[FIELD]) for _, fields in entries if _readable(fields.get(FIELD, b""))]
        return found, entries[-1][0].decode() if entries else start.removeprefix("(")


def _pack(one: Succession) -> bytes:
    return struct.pack(f">d{len(one.earlier) + 1}Q", one.at, *one.earlier, one.key)


def _readable(value: bytes) -> bool:
    return len(value) >= 3 * _WORD and len(value) % _WORD == 0


def _unpack(value: bytes) -> Succession:
    at, *keys = struct.unpack(f">d{len(value) // _WORD - 1}Q", value)
    return Succession(tuple(keys[:-1]), keys[-1], at)
