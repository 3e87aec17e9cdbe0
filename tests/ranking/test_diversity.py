"""Maximal marginal relevance with a genre cap."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.ranking.diversity import diversify

UNKNOWN = np.full(50, 255, np.uint8)


def unit(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_with_lambda_one_the_order_is_relevance() -> None:
    relevance = np.array([0.2, 0.9, 0.5])
    assert diversify(relevance, np.eye(3), UNKNOWN[:3], 3, lambda_=1.0) == [1, 2, 0]


def test_the_first_pick_is_the_most_relevant() -> None:  # behaviour 87
    relevance = np.array([0.2, 0.9, 0.5])
    assert diversify(relevance, np.eye(3), UNKNOWN[:3], 1)[0] == 1


def test_a_copy_of_the_best_gives_way_to_something_different() -> None:
    vectors = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    assert diversify(np.array([1.0, 0.95, 0.7]), vectors, UNKNOWN[:3], 2, lambda_=0.7) == [0, 2]


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_exactly_as_many_as_asked_or_as_there_are_and_no_duplicates(n: int, limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chosen = diversify(rng.random(n), unit(rng, n), rng.integers(0, 3, n).astype(np.uint8), limit)
    assert len(chosen) == min(n, limit) == len(set(chosen))


@given(st.integers(0, 2**32 - 1))
def test_no_genre_takes_more_than_its_share_while_others_are_left(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genres = np.repeat(np.arange(5, dtype=np.uint8), 10)
    chosen = diversify(np.sort(rng.random(50))[::-1], unit(rng, 50), genres, 10, genre_cap=0.4)
    assert np.bincount(genres[chosen]).max() <= math.ceil(0.4 * 10)


def test_the_cap_gives_way_when_nothing_else_is_left() -> None:
    one_genre = np.zeros(6, np.uint8)
    assert len(diversify(np.linspace(1, 0.5, 6), np.eye(6), one_genre, 5, genre_cap=0.4)) == 5


def test_unknown_genres_are_never_capped() -> None:
    assert diversify(np.linspace(1, 0.5, 6), np.eye(6), UNKNOWN[:6], 5, lambda_=1.0, genre_cap=0.2) == [0, 1, 2, 3, 4]
