"""The cell: the paper's equations, a gradient that finite differences confirm, and padding that changes nothing."""

import numpy as np
import pytest

from core.errors import InvalidInput
from core.routing.fastgrnn import Cell, backward, forward, new_cell


def small_cell(rng: np.random.Generator) -> Cell:
    cell = new_cell(rng, dims=5, hidden=4, rank_w=3, rank_u=2)
    noisy = {name: values + 0.1 * rng.standard_normal(values.shape) for name, values in cell.arrays().items()}
    return Cell(**noisy)  # float64, and no two parameters equal


def test_one_step_is_the_papers_equation() -> None:
    rng = np.random.default_rng(0)
    cell, x = small_cell(rng), rng.standard_normal((1, 2, 5))
    w, u = cell.w1 @ cell.w2.T, cell.u1 @ cell.u2.T
    squash = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    h = np.zeros(4)
    for t in range(2):
        pre = w @ x[0, t] + u @ h
        z, c = squash(pre + cell.b_z), np.tanh(pre + cell.b_h)
        h = (squash(cell.zeta) * (1 - z) + squash(cell.nu)) * c + z * h
    np.testing.assert_allclose(forward(cell, x)[0][0], h, atol=1e-12)


def test_gradients_match_finite_differences_in_every_parameter() -> None:
    rng = np.random.default_rng(1)
    cell, x, target = small_cell(rng), rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4))
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], float)

    def loss() -> float:
        return float(0.5 * np.square(forward(cell, x, mask)[0] - target).sum())

    h, trace = forward(cell, x, mask)
    gradient = backward(cell, trace, h - target).arrays()
    for name, values in cell.arrays().items():
        numeric = np.empty_like(values)
        for place in np.ndindex(values.shape):
            kept, step = values[place], 1e-6
            values[place] = kept + step
            above = loss()
            values[place] = kept - step
            numeric[place] = (above - loss()) / (2 * step)
            values[place] = kept
        np.testing.assert_allclose(gradient[name], numeric, rtol=1e-6, atol=1e-8, err_msg=name)


def test_padding_and_company_change_no_answer() -> None:
    rng = np.random.default_rng(2)
    cell = small_cell(rng)
    short, long = rng.standard_normal((2, 5)), rng.standard_normal((6, 5))
    batch, mask = np.full((2, 6, 5), 7.0), np.ones((2, 6))
    batch[0, :2], batch[1], mask[0, 2:] = short, long, 0
    together = forward(cell, batch, mask)[0]
    np.testing.assert_allclose(together[0], forward(cell, short[None])[0][0], atol=1e-12)
    np.testing.assert_allclose(together[1], forward(cell, long[None])[0][0], atol=1e-12)


def test_the_order_of_words_matters() -> None:
    rng = np.random.default_rng(3)
    cell, x = small_cell(rng), rng.standard_normal((1, 4, 5))
    assert np.abs(forward(cell, x)[0] - forward(cell, x[:, ::-1])[0]).max() > 1e-3


def test_sequences_of_another_width_are_refused() -> None:
    cell = small_cell(np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="5"):
        forward(cell, np.zeros((1, 2, 6)))
