"""Saving and loading: exact in float32, close in int8, and nothing damaged is ever loaded."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import CorruptData, InvalidInput
from core.routing.calibrate import Calibration
from core.routing.head import new_network
from core.routing.router import FILE, Router, open_router, save_router
from core.routing.routes import CLASSES, ROUTES

TOKENS = np.random.default_rng(5).standard_normal((7, 12)).astype(np.float32)


def new_router(hidden: int = 16, dims: int = 12) -> Router:
    network = new_network(np.random.default_rng(0), dims, hidden, 6, 4, len(CLASSES), len(ROUTES))
    return Router(network, Calibration(1.3, 0.4, 0.05), "some-encoder-1", "router-test-1")


def test_a_saved_router_answers_identically(tmp_path: Path) -> None:
    router = new_router()
    save_router(tmp_path, router, "f32", {"made": "here"})
    loaded = open_router(tmp_path)
    assert loaded.route(TOKENS) == router.route(TOKENS)
    assert (loaded.encoder, loaded.version, loaded.calibration) == (router.encoder, router.version, router.calibration)


@pytest.mark.parametrize(("kind", "most"), [("f16", 0.005), ("int8", 0.05)])
def test_fewer_bits_change_probabilities_little(tmp_path: Path, kind: str, most: float) -> None:
    router = new_router()
    save_router(tmp_path, router, kind, {})
    ours, theirs = open_router(tmp_path).route(TOKENS).chances, router.route(TOKENS).chances
    assert max(abs(ours[name] - theirs[name]) for name in CLASSES) < most
    assert ours != theirs


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    save_router(tmp_path, new_router(), "int8", {})
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-3] ^= 1
    (tmp_path / FILE).write_bytes(bytes(data))
    with pytest.raises(CorruptData, match="sha256"):
        open_router(tmp_path)


def test_a_router_too_large_to_ship_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="800000"):
        save_router(tmp_path, new_router(hidden=600, dims=40_000), "f32", {})


def test_vectors_of_another_encoder_are_refused() -> None:
    with pytest.raises(InvalidInput, match="12"):
        new_router().route(np.zeros((3, 13), np.float32))
    with pytest.raises(InvalidInput, match="12"):
        new_router().route_embedding(np.zeros(11, np.float32))
    with pytest.raises(InvalidInput, match="tokens"):
        new_router().route(np.zeros((0, 12), np.float32))
