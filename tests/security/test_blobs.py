"""Stored bytes are never trusted: whatever a bit in them says, they are read as they were written or refused."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adaptation.codec import UserAdapter
from core.adaptation.codec import decode as decode_adapter
from core.adaptation.codec import encode as encode_adapter
from core.errors import CorruptData
from core.interaction import Interaction, InteractionType
from core.profile.codec import decode, encode
from core.profile.state import UserState, fold
from core.stores.protocols import NO_ADAPTER, StoredAdapter
from core.stores.valkey import _pack_adapter, _unpack_adapter, _unpack_state

EVENTS = [(n + 1, Interaction(str(n), "ann", f"title-{n}", InteractionType.LIKE, 1e9 + n)) for n in range(20)]
STATE = encode(fold(UserState("ann"), EVENTS))
ADAPTER = encode_adapter(
    UserAdapter(np.ones((16, 8), np.float32), np.zeros((16, 2), np.float32), "generation", "embedding")
)


def damaged(blob: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(blob)
    changed[position % len(blob)] ^= 1 << bit
    return bytes(changed)


@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_state_with_a_flipped_bit_is_refused(position: int, bit: int) -> None:
    with pytest.raises(CorruptData):
        decode("ann", damaged(STATE, position, bit))


@given(st.integers(0, 10**6), st.integers(0, 7))
def test_an_adapter_with_a_flipped_bit_is_refused(position: int, bit: int) -> None:
    with pytest.raises(CorruptData):
        decode_adapter(damaged(ADAPTER, position, bit))


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused_wherever_they_are_read(blob: bytes) -> None:
    for read in (lambda: decode("ann", blob), lambda: decode_adapter(blob)):
        with pytest.raises(CorruptData):
            read()
    for unpack in (_unpack_state, _unpack_adapter):
        try:
            unpack(blob)  # a header of any content is one; its blob is refused above
        except CorruptData:
            continue


@given(st.integers(0, 2**16 - 1), st.binary(max_size=40))
def test_a_header_that_promises_more_than_there_is_reads_nothing_beyond(length: int, rest: bytes) -> None:
    packed = struct.pack(">QQdH", 1, 1, 0.0, length) + rest
    try:
        assert len(_unpack_adapter(packed).generation.encode()) == length <= len(rest)
    except CorruptData:
        assert length > len(rest) or not rest[:length].isascii()


def test_what_was_packed_is_what_is_unpacked() -> None:
    for adapter in (NO_ADAPTER, StoredAdapter(ADAPTER, 3, 17, "generation", 1e9)):
        assert _unpack_adapter(_pack_adapter(adapter)) == adapter


def test_huge_lengths_in_a_header_allocate_nothing() -> None:
    """A blob that says it holds gigabytes is refused by its size, before anything of that size is made."""
    began, forged = time.monotonic(), bytearray(STATE)
    for at in range(8, 60, 4):
        forged[at : at + 4] = b"\xff\xff\xff\x7f"
        with pytest.raises(CorruptData):
            decode("ann", bytes(forged))
    assert time.monotonic() - began < 1.0
