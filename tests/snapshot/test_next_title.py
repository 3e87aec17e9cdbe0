"""The next-title network: its gradients, what it learns, and that a request computes what was trained."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_world import NOW

from core.snapshot.folder import Folder, finish
from core.snapshot.inputs import Interactions
from core.snapshot.manifest import MANIFEST
from core.snapshot.next_title_gradients import Batch, loss_and_gradients
from core.snapshot.next_title_network import WINDOW, NextTitleNetwork, untrained, weights_of
from core.snapshot.next_title_training import Recipe, carried_over, inclusion, rivals_of, sequences_of, train
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.parts import write_next_title
from core.snapshot.positives import positives_of
from core.snapshot.snapshot import Snapshot

QUICK = Recipe(passes=12, steps=1000, viewers=16, rate=0.02, warm_up=10)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def network_over(titles: int, dims: int, rng: np.random.Generator) -> NextTitleNetwork:
    return untrained(np.arange(titles, dtype=np.int32), np.arange(titles), dims, rng)


def exact(network: NextTitleNetwork, rng: np.random.Generator) -> NextTitleNetwork:
    """In float64, every weight moved away from where it starts."""
    weights = weights_of(network).items()
    return network.with_weights({name: each + 0.1 * rng.standard_normal(each.shape) for name, each in weights})


def dropout(rng: np.random.Generator, *shape: int) -> NDArray:
    return (rng.random(shape) < 0.8) / 0.8


def ragged_batch(titles: int, dims: int, rng: np.random.Generator) -> Batch:
    """Three sequences of five, three and one steps, against four of the titles."""
    there = np.arange(5)[:, None] < np.array([5, 3, 1])
    asked = np.flatnonzero(there)
    return Batch(
        shown=rng.integers(titles, size=there.shape),
        kept=dropout(rng, *there.shape, dims) * there[:, :, None],
        asked=asked,
        target=rng.integers(titles, size=len(asked)),
        hidden=dropout(rng, len(asked), 2 * dims),
        rivals=np.array([1, 4, 5, 7]),
        mass=np.array([0.3, 0.2, 0.5, 0.7]),
    )


@pytest.mark.parametrize(
    "name", weights_of(untrained(np.arange(2, dtype=np.int32), np.ones(2), 2, np.random.default_rng(0)))
)
def test_gradients_match_finite_differences(name: str, rng: np.random.Generator) -> None:
    network, batch, step = exact(network_over(9, 4, rng), rng), ragged_batch(9, 4, rng), 1e-6
    gradient = loss_and_gradients(network, batch)[1][name]
    weights = weights_of(network)[name]
    for place in np.ndindex(weights.shape):
        if name == "ages" and place[1] > 5:
            assert gradient[place] == 0  # no sequence is so long
            continue
        moved = np.zeros_like(weights)
        moved[place] = step
        ahead, behind = (
            loss_and_gradients(replace(network, **{name: weights + sign * moved}), batch)[0] for sign in (1, -1)
        )
        assert gradient[place] == pytest.approx((ahead - behind) / (2 * step), abs=1e-7)


def test_a_request_computes_what_was_trained(rng: np.random.Generator) -> None:
    """The loss of one choice against all titles is its log-odds among the logits of a request."""
    network = exact(network_over(9, 4, rng), rng)
    shown, target = rng.integers(9, size=6), 3
    batch = Batch(
        shown=shown[:, None],
        kept=np.ones((6, 1, 4)),
        asked=np.array([5]),
        target=np.array([target]),
        hidden=np.ones((1, 8)),
        rivals=np.arange(9),
        mass=np.zeros(9),
    )
    logits = network.logits(shown)
    loss = np.log(np.exp(logits).sum()) - logits[target]
    assert loss_and_gradients(network, batch)[0] == pytest.approx(loss, rel=1e-5)


def test_only_the_latest_steps_count(rng: np.random.Generator) -> None:
    network = network_over(9, 4, rng)
    history = rng.integers(9, size=WINDOW + 20)
    assert np.array_equal(network.logits(history), network.logits(history[-WINDOW:]))
    assert not np.array_equal(network.logits(history), network.logits(history[-WINDOW + 1 :]))


def alternating(rng: np.random.Generator, users: int = 60, length: int = 10) -> tuple[NDArray, NDArray]:
    """Two strands of ten titles that each go on in order, a step of one, then a step of the other."""
    starts = rng.integers(10, size=(users, 2))
    step = np.arange(length)
    rows = 10 * (step % 2) + (starts[:, step % 2] + step // 2) % 10
    return np.repeat(np.arange(users), length), rows.ravel()


def test_it_learns_what_follows_from_the_title_before_the_last(rng: np.random.Generator) -> None:
    """The very last title says nothing about the next one but the strand."""
    user, row = alternating(rng)
    network = train(network_over(20, 16, rng), user, row, replace(QUICK, passes=60), rng)
    for last in (11, 14, 18):
        assert network.logits(np.array([2, 10, 3, last])).argmax() == 4
        assert network.logits(np.array([6, 10, 7, last])).argmax() == 8


def test_the_same_likes_teach_the_same_weights(rng: np.random.Generator) -> None:
    user, row = alternating(rng)
    first, second = (
        train(network_over(20, 8, np.random.default_rng(1)), user, row, QUICK, np.random.default_rng(2))
        for _ in range(2)
    )
    for name, weights in weights_of(first).items():
        assert weights.tobytes() == weights_of(second)[name].tobytes(), name
        assert weights.dtype == np.float32, name


def test_training_never_takes_more_steps_than_it_was_given(rng: np.random.Generator) -> None:
    user, row = alternating(rng)
    long, longer = (
        train(network_over(20, 8, np.random.default_rng(1)), user, row, recipe, np.random.default_rng(2))
        for recipe in (replace(QUICK, steps=5), replace(QUICK, steps=5, passes=10_000))
    )
    assert np.array_equal(long.embedding, longer.embedding)


def test_training_leaves_the_network_that_it_began_with_as_it_was(rng: np.random.Generator) -> None:
    network = network_over(20, 8, rng)
    before = network.embedding.copy()
    trained = train(network, *alternating(rng), replace(QUICK, passes=1), rng)
    assert np.array_equal(network.embedding, before)
    assert not np.array_equal(trained.embedding, before)


def test_a_new_title_joins_what_was_learned_of_the_others(rng: np.random.Generator) -> None:
    earlier = untrained(np.array([2, 5, 9], np.int32), np.ones(3), 4, rng)
    fresh = untrained(np.array([2, 4, 9], np.int32), np.ones(3), 4, rng)
    joined = carried_over(earlier, fresh)
    assert joined.titles.tolist() == [2, 4, 9]
    assert np.array_equal(joined.embedding, np.stack([earlier.embedding[0], fresh.embedding[1], earlier.embedding[2]]))
    assert np.array_equal(joined.mix, earlier.mix)
    assert not np.array_equal(fresh.mix, earlier.mix)


def test_sequences_leave_out_titles_that_the_network_does_not_cover(rng: np.random.Generator) -> None:
    network = untrained(np.array([2, 5, 9], np.int32), np.ones(3), 4, rng)
    user, row = np.array([0, 0, 0, 1, 1, 3, 3]), np.array([9, 4, 2, 5, 7, 5, 2])
    assert [each.tolist() for each in sequences_of(network, user, row)] == [[2, 0], [1, 0]]


@pytest.mark.parametrize("enough", [100, 1000])
def test_a_snapshot_holds_the_network_that_was_trained_and_none_of_too_few_likes(
    enough: int, folder: Path, interactions: Interactions, tmp_path: Path
) -> None:
    changed = Folder(shutil.copytree(folder, tmp_path / "changed"))
    (changed.path / MANIFEST).unlink()
    p = SnapshotParameters(next_title_positives=enough, next_title_dims=8)
    built = Snapshot.open(folder)
    network = write_next_title(changed, positives_of(interactions, built.keys), p)
    facts = {"items": len(built), "dims": built.vectors.shape[1], "parameters": {}, "counts": {}}
    found = Snapshot.open(finish(changed, tmp_path, NOW, facts)).next_title
    assert (found is None) == (network is None) == (enough == 1000)
    if network and found:
        assert np.array_equal(found.titles, network.titles)
        for name, weights in weights_of(network).items():
            assert np.array_equal(getattr(found, name), weights), name


def test_the_odds_against_a_sample_are_on_average_those_against_all_titles(rng: np.random.Generator) -> None:
    """Each rival speaks for as many as were left out, however unevenly they are drawn."""
    network = exact(network_over(400, 8, rng), rng)
    included = inclusion(np.arange(400), replace(QUICK, rivals=100, popular=1.0))
    asked = Batch(
        shown=rng.integers(400, size=6)[:, None],
        kept=np.ones((6, 1, 8)),
        asked=np.array([5]),
        target=np.array([3]),
        hidden=np.ones((1, 16)),
        rivals=np.arange(400),
        mass=np.zeros(400),
    )
    odds = []
    for _ in range(1000):
        rivals, mass = rivals_of(included, rng)
        odds.append(np.exp(loss_and_gradients(network, replace(asked, rivals=rivals, mass=mass))[0]))
    assert included.sum() == pytest.approx(100)
    assert np.mean(odds) == pytest.approx(np.exp(loss_and_gradients(network, asked)[0]), rel=0.03)


def test_a_network_goes_on_from_an_earlier_one_in_a_share_of_the_passes(
    folder: Path, interactions: Interactions, tmp_path: Path
) -> None:
    positives = positives_of(interactions, Snapshot.open(folder).keys)
    p = SnapshotParameters(next_title_positives=100, next_title_dims=8, next_title_passes=8, next_title_again=0.25)
    told: dict[str, list[float]] = {"first": [], "again": []}
    first = write_next_title(Folder(tmp_path), positives, p, None, told["first"].append)
    again = write_next_title(Folder(tmp_path), positives, p, first, told["again"].append)
    assert (len(told["first"]), len(told["again"])) == (8, 2)
    assert first is not None
    assert again is not None
    moved = np.abs(again.mix - first.mix).max()
    assert 0 < moved < 0.1 * np.abs(first.mix).max()  # a training from scratch would have begun elsewhere
