"""The codec: small, exact where it says so, and every damaged, foreign or impossible blob is a typed error."""

import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.adaptation import tensors
from core.adaptation.codec import COLD_KINDS, UserAdapter, decode, encode
from core.errors import CorruptData, InvalidInput


def adapter(dim=512, seed=0):
    rng = np.random.default_rng(seed)
    slow, fast = rng.standard_normal((dim, 8)).astype(np.float32), rng.standard_normal((dim, 2)).astype(np.float32)
    return UserAdapter(slow, fast, "base-3", "enc-1", interactions=42, version=7)


BLOB = encode(adapter(dim=24))


def forged(change):
    """A container with a valid checksum whose header was changed."""
    magic, version, zero, length, _ = tensors.PREFIX.unpack_from(BLOB)
    header = json.loads(BLOB[tensors.PREFIX.size : tensors.PREFIX.size + length])
    data = change(header) or BLOB[tensors.PREFIX.size + length :]
    encoded = json.dumps(header).encode()
    body = encoded + data
    return tensors.PREFIX.pack(magic, version, zero, len(encoded), zlib.crc32(body)) + body


def test_the_hot_form_of_rank_8_and_2_over_512_dimensions_fits_in_ten_kilobytes():
    assert len(encode(adapter())) <= 10 * 1024


def test_the_hot_form_loses_little_and_keeps_what_it_is():
    whole = adapter()
    back = decode(encode(whole))
    assert np.linalg.norm(back.slow - whole.slow) / np.linalg.norm(whole.slow) < 0.01
    assert np.linalg.norm(back.fast - whole.fast) / np.linalg.norm(whole.fast) < 0.001
    assert (back.generation, back.embedding_version, back.interactions, back.version) == ("base-3", "enc-1", 42, 7)


def test_the_cold_form_is_exact():
    whole = adapter()
    back = decode(encode(whole, COLD_KINDS))
    assert np.array_equal(back.slow, whole.slow)
    assert np.array_equal(back.fast, whole.fast)


@pytest.mark.parametrize("kind", ["f32", "f16", "int8", "binary"])
def test_every_kind_decodes_also_where_rows_do_not_fill_bytes(kind):
    back = decode(encode(adapter(dim=13), {"slow": kind, "fast": kind}))
    assert back.slow.shape == (13, 8)
    assert np.array_equal(back.slow > 0, adapter(dim=13).slow > 0) or kind == "int8"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_any_changed_byte_is_detected(position, change):
    damaged = bytearray(BLOB)
    damaged[position] ^= change
    with pytest.raises(CorruptData):
        decode(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(blob):
    with pytest.raises(CorruptData):
        decode(blob)
    with pytest.raises(CorruptData):
        decode(BLOB[:16] + blob)


def test_every_truncation_is_detected():
    for length in range(len(BLOB)):
        with pytest.raises(CorruptData):
            decode(BLOB[:length])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["arrays"][0].__setitem__(2, [10**12, 10**12]),  # would need more memory than there is
        lambda h: h["arrays"][0].__setitem__(2, [-24, -8]),
        lambda h: h["arrays"][0].__setitem__(2, [8, 24]),
        lambda h: h["arrays"][0].__setitem__(1, "O"),
        lambda h: h["arrays"].pop(0) and None,
        lambda h: h["meta"].__setitem__("dim", 25),
        lambda h: h["meta"].__setitem__("kinds", {"slow": "f64", "fast": "f16"}),
        lambda h: h["meta"].pop("generation") and None,
        lambda h: h.__setitem__("kind", "sona-engine"),
        lambda h: h.__setitem__("meta", []),
    ],
)
def test_a_lying_header_is_refused_even_with_a_valid_checksum(change):
    with pytest.raises(CorruptData):
        decode(forged(change))


def test_non_finite_factors_are_neither_written_nor_read():
    bad = adapter(dim=8)
    bad.slow[3, 1] = np.nan
    with pytest.raises(InvalidInput):
        encode(bad)
    with pytest.raises(CorruptData):
        tensors.unpack(tensors.pack("x", {"a": np.array([1.0, np.inf])}, {}), "x")


def test_an_unknown_format_version_is_refused():
    newer = tensors.PREFIX.pack(b"SONA", 2, 0, *tensors.PREFIX.unpack_from(BLOB)[3:]) + BLOB[tensors.PREFIX.size :]
    with pytest.raises(CorruptData, match="format 2"):
        decode(newer)
