"""Binary form of a user state: deterministic, checked, without pickle.

Layout, little-endian: magic, crc32 of the rest, seq, lengths of the parts, event counts, what is pending, then JSON of
the onboarding, history entries, seen keys and the fast tier. Equal states give equal bytes: a replay can be compared
byte for byte, the facts (all but the fast tier) even across snapshots.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import replace

import numpy as np

from core.adaptation.fast_tier import FastTier
from core.errors import CorruptData
from core.interaction import Onboarding, from_record, to_record
from core.profile.state import ENTRY, HISTORY_LIMIT, SEEN_LIMIT, TYPES, Pending, UserState

_MAGIC = b"SUS2"
_HEAD = struct.Struct(f"<4sIQIIII{len(TYPES)}IIddQ")
_CHECKED_FROM = 8  # the checksum covers everything after itself
_FAST = struct.Struct("<HHHId")  # generation's length, d, r, updates, gain


def encode(state: UserState) -> bytes:
    """The same bytes for equal states; the checksum is over all that follows it."""
    about = json.dumps(to_record(state.onboarding), sort_keys=True).encode() if state.onboarding else b""
    fast = _encode_fast(state.fast) if state.fast else b""
    pending = state.pending
    asked_at = math.nan if pending.asked_at is None else pending.asked_at
    lengths = (len(about), len(state.history), len(state.seen), len(fast))
    counts = (*lengths, *state.counts, pending.interactions, pending.signal, asked_at, pending.asked_seq)
    body = about + state.history.tobytes() + state.seen.astype("<u8").tobytes() + fast
    head = _HEAD.pack(_MAGIC, 0, state.seq, *counts)
    checksum = zlib.crc32(head[_CHECKED_FROM:] + body)
    return _HEAD.pack(_MAGIC, checksum, state.seq, *counts) + body


def encode_facts(state: UserState) -> bytes:
    """The bytes of what follows from the log alone: everything but the fast tier, which depends on the snapshot too."""
    return encode(replace(state, fast=None))


def decode(user_id: str, blob: bytes) -> UserState:
    """Inverse of `encode`. Raises CorruptData for bytes that it did not write."""
    if len(blob) < _HEAD.size or blob[:4] != _MAGIC:
        raise CorruptData("not a user state")
    _, checksum, seq, about_bytes, entries, seen, fast_bytes, *rest = _HEAD.unpack_from(blob)
    size = _HEAD.size + about_bytes + entries * ENTRY.itemsize + seen * 8 + fast_bytes
    if size != len(blob) or entries > HISTORY_LIMIT or seen > SEEN_LIMIT:
        raise CorruptData(f"user state of {len(blob)} bytes should have {size}")
    if zlib.crc32(memoryview(blob)[_CHECKED_FROM:]) != checksum:
        raise CorruptData("user state fails its checksum")
    start = _HEAD.size + about_bytes
    history = np.frombuffer(blob, ENTRY, entries, start)
    keys = np.frombuffer(blob, "<u8", seen, start + entries * ENTRY.itemsize)
    onboarding = _onboarding(user_id, blob[_HEAD.size : start]) if about_bytes else None
    *counts, interactions, signal, asked_at, asked_seq = rest
    pending = Pending(interactions, signal, None if math.isnan(asked_at) else asked_at, asked_seq)
    fast = _decode_fast(blob[size - fast_bytes :]) if fast_bytes else None
    return UserState(user_id, seq, history, keys, tuple(counts), onboarding, pending, fast)


def _onboarding(user_id: str, blob: bytes) -> Onboarding:
    event = from_record({**json.loads(blob), "user_id": user_id})
    if not isinstance(event, Onboarding):
        raise CorruptData("user state holds no onboarding where one should be")
    return event


def _encode_fast(fast: FastTier) -> bytes:
    name, (d, r) = fast.generation.encode(), fast.B.shape
    return _FAST.pack(len(name), d, r, fast.updates, fast.gain) + name + fast.B.astype("<f2").tobytes()


def _decode_fast(blob: bytes) -> FastTier:
    """A tier that is not finite is kept as it is: requests refuse it by name, and the next event starts it anew."""
    if len(blob) < _FAST.size:
        raise CorruptData("the fast tier of a user state is too short")
    length, d, r, updates, gain = _FAST.unpack_from(blob)
    start = _FAST.size + length
    if len(blob) != start + 2 * d * r:
        raise CorruptData(f"the fast tier of a user state has {len(blob)} bytes for {d} x {r} weights")
    weights = np.frombuffer(blob, "<f2", d * r, start).reshape(d, r)
    return FastTier(blob[_FAST.size : start].decode(), weights, gain, updates)
