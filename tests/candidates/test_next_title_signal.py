"""The signal of the next-title network: what it expects among the allowed titles, the best of them in full."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot
from numpy.typing import NDArray

from core.candidates.next_title import next_title
from core.candidates.viewer import view
from core.profile.state import UserState, fold
from core.ranking.query import Context
from core.snapshot.next_title_network import NextTitleNetwork, untrained
from core.snapshot.snapshot import Snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """It knows the dramas only."""
    opened = snapshot(tmp_path_factory.mktemp("next-title"))
    rows = np.array(sorted(opened.row(title) for title in DRAMAS), np.int32)
    return replace(opened, next_title=untrained(rows, np.ones(len(rows)), 8, np.random.default_rng(0)))


def network_of(world: Snapshot) -> NextTitleNetwork:
    assert world.next_title is not None
    return world.next_title


def scores_of(world: Snapshot, *liked: str, forbidden: tuple[str, ...] = ()) -> NDArray:
    state = fold(UserState("ann"), enumerate(likes("ann", liked), 1))
    allowed = np.ones(len(world), bool)
    allowed[[world.row(title) for title in forbidden]] = False
    return next_title(view(world, state, Context(), NOW, np.zeros(len(world), np.float32), allowed, 0.8))


def test_scores_are_chances_relative_to_the_best(world: Snapshot) -> None:
    network = network_of(world)
    logits = network.logits(network.places(np.array([world.row(DRAMAS[3]), world.row(DRAMAS[1])])))
    scores = scores_of(world, DRAMAS[3], DRAMAS[1])
    assert scores[network.titles] == pytest.approx(np.exp(logits - logits.max()), rel=1e-5)
    assert scores.max() == 1.0


def test_the_order_of_likes_counts(world: Snapshot) -> None:
    assert not np.allclose(scores_of(world, DRAMAS[3], DRAMAS[1]), scores_of(world, DRAMAS[1], DRAMAS[3]))


def test_the_best_is_sought_among_what_is_allowed(world: Snapshot) -> None:
    best = world.content_id(int(scores_of(world, DRAMAS[0]).argmax()))
    scores = scores_of(world, DRAMAS[0], forbidden=(best,))
    assert scores[world.row(best)] == 0.0
    assert scores.max() == 1.0
    assert not scores_of(world, DRAMAS[0], forbidden=tuple(DRAMAS)).any()


def test_titles_that_it_does_not_know_say_nothing_and_are_not_expected(world: Snapshot) -> None:
    assert not scores_of(world, COMEDIES[0]).any()
    assert np.array_equal(scores_of(world, DRAMAS[0], COMEDIES[0]), scores_of(world, DRAMAS[0]))
    assert not scores_of(world, DRAMAS[0])[[world.row(title) for title in COMEDIES]].any()


def test_without_a_network_or_history_nothing_is_expected(world: Snapshot) -> None:
    assert not scores_of(world).any()
    assert not scores_of(replace(world, next_title=None), DRAMAS[0]).any()
