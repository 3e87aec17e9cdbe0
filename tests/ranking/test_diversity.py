"""Maximal marginal relevance with a genre cap."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.ranking.diversity import NO_FRANCHISE, Cap, diversify, genre_cap

UNKNOWN = np.full(50, 255, np.uint8)


def unit(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_with_lambda_one_the_order_is_relevance() -> None:
    relevance = np.array([0.2, 0.9, 0.5])
    assert diversify(relevance, np.eye(3), 3, lambda_=1.0) == [1, 2, 0]


def test_the_first_pick_is_the_most_relevant() -> None:  # behaviour 87
    relevance = np.array([0.2, 0.9, 0.5])
    assert diversify(relevance, np.eye(3), 1)[0] == 1


def test_a_copy_of_the_best_gives_way_to_something_different() -> None:
    vectors = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    assert diversify(np.array([1.0, 0.95, 0.7]), vectors, 2, lambda_=0.7) == [0, 2]


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_exactly_as_many_as_asked_or_as_there_are_and_no_duplicates(n: int, limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    caps = (genre_cap(rng.integers(0, 3, n).astype(np.uint8), 0.4, limit),)
    chosen = diversify(rng.random(n), unit(rng, n), limit, caps=caps)
    assert len(chosen) == min(n, limit) == len(set(chosen))


@given(st.integers(0, 2**32 - 1))
def test_no_genre_takes_more_than_its_share_while_others_are_left(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genres = np.repeat(np.arange(5, dtype=np.uint8), 10)
    chosen = diversify(np.sort(rng.random(50))[::-1], unit(rng, 50), 10, caps=(genre_cap(genres, 0.4, 10),))
    assert np.bincount(genres[chosen]).max() <= math.ceil(0.4 * 10)


def test_the_cap_gives_way_when_nothing_else_is_left() -> None:
    one_genre = np.zeros(6, np.uint8)
    assert len(diversify(np.linspace(1, 0.5, 6), np.eye(6), 5, caps=(genre_cap(one_genre, 0.4, 5),))) == 5


def test_unknown_genres_are_never_capped() -> None:
    caps = (genre_cap(UNKNOWN[:6], 0.2, 5),)
    assert diversify(np.linspace(1, 0.5, 6), np.eye(6), 5, lambda_=1.0, caps=caps) == [0, 1, 2, 3, 4]


def test_a_cap_that_lasts_leaves_places_empty_rather_than_break() -> None:
    genres = np.array([0, 0, 0, 1, 1, 255], np.uint8)
    caps = (genre_cap(genres, 0.2, 5, lasting=True),)
    assert diversify(np.linspace(1, 0.5, 6), np.eye(6), 5, lambda_=1.0, caps=caps) == [0, 3, 5]


def test_a_franchise_stays_capped_when_the_genre_cap_gives_way() -> None:
    genres, franchises = np.zeros(6, np.uint8), np.array([7, 7, 7, NO_FRANCHISE, NO_FRANCHISE, 7])
    caps = (genre_cap(genres, 0.2, 5), Cap(franchises, NO_FRANCHISE, 2, lasting=True))
    assert diversify(np.linspace(1, 0.5, 6), np.eye(6), 5, lambda_=1.0, caps=caps) == [0, 1, 3, 4]


@given(st.integers(0, 2**32 - 1))
def test_every_choice_is_the_one_that_the_definition_names(seed: int) -> None:
    rng = np.random.default_rng(seed)
    relevance, vectors = rng.random(12), unit(rng, 12)
    chosen = diversify(relevance, vectors, 6, lambda_=0.6)
    for place, choice in enumerate(chosen):
        redundancy = np.maximum(vectors[chosen[:place]] @ vectors.T, 0.0).max(axis=0, initial=0.0)
        score = 0.6 * relevance / relevance.max() - 0.4 * redundancy
        score[chosen[:place]] = -np.inf
        assert score[choice] >= score.max() - 1e-6
