"""Calibration: known errors, a temperature that is found again, sets that cover, clusters that stay together."""

import numpy as np
import pytest

from core.numeric.activations import softmax
from core.routing.calibrate import (
    calibration_error,
    fit_plausible,
    fit_temperature,
    fit_threshold,
    folds_by_meaning,
    secondary_f1,
    uncertainty,
)


def drawn(rng: np.random.Generator, n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits and classes drawn from them at a temperature."""
    logits = 2 * rng.standard_normal((n, 5))
    chances = softmax(logits / temperature)
    return logits, np.array([rng.choice(5, p=row) for row in chances])


def test_the_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    assert calibration_error(confidence, np.array([True, True, True, False])) == pytest.approx(0.05)
    assert calibration_error(np.array([1.0]), np.array([False])) == 1.0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_made_the_classes_is_found(temperature: float) -> None:
    logits, classes = drawn(np.random.default_rng(0), 4000, temperature)
    assert fit_temperature(logits, classes) == pytest.approx(temperature, rel=0.08)


def test_plausible_classes_hold_the_right_one_nine_times_of_ten_on_unseen_rows() -> None:
    rng = np.random.default_rng(1)
    logits, classes = drawn(rng, 1000, 1.0)
    least = fit_plausible(softmax(logits), classes)
    fresh, right = drawn(rng, 4000, 1.0)
    chances = softmax(fresh)
    covered = chances[np.arange(4000), right] >= least
    assert 0.87 <= covered.mean() <= 0.94
    assert (chances >= least).sum(axis=1).mean() < 4


def test_too_few_rows_promise_nothing() -> None:
    assert fit_plausible(np.array([[0.9, 0.1]] * 5), np.zeros(5, int)) == 0.0


def test_secondary_routes_are_judged_without_the_leading_one() -> None:
    parts = np.array([[1, 1, 0], [1, 0, 0]])
    leading = np.array([0, 0])
    assert secondary_f1(np.array([[True, True, False], [True, False, False]]), leading, parts) == 1.0
    assert secondary_f1(np.array([[True, False, False], [True, True, False]]), leading, parts) == 0.0
    chances = np.array([[0.9, 0.62, 0.1], [0.9, 0.41, 0.2]])
    assert 0.41 < fit_threshold(chances, leading, parts) <= 0.62


def test_sentences_that_mean_the_same_are_held_back_together() -> None:
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((20, 16))
    topic = np.repeat(np.arange(20), 10)
    points = (centres[topic] + 0.01 * rng.standard_normal((200, 16))).astype(np.float32)
    fold = folds_by_meaning(points, 4, rng)
    assert len(set(fold.tolist())) > 1
    together = [len(set(fold[topic == t].tolist())) == 1 for t in range(20)]
    assert np.mean(together) >= 0.8


def test_uncertainty_is_one_for_a_guess_and_falls_with_confidence() -> None:
    assert uncertainty(np.array([0.5, 0.5])) == pytest.approx(1.0)
    assert uncertainty(np.array([0.95, 0.05])) < 0.5 < uncertainty(np.array([0.52, 0.48]))
    assert uncertainty(np.array([1.0, 0.0])) == 0.0
