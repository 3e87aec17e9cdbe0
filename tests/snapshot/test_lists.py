"""Collaborative, transition and content lists, and how popularity is spread."""

import numpy as np
import pytest
from scipy import sparse

from core.catalog import Title
from core.snapshot.collaborative import collaborative_neighbours, dense_titles, ease_weights, shrunk_cosine
from core.snapshot.content import content_neighbours, content_vectors
from core.snapshot.distributions import conditional, daypart_of, decayed_popularity, title_share, weekend_of
from core.snapshot.features import content_features, words
from core.snapshot.neighbours import blank, put_dense, put_sparse
from core.snapshot.transitions import next_title_weights


def likes(rng: np.random.Generator, users: int, n: int, share: float = 0.3) -> sparse.csr_array:
    return sparse.csr_array((rng.random((users, n)) < share).astype(np.float32))


def test_ease_equals_the_closed_form_and_has_no_diagonal() -> None:
    x = likes(np.random.default_rng(0), 200, 30)
    found = ease_weights(x, 10.0)
    dense = x.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 10.0 * np.eye(30))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ease_minimises_its_own_regularised_loss() -> None:
    """Without the diagonal constraint's multipliers, moving any other weight must not lower the loss."""
    x = likes(np.random.default_rng(1), 100, 8)
    dense, weights = x.toarray().astype(np.float64), ease_weights(x, 5.0).astype(np.float64)
    gradient = dense.T @ (dense @ weights - dense) + 5.0 * weights
    np.fill_diagonal(gradient, 0.0)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-3)


def test_ease_is_exact_across_the_blocks_that_it_is_computed_in() -> None:
    x = likes(np.random.default_rng(2), 50, 600, 0.05)
    dense = x.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 20.0 * np.eye(600))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(ease_weights(x, 20.0), expected, atol=1e-4)


def test_titles_with_little_evidence_get_cosine_lists_on_the_same_scale() -> None:
    rng = np.random.default_rng(3)
    block = np.zeros((60, 8), np.float32)
    block[:30, :3] = rng.random((30, 3)) < 0.7
    block[30:, 3:6] = rng.random((30, 3)) < 0.7
    block[:2, 6] = 1.0  # liked by two people of the first taste
    x = sparse.csr_array(block)
    lists = collaborative_neighbours(x, 4, 5.0, min_positives=5, max_titles=6, shrinkage=1.0)
    assert set(lists.index[6][lists.weight[6] > 0].tolist()) <= {0, 1, 2}
    assert lists.weight[6].max() == pytest.approx(lists.weight[:6, 0].mean(), rel=0.05)
    assert lists.index[7].tolist() == [7] * 4
    assert lists.weight[7].max() == 0  # nobody likes it
    for row, own in ((0, {0, 1, 2}), (4, {3, 4, 5})):
        assert set(lists.index[row][lists.weight[row] > 0].tolist()) <= own - {row}


def test_the_most_liked_titles_are_the_dense_ones() -> None:
    assert dense_titles(np.array([9, 1, 5, 5, 7]), 5, 3).tolist() == [0, 2, 4]
    assert dense_titles(np.array([0, 0]), 0, 5).tolist() == []


def test_shrunk_cosine_has_the_known_value() -> None:
    x = sparse.csr_array(np.array([[1, 1], [1, 1], [1, 0]], np.float32))
    expected = 2 / np.sqrt(3 * 2) * (2 / (2 + 10))
    np.testing.assert_allclose(shrunk_cosine(x, np.array([0]), 10.0), [[0.0, expected]], rtol=1e-6)


def test_transitions_count_what_comes_next_within_the_window() -> None:
    user = np.array([0, 0, 0, 1, 1])
    row = np.array([2, 0, 1, 2, 0])
    weights = next_title_weights(user, row, 3, window=2, decay=0.5, shrinkage=1.0).toarray()
    expected = np.zeros((3, 3))
    expected[2, 0], expected[2, 1] = 2 / (2.5 + 1), 0.5 / (2.5 + 1)
    expected[0, 1] = 1 / (1 + 1)
    np.testing.assert_allclose(weights, expected)


def test_transitions_of_nothing_are_empty() -> None:
    nothing = np.zeros(0, np.int64)
    assert next_title_weights(nothing, nothing, 4).nnz == 0


def test_lists_are_padded_with_the_own_row_and_fall_in_weight() -> None:
    lists = blank(3, 4)
    put_dense(lists, np.array([0, 2]), np.array([[9.0, 0.5, 0.7], [0.0, -1.0, 5.0]], np.float32))
    assert lists.index.tolist() == [[2, 1, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]]
    np.testing.assert_allclose(lists.weight[0], [0.7, 0.5, 0, 0], rtol=1e-3)
    assert lists.weight[1:].max() == 0


def test_dense_and_sparse_scores_give_the_same_lists() -> None:
    rng = np.random.default_rng(4)
    scores = (rng.random((40, 40)) * (rng.random((40, 40)) < 0.3)).astype(np.float32)
    np.fill_diagonal(scores, 0.0)
    dense, thin = blank(40, 7), blank(40, 7)
    put_dense(dense, np.arange(40), scores)
    put_sparse(thin, np.arange(40), sparse.csr_array(scores))
    np.testing.assert_array_equal(dense.index, thin.index)
    np.testing.assert_array_equal(dense.weight, thin.weight)


def test_a_strong_own_score_does_not_cost_a_sparse_list_its_last_neighbour() -> None:
    lists = blank(4, 2)
    put_sparse(lists, np.array([1]), sparse.csr_array(np.array([[0.1, 9.0, 0.3, 0.2]], np.float32)))
    assert lists.index[1].tolist() == [2, 3]


def test_content_neighbours_share_what_the_title_is_about(titles: list[Title]) -> None:
    lists = content_neighbours(content_features(titles), 3)
    ids = [title.content_id for title in titles]
    nearest = {ids[row]: ids[lists.index[row, 0]] for row in range(len(titles))}
    assert nearest["alien-1979"] == "aliens-1986"
    assert nearest["before-sunset-2004"] == "before-sunrise-1995"
    assert nearest["moon-2009"] in {"gravity-2013", "alien-1979", "aliens-1986"}


def test_a_title_of_which_only_the_genre_is_known_is_not_the_best_match_of_a_well_described_one() -> None:
    described = {
        "genres": ("horror",),
        "keywords": ("hotel", "winter", "madness"),
        "overview": "A writer loses himself.",
    }
    titles = [
        Title("a", "Shining", **described),  # type: ignore[arg-type]
        Title(
            "b", "Misery", genres=("horror",), keywords=("madness", "writer", "winter"), overview="A writer is held."
        ),
        Title("c", "Unknown", genres=("horror",)),
        Title("d", "Comedy", genres=("comedy",), keywords=("hotel",)),
    ]
    lists = content_neighbours(content_features(titles), 3)
    assert lists.index[0, 0] == 1


def test_vectors_are_unit_rows_also_in_catalogues_smaller_than_the_dimensions(titles: list[Title]) -> None:
    vectors = content_vectors(content_features(titles), 256, np.random.default_rng(0)).astype(np.float32)
    assert vectors.shape == (12, 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=2e-3)
    ids = [title.content_id for title in titles]
    similarity = vectors @ vectors.T
    alien = ids.index("alien-1979")
    assert similarity[alien, ids.index("aliens-1986")] > similarity[alien, ids.index("amelie-2001")]


def test_titles_with_nothing_in_common_get_zero_vectors() -> None:
    features = content_features([Title("a", "Alpha"), Title("b", "Beta")])
    assert content_vectors(features, 8, np.random.default_rng(0)).tolist() == [[0.0], [0.0]]
    assert content_neighbours(features, 3).weight.max() == 0


def test_words_are_stemmed_lower_case_and_without_function_words_or_digits() -> None:
    assert words("The Thieves' 2nd heist, and Heists of 1999!") == ["thieve", "nd", "heist", "heist"]


def test_popularity_halves_after_a_half_life_and_ignores_clocks_that_run_ahead() -> None:
    counts = decayed_popularity(np.array([0, 0, 1]), np.array([100.0, 50.0, 900.0]), 3, now=100.0, half_life_s=50.0)
    np.testing.assert_allclose(counts, [1.5, 1.0, 0.0])


def test_conditional_rows_sum_to_one_and_an_unseen_condition_looks_like_everybody() -> None:
    row = np.array([0, 0, 0, 1, 2])
    share = title_share(row, 4)
    table = conditional(np.array([1, 1, 1, 0, -1]), row, 3, share, prior_events=2.0)
    np.testing.assert_allclose(table.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(table[2], share, rtol=1e-6)
    np.testing.assert_allclose(table[1, 0], (3 + 2 * share[0]) / (3 + 2), rtol=1e-6)


def test_dayparts_and_weekends_follow_the_calendar() -> None:
    saturday_noon = 1_700_308_800.0  # 18 November 2023, 12:00 UTC
    assert daypart_of(np.array([saturday_noon, saturday_noon - 1, saturday_noon + 6 * 3600])).tolist() == [2, 1, 3]
    days = saturday_noon + 86_400 * np.arange(-1, 3)
    assert weekend_of(days).tolist() == [0, 1, 1, 0]
