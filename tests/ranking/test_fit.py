"""Fusion weights are found in what viewers chose, and stay where they were when little was seen."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad

from core.ranking.examples import TARGET, Examples
from core.ranking.fit import Shrinkage, cross_entropy, fit_weights, gains

PLANTED = np.array([[4.0, 1.0, 0.0]] * 2 + [[1.0, 3.0, 0.0]] * 2)
OPEN = Shrinkage(common=100.0, own=100.0)


def examples_of(standings: NDArray, bucket: NDArray, mass: NDArray | None = None) -> Examples:
    m, p, s = standings.shape
    nothing = np.zeros(m, np.int16)
    return Examples(
        names=tuple(f"signal {i}" for i in range(s)),
        standings=standings.astype(np.float32),
        mass=np.ones((m, p), np.float32) if mass is None else mass.astype(np.float32),
        rows=np.zeros((m, p), np.int32),
        user=np.arange(m, dtype=np.int32),
        bucket=bucket.astype(np.int8),
        positives=nothing,
        session=nothing,
        at=np.arange(m, dtype=np.float64),
        hour=nothing.astype(np.int8),
        weekday=nothing.astype(np.int8),
        device=nothing.astype(np.int8) - 1,
    )


def chosen_by(weights: NDArray, m: int, seed: int = 0, titles: int = 40, bucket: int | None = None) -> Examples:
    """m viewers who choose among titles with random standings, with odds exp(weights . standings)."""
    rng = np.random.default_rng(seed)
    standings = rng.random((m, titles, weights.shape[1])) ** 3
    length = rng.integers(0, len(weights), m) if bucket is None else np.full(m, bucket)
    scores = np.einsum("mps,ms->mp", standings, weights[length]) + rng.gumbel(size=(m, titles))
    rows = np.arange(m)
    best = scores.argmax(axis=1)
    standings[rows, best], standings[rows, TARGET] = standings[rows, TARGET], standings[rows, best].copy()
    return examples_of(standings, length)


def test_planted_weights_are_found_again_by_length_of_history() -> None:
    found = fit_weights(chosen_by(PLANTED, 8000), np.zeros((4, 3)), OPEN)
    assert found == pytest.approx(PLANTED, abs=0.35)


def test_the_same_examples_give_the_same_weights() -> None:
    examples = chosen_by(PLANTED, 300)
    first, second = (fit_weights(examples, np.ones((4, 3)), Shrinkage()) for _ in range(2))
    assert (first == second).all()


def test_few_examples_leave_the_weights_where_they_were() -> None:
    prior = np.full((4, 3), 2.0)
    few = fit_weights(chosen_by(PLANTED, 5), prior, Shrinkage(common=0.05, own=0.01))
    assert few == pytest.approx(prior, abs=0.1)


def test_a_length_of_history_without_examples_follows_the_others() -> None:
    found = fit_weights(chosen_by(PLANTED, 3000, bucket=0), np.ones((4, 3)), Shrinkage(common=4.0, own=0.1))
    assert found[0, 0] > 3.5
    assert found[3] == pytest.approx(found[1])
    assert 2.5 < found[3, 0] < found[0, 0]


def test_a_signal_that_misleads_is_silenced_and_not_turned_around() -> None:
    found = fit_weights(chosen_by(np.array([[3.0, -2.0, 0.0]] * 4), 2000), np.ones((4, 3)), OPEN)
    assert (found[:, 1] == 0).all()
    assert (found[:, 0] > 2.0).all()


def test_the_gradient_is_that_of_the_loss() -> None:
    examples = chosen_by(PLANTED, 50)

    def loss(flat: NDArray) -> float:
        return cross_entropy(examples, flat.reshape(4, 3))[0]

    def gradient(flat: NDArray) -> NDArray:
        return cross_entropy(examples, flat.reshape(4, 3))[1].ravel()

    start = np.linspace(0.5, 3.0, 12)
    size = float(np.linalg.norm(gradient(start)))
    assert check_grad(loss, gradient, start, epsilon=1e-2) < 2e-2 * size


def test_a_drawn_title_speaks_for_those_that_were_not_drawn() -> None:
    """Ten equal titles, or one of them with their mass: the same loss and the same place of the liked title."""
    standings = np.full((1, 11, 1), 0.5)
    standings[0, TARGET] = 0.2
    whole = examples_of(standings, np.zeros(1))
    drawn = examples_of(standings[:, :2], np.zeros(1), mass=np.array([[1.0, 10.0]]))
    weights = np.full((4, 1), 2.0)
    assert cross_entropy(whole, weights)[0] == pytest.approx(cross_entropy(drawn, weights)[0], rel=1e-6)
    assert gains(whole, weights) == gains(drawn, weights) == 0.0


def test_the_gain_of_the_second_place_is_its_discount_and_ties_count_against() -> None:
    standings = np.array([[[0.5], [0.9], [0.1]], [[0.5], [0.5], [0.1]], [[0.9], [0.5], [0.1]]])
    found = gains(examples_of(standings, np.zeros(3)), np.ones((4, 1)))
    assert found == pytest.approx([1 / np.log2(3), 1 / np.log2(3), 1.0])
