"""The sequence model is ridge regression over every prefix, and says what follows."""

import numpy as np
import pytest

from core.snapshot.sequences import sequence_neighbours, sequence_weights

DECAYS = (0.5, 0.85)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def sequences(rng: np.random.Generator, users: int, titles: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([rng.permutation(titles)[:length] for _ in range(users)])
    return np.repeat(np.arange(users), length), rows


def by_prefixes(user: np.ndarray, row: np.ndarray, size: int, ridge: float) -> np.ndarray:
    """The same weights from the matrix of all prefixes, each sequence going on for long with nothing."""
    states, targets = [], []
    for one in np.unique(user):
        own, state = row[user == one], np.zeros((len(DECAYS), size))
        for step in range(len(own) + 150):
            if step:
                states.append(state.ravel().copy())
                targets.append(np.eye(size)[own[step]] if step < len(own) else np.zeros(size))
            state *= np.array(DECAYS)[:, None]
            if step < len(own):
                state[:, own[step]] += 1.0
    x, y = np.array(states), np.array(targets)
    return np.asarray(np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y))


def test_the_weights_are_the_ridge_regression_over_all_prefixes(rng: np.random.Generator) -> None:
    user, row = sequences(rng, 40, 8, 6)
    weights = np.concatenate(sequence_weights(user, row, 8, DECAYS, 5.0))
    assert weights == pytest.approx(by_prefixes(user, row, 8, 5.0), abs=2e-3)


def test_what_always_follows_comes_first_and_what_came_before_does_not(rng: np.random.Generator) -> None:
    """Everybody watches 0, 1, 2, ... in a row, starting anywhere."""
    starts = rng.integers(0, 10, 60)
    row = np.concatenate([np.arange(start, start + 5) for start in starts])
    lists = sequence_neighbours(np.repeat(np.arange(60), 5), row, 20, 3, DECAYS, 1.0, 5, 100)
    near = lists[0]
    assert near.index[5:9, 0].tolist() == [6, 7, 8, 9]
    assert not np.isin(near.index[8][near.weight[8] > 0], [6, 7]).any()


def test_a_title_with_little_evidence_has_no_list(rng: np.random.Generator) -> None:
    user, row = sequences(rng, 30, 6, 4)
    user, row = np.append(user, 30), np.append(row, 6)
    for lists in sequence_neighbours(user, row, 8, 3, DECAYS, 1.0, 5, 100):
        assert not lists.weight[6:].any()
        assert not (lists.index[:6][lists.weight[:6] > 0] >= 6).any()
