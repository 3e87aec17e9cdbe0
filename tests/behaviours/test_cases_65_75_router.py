"""Behaviours 65 to 75 of the reference: the router. Those about a breaker (68, 75) and about candidates' metadata (67)
have no counterpart: the router calls nothing remote, and refuses vectors of another size every time."""

import numpy as np
import pytest

from core.adaptation.quantize import quantize
from core.errors import InvalidInput
from core.numeric.activations import softmax
from core.routing.calibrate import Calibration, fit_plausible, uncertainty
from core.routing.head import new_network
from core.routing.router import Router
from core.routing.routes import CLASSES, ROUTES
from core.routing.sequences import padded, scaled, sequence
from core.routing.train import Examples, Recipe, fit
from core.routing.training import logits

RECIPE = Recipe(
    hidden=24,
    rank_w=12,
    rank_u=8,
    epochs=30,
    batch=32,
    learning_rate=0.01,
    dropout=0.0,
    pooled_only=0.0,
    token_dropout=0.0,
)


def trained(points: np.ndarray, classes: np.ndarray) -> Router:
    """A router that has learned to route embeddings (n, d)."""
    wanted = np.eye(len(CLASSES), dtype=np.float32)[classes]
    learned = Examples(
        [scaled(p[None]) for p in points], wanted, wanted[:, : len(ROUTES)].copy(), np.ones(len(points), np.float32)
    )
    return Router(fit(learned, RECIPE), Calibration(1.0, 0.5, 0.0), "test", "test")


def problem(kind: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    points = rng.standard_normal((n, 8)).astype(np.float32)
    if kind == "linear":
        return points, (points[:, 0] + points[:, 1] > 0).astype(int)
    points[:, :2] = 2.0 * np.sign(points[:, :2])
    return points, (points[:, 0] * points[:, 1] > 0).astype(int)


def test_case_65_chances_lie_between_0_and_1_and_a_batch_of_n_gives_n() -> None:
    network = new_network(np.random.default_rng(0), 8, 16, 8, 4, 7, 6)
    batch = [np.random.default_rng(n).standard_normal((n + 1, 8)).astype(np.float32) for n in range(9)]
    classes, also = logits(network, batch, size=4)
    assert (classes.shape, also.shape) == ((9, 7), (9, 6))
    answers = [Router(network, Calibration(1.0, 0.5, 0.1), "e", "v").route(tokens) for tokens in batch]
    values = np.array([list(answer.chances.values()) for answer in answers])
    assert ((values >= 0) & (values <= 1)).all()
    assert values.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-5)


def test_case_66_a_guess_is_uncertain_and_95_percent_is_not() -> None:
    assert uncertainty(np.array([0.5, 0.5])) == pytest.approx(1.0)
    assert uncertainty(np.array([0.95, 0.05])) < 0.5
    assert uncertainty(np.array([0.52, 0.48])) > 0.5


def test_case_69_int8_of_1_to_9_comes_back_within_a_tenth() -> None:
    matrix = np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    assert np.abs(quantize(matrix, "int8").dequantize() - matrix).max() < 0.1


def test_case_70_inputs_are_scaled_and_batches_are_padded() -> None:
    steps = scaled(5.0 * np.random.default_rng(0).standard_normal((10, 32)).astype(np.float32))
    assert np.square(steps).mean(axis=1) == pytest.approx(np.ones(10), abs=1e-4)
    x, mask = padded([steps[:3], steps[:10]])
    assert x.shape == (2, 10, 32)
    assert mask.sum(axis=1).tolist() == [3, 10]
    assert sequence(steps).shape == (11, 32)


def test_case_71_a_higher_temperature_is_less_sure() -> None:
    points, _ = problem("linear", np.random.default_rng(0), 1)
    network = new_network(np.random.default_rng(0), 8, 16, 8, 4, 7, 6)
    cold, warm = (Router(network, Calibration(t, 0.5, 0.1), "e", "v").route_embedding(points[0]) for t in (1.0, 2.0))
    assert cold.route == warm.route
    assert 1 / 7 < warm.confidence < cold.confidence


@pytest.mark.parametrize("kind", ["linear", "xor"])
def test_case_72_unseen_rows_are_routed_right_through_route(kind: str) -> None:
    rng = np.random.default_rng(7)
    router = trained(*problem(kind, rng, 800))
    points, classes = problem(kind, rng, 400)
    routed = [CLASSES.index(router.route_embedding(point).route) for point in points]
    assert np.mean(np.array(routed) == classes) >= 0.95


def test_case_74_sets_cover_nine_of_ten_unseen_rows_and_calibration_changes_the_uncertainty() -> None:
    rng = np.random.default_rng(3)
    given = 1.5 * rng.standard_normal((4000, 7))
    right = np.array([rng.choice(7, p=row) for row in softmax(given)])
    least = fit_plausible(softmax(given[:2000]), right[:2000])
    chances = softmax(given[2000:])
    assert (chances[np.arange(2000), right[2000:]] >= least).mean() >= 0.88
    assert uncertainty(softmax(given[0] / 2.0)) > uncertainty(softmax(given[0]))


def test_case_75_every_vector_of_another_size_is_refused() -> None:
    network = new_network(np.random.default_rng(0), 8, 16, 8, 4, 7, 6)
    router = Router(network, Calibration(1.0, 0.5, 0.1), "e", "v")
    for _ in range(6):
        with pytest.raises(InvalidInput, match="wanted"):
            router.route_embedding(np.zeros(5, np.float32))
