"""Binary form of a user state: deterministic, checked, without pickle.

Layout, little-endian: magic, crc32 of the rest, seq, lengths of the three parts, event counts, then JSON of the
onboarding, history entries and seen keys. Equal states give equal bytes: a replay can be compared byte for byte.
"""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np

from core.errors import CorruptData
from core.interaction import Onboarding, from_record, to_record
from core.profile.state import ENTRY, HISTORY_LIMIT, SEEN_LIMIT, TYPES, UserState

_MAGIC = b"SUS1"
_HEAD = struct.Struct(f"<4sIQIII{len(TYPES)}I")
_CHECKED_FROM = 8  # the checksum covers everything after itself


def encode(state: UserState) -> bytes:
    about = json.dumps(to_record(state.onboarding), sort_keys=True).encode() if state.onboarding else b""
    counts = (len(about), len(state.history), len(state.seen), *state.counts)
    body = about + state.history.tobytes() + state.seen.astype("<u8").tobytes()
    head = _HEAD.pack(_MAGIC, 0, state.seq, *counts)
    checksum = zlib.crc32(head[_CHECKED_FROM:] + body)
    return _HEAD.pack(_MAGIC, checksum, state.seq, *counts) + body


def decode(user_id: str, blob: bytes) -> UserState:
    """Inverse of `encode`. Raises CorruptData for bytes that it did not write."""
    if len(blob) < _HEAD.size or blob[:4] != _MAGIC:
        raise CorruptData("not a user state")
    _, checksum, seq, about_bytes, entries, seen, *counts = _HEAD.unpack_from(blob)
    size = _HEAD.size + about_bytes + entries * ENTRY.itemsize + seen * 8
    if size != len(blob) or entries > HISTORY_LIMIT or seen > SEEN_LIMIT:
        raise CorruptData(f"user state of {len(blob)} bytes should have {size}")
    if zlib.crc32(blob[_CHECKED_FROM:]) != checksum:
        raise CorruptData("user state fails its checksum")
    start = _HEAD.size + about_bytes
    history = np.frombuffer(blob, ENTRY, entries, start)
    keys = np.frombuffer(blob, "<u8", seen, start + entries * ENTRY.itemsize)
    onboarding = _onboarding(user_id, blob[_HEAD.size : start]) if about_bytes else None
    return UserState(user_id, seq, history, keys, tuple(counts), onboarding)


def _onboarding(user_id: str, blob: bytes) -> Onboarding:
    event = from_record({**json.loads(blob), "user_id": user_id})
    if not isinstance(event, Onboarding):
        raise CorruptData("user state holds no onboarding where one should be")
    return event
