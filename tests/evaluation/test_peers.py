"""The peers are what their papers say, and honest about what they cannot know."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from core.evaluation import peers
from core.evaluation.batches import batches, seen_mask
from core.evaluation.closed_form import cosine_weights, ease_weights, transition_weights, z_scores
from core.evaluation.dataset import Dataset
from core.evaluation.hybrid import Choice, fit_hybrid, fit_parts, ndcg_by_place, plainest
from core.evaluation.metrics import accuracy, best_lists
from core.evaluation.splits import Split, stream, validation

Make = Callable[..., Dataset]


@pytest.fixture
def at(random_data: Dataset) -> Split:
    return stream(random_data)


def test_ease_solves_its_ridge_regression_with_a_zero_diagonal() -> None:
    rng = np.random.default_rng(0)
    history = sparse.csr_array((rng.random((60, 12)) < 0.3).astype(np.float32))
    weights = ease_weights(history, 5.0).astype(np.float64)
    gram = (history.T @ history).toarray()
    gradient = gram @ weights - gram + 5.0 * weights  # of |X - XB|^2 / 2 + 5 |B|^2 / 2
    np.fill_diagonal(gradient, 0.0)  # held by the constraint's multipliers
    assert np.abs(gradient).max() < 1e-4
    assert np.diag(weights).tolist() == [0.0] * 12


def test_cosine_keeps_the_largest_of_each_column() -> None:
    history = sparse.csr_array(np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0]], np.float32))
    full = cosine_weights(history, 3)
    assert full[0, 1] == pytest.approx(2 / np.sqrt(3 * 2))
    assert full[0, 2] == pytest.approx(1 / np.sqrt(3))
    assert (cosine_weights(history, 1) > 0).sum(axis=0).tolist() == [1, 1, 1]


def test_transitions_count_followers_within_the_window() -> None:
    weights = transition_weights([np.array([0, 1, 2]), np.array([0, 2])], 3, window=2, decay=0.5, shrinkage=1.0)
    row_0 = np.array([0.0, 1.0, 0.5 + 1.0])
    assert weights.toarray()[0] == pytest.approx(row_0 / (row_0.sum() + 1))
    assert weights.toarray()[1] == pytest.approx([0, 0, 0.5])
    assert weights.toarray()[2] == pytest.approx([0, 0, 0])


def test_z_scores_of_a_constant_row_are_zeros() -> None:
    scored = z_scores(np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]))
    assert scored[0] == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert scored[1].tolist() == [0, 0, 0]


PEERS: dict[str, Callable[[Split, Split], peers.Peer]] = {
    "popularity": lambda at, earlier: peers.Popularity(peers.fit_counts(at)),
    "popularity_decayed": peers.fit_decayed_popularity,
    "itemknn": lambda at, earlier: peers.fit_itemknn(at),
    "ease": lambda at, earlier: peers.fit_ease(at),
    "hybrid": fit_hybrid,
}


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_fills_lists_from_the_catalogue_without_what_was_rated(name: str, at: Split) -> None:
    peer = PEERS[name](at, validation(at.data, "stream"))
    lists = peers.recommend(peer, at, at.cases)
    assert np.isin(lists[lists >= 0], at.catalogue).all()
    mask = seen_mask(at, at.cases, np.arange(len(at.data.titles)))
    for shown, seen in zip(lists, mask, strict=True):
        used = shown[shown >= 0]
        assert not seen[used].any()
        assert len(np.unique(used)) == len(used) == min(10, (~seen[at.catalogue]).sum())


def test_als_recommends_what_a_users_half_likes(two_tastes_split: Split) -> None:
    pytest.importorskip("implicit")
    lists = peers.recommend(peers.fit_als(two_tastes_split), two_tastes_split, two_tastes_split.cases)
    grown = two_tastes_split.cases.visible >= 6
    half = np.array([int(title.content_id) // 30 for title in two_tastes_split.data.titles])
    own_half = half[two_tastes_split.cases.targets.values[grown, None]] == half[lists[grown]]
    assert own_half.mean() > 0.9


def test_without_a_history_a_peer_falls_back_on_popularity(at: Split) -> None:
    nobody = replace(at.cases, visible=np.zeros_like(at.cases.visible), frozen=np.zeros_like(at.cases.frozen))
    popular = peers.recommend(peers.Popularity(peers.fit_counts(at)), at, nobody)
    for peer in (peers.fit_ease(at), peers.fit_itemknn(at)):
        assert np.array_equal(peers.recommend(peer, at, nobody), popular)


def test_a_frozen_peer_does_not_see_what_its_users_do_later(at: Split) -> None:
    frozen = peers.fit_ease(at, frozen=True)
    before = replace(at.cases, visible=at.cases.frozen)
    for ours, theirs in zip(batches(at, at.cases, frozen=True), batches(at, before), strict=True):
        assert np.array_equal(frozen.scores(ours), peers.fit_ease(at).scores(theirs))


def test_titles_that_could_not_be_learned_are_out_of_reach_of_item_weights(at: Split) -> None:
    known = replace(at, catalogue=at.catalogue[::2])
    (batch,) = batches(known, at.cases, wide=True)
    scores = peers.fit_ease(known).scores(batch)[~batch.empty]
    assert (scores[:, at.catalogue[1::2]] == 0).all()
    assert (scores[:, at.catalogue[::2]] != 0).any()


def test_a_sampled_candidate_set_is_kept_to(at: Split) -> None:
    only = np.stack([at.cases.targets.values, np.full(len(at.cases), at.catalogue[0])], axis=1)
    lists = peers.recommend(peers.fit_ease(at), at, at.cases, only=only)
    assert all(set(shown[shown >= 0]) <= set(allowed) for shown, allowed in zip(lists, only, strict=True))


def test_accuracy_by_place_is_that_of_the_lists(at: Split) -> None:
    rng = np.random.default_rng(1)
    (batch,) = batches(at, at.cases)
    scores = rng.integers(0, 12, (len(at.cases), len(at.catalogue))).astype(np.float32)  # many ties
    forbidden = seen_mask(at, at.cases, at.catalogue)
    targets = peers.as_columns(batch)
    lists = best_lists(scores, forbidden, targets)
    by_place = ndcg_by_place(np.where(forbidden, -np.inf, scores), targets)
    assert by_place == pytest.approx(accuracy(lists, targets)["ndcg@10"])


def chains(rng: np.random.Generator) -> list[tuple[int, int, float, float]]:
    """Users who walk a ring of 60 titles, one step at a time, from anywhere: only the order tells what is next."""
    rows = []
    for user in range(200):
        place, begun = int(rng.integers(60)), float(rng.random() * 1e6)
        rows += [(user, (place + step) % 60, 5.0, begun + 1000.0 * step) for step in range(6)]
    return rows


def test_the_hybrid_finds_that_order_matters_when_it_does(make: Make) -> None:
    at = stream(make(chains(np.random.default_rng(2))))
    hybrid = fit_hybrid(at, validation(at.data, "stream"))
    assert hybrid.choice.transitions > 0
    walked = at.cases.visible > 0
    ours = peers.ndcg(hybrid, at)[walked].mean()
    assert ours > peers.ndcg(peers.fit_ease(at), at)[walked].mean() + 0.1
    assert ours > 0.9


def test_a_weight_that_is_not_better_than_its_error_is_not_chosen() -> None:
    grid = [Choice(transitions=0.0, popularity=0.0), Choice(transitions=4.0, popularity=8.0)]
    rng = np.random.default_rng(3)
    noise = rng.random(400)
    a_little_better = np.stack([noise, noise + rng.normal(0.001, 0.2, 400)])
    a_little_better[1] += 0.002 - (a_little_better[1] - a_little_better[0]).mean()
    much_better = np.stack([noise, noise + 0.3 + rng.normal(0, 0.2, 400)])
    user = np.arange(400)
    assert plainest(grid, a_little_better, user) == grid[0]
    assert plainest(grid, much_better, user) == grid[1]


def test_weights_are_chosen_without_the_test_window(at: Split) -> None:
    earlier = validation(at.data, "stream")
    data = earlier.data
    later = data.at >= at.cut
    scrambled = replace(data, item=np.where(later, data.item[::-1], data.item), positive=data.positive & ~later)
    assert fit_hybrid(at, earlier).choice == fit_hybrid(at, validation(scrambled, "stream")).choice


def test_diverging_weights_earn_nothing(at: Split) -> None:
    parts = fit_parts(at)
    broken: NDArray = np.full_like(parts.ease, np.nan)
    assert peers.ndcg(replace(parts, ease=broken), at)[at.cases.visible > 0].sum() == 0.0
