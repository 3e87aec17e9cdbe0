import numpy as np
import pytest

from core.adaptation.factors import turn
from core.adaptation.lora import Lora, delta, scores
from core.adaptation.space import carry, make_transfer
from core.errors import InvalidInput

DIM = 12


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def rotation(rng: np.random.Generator, dim: int = DIM) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)


def test_an_adapter_carried_onto_the_same_space_is_the_same(rng: np.random.Generator) -> None:
    A, B = rotation(rng)[:4], rng.standard_normal((DIM, 4)).astype(np.float32)
    way = make_transfer(np.eye(DIM, dtype=np.float32), (A, A[:2]), (A, A[:2]))
    np.testing.assert_allclose(carry(B, way.rotation, way.slow), B, atol=1e-5)
    np.testing.assert_allclose(carry(B[:, :2], way.rotation, way.fast), B[:, :2], atol=1e-5)


def test_an_adapter_carried_onto_a_rotated_copy_of_the_space_scores_as_before(rng: np.random.Generator) -> None:
    q, v = rng.standard_normal((2, 30, DIM)).astype(np.float32)
    A, B = rotation(rng)[:4], rng.standard_normal((DIM, 4)).astype(np.float32)
    R, mixing = rotation(rng), rotation(rng, 4)  # the new A is also another basis of the same four directions
    found, explained = turn(v, v @ R)
    assert explained == pytest.approx(1.0, abs=1e-5)
    way = make_transfer(found, (A, A[:2]), (mixing @ A @ R, A[:2] @ R))
    before = scores(Lora(A, B, 1.0), q, v)
    after = scores(Lora(mixing @ A @ R, carry(B, way.rotation, way.slow), 1.0), q @ R, v @ R)
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.abs(delta(Lora(A, B, 1.0), q)).max() > 0.1


def test_what_the_new_directions_do_not_see_is_lost_and_nothing_is_made_up(rng: np.random.Generator) -> None:
    axes, B = np.eye(DIM, dtype=np.float32), rng.standard_normal((DIM, 4)).astype(np.float32)
    way = make_transfer(axes, (axes[:4], axes[:2]), (axes[2:6], axes[2:4]))
    carried = carry(B, way.rotation, way.slow)
    np.testing.assert_allclose(carried, np.stack([B[:, 2], B[:, 3], 0 * B[:, 0], 0 * B[:, 0]], axis=1), atol=1e-6)
    with pytest.raises(InvalidInput, match="rotation of 12"):
        carry(B[1:], way.rotation, way.slow)


def test_spaces_that_have_nothing_in_common_explain_nothing(rng: np.random.Generator) -> None:
    old, new = rng.standard_normal((2, 400, DIM))
    found, explained = turn(old, new)
    np.testing.assert_allclose(found @ found.T, np.eye(DIM), atol=1e-5)
    assert explained < 0
    assert turn(old, 0 * new)[1] == 0.0
