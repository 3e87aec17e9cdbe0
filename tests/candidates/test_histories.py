"""Signals about the whole history and about people: the very last title, all favourites, rarity, kindred viewers."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot
from numpy.typing import NDArray

from core.candidates.collaborative import lasting, onward
from core.candidates.kindred import GAP, LATEST, NEAREST, STEP, kindred
from core.candidates.rarity import rarity
from core.candidates.viewer import WINDOW, Viewer, view
from core.profile.state import UserState, fold
from core.ranking.query import Context
from core.ranking.weights import signal_weights
from core.snapshot.kindred import kindred_viewers
from core.snapshot.positives import Positives
from core.snapshot.snapshot import AFTER, Neighbours, Snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("histories"))


def viewer_of(world: Snapshot, *liked: str) -> Viewer:
    state = fold(UserState("ann"), enumerate(likes("ann", liked), 1))
    nothing = np.zeros(len(world), np.float32)
    return view(world, state, Context(), NOW, nothing, np.ones(len(world), bool), 0.8)


def leading(world: Snapshot, pairs: dict[str, str]) -> Neighbours:
    """Lists in which one title leads to one other with weight 1."""
    lists = Neighbours(np.arange(len(world), dtype=np.int32)[:, None], np.zeros((len(world), 1), np.float16))
    for source, target in pairs.items():
        row = world.row(source)
        lists.index[row], lists.weight[row] = world.row(target), 1.0
    return lists


def test_only_the_very_last_title_leads_onward(world: Snapshot) -> None:
    lists = leading(world, {DRAMAS[0]: COMEDIES[0], DRAMAS[1]: COMEDIES[1]})
    scores = onward(viewer_of(replace(world, transitions=lists), DRAMAS[0], DRAMAS[1]))
    assert np.flatnonzero(scores).tolist() == [world.row(COMEDIES[1])]
    assert not onward(viewer_of(replace(world, transitions=lists))).any()


def test_a_favourite_from_long_ago_counts_like_the_latest_one(world: Snapshot) -> None:
    """It has left the window of the other signals."""
    lists = leading(world, {DRAMAS[0]: COMEDIES[38], COMEDIES[30]: COMEDIES[39]})
    history = (*DRAMAS, *COMEDIES[:31])
    assert len(history) > WINDOW
    scores = lasting(viewer_of(replace(world, collaborative=lists), *history))
    assert scores[world.row(COMEDIES[38])] == scores[world.row(COMEDIES[39])] == 1.0


def test_the_fewer_have_liked_a_title_the_rarer_it_is(world: Snapshot) -> None:
    liked = np.arange(len(world), dtype=np.float32)
    scores = rarity(viewer_of(replace(world, popularity_all=liked), *DRAMAS[:6]))
    assert (np.diff(scores) < 0).all()
    assert scores[0] == 1.0
    nobody = replace(world, popularity_all=np.zeros(len(world), np.float32))
    assert (rarity(viewer_of(nobody, *DRAMAS[:6])) == 1.0).all()


def test_who_has_hardly_any_history_is_not_shown_the_rare(world: Snapshot) -> None:
    assert not rarity(viewer_of(world, *DRAMAS[:5])).any()
    learned = replace(world, fusion=tuple({"context": 1.0, "rarity": 2.0} for _ in range(4)))
    asked = [set(signal_weights(viewer_of(learned, *DRAMAS[:liked]), "tuned")) for liked in (5, 6)]
    assert asked == [{"context"}, {"context", "rarity"}]


def people(world: Snapshot, *histories: tuple[str, ...], viewers: int = 100, per_title: int = 100) -> Snapshot:
    """The world with a sample of viewers who liked these titles in this order, the last of them most recently."""
    user = np.repeat(np.arange(len(histories)), [len(history) for history in histories]).astype(np.int32)
    row = np.array([world.row(title) for history in histories for title in history], np.int64)
    at = user.astype(float)
    positives = Positives(user, row, at, np.full(len(user), -1, np.int8), len(histories), len(world))
    return replace(world, kindred=kindred_viewers(positives, viewers, 100, per_title))


def scores_of(world: Snapshot, *liked: str) -> NDArray:
    return kindred(viewer_of(world, *liked))


def test_what_others_liked_after_a_shared_title_counts_less_with_every_step(world: Snapshot) -> None:
    scores = scores_of(people(world, (COMEDIES[9], DRAMAS[0], *COMEDIES[:7])), DRAMAS[0])
    likeness = 1 / np.sqrt(2)  # one shared title, which one viewer likes
    expected = [likeness * GAP**step for step in range(AFTER)]
    assert [scores[world.row(title)] for title in COMEDIES[:AFTER]] == pytest.approx(expected)
    assert np.count_nonzero(scores) == AFTER  # neither what came before nor what came long after


def test_who_shares_the_later_titles_is_closer(world: Snapshot) -> None:
    shown = people(world, (DRAMAS[0], COMEDIES[0]), (DRAMAS[1], COMEDIES[1]), (DRAMAS[0], DRAMAS[1], COMEDIES[2]))
    scores = scores_of(shown, DRAMAS[0], DRAMAS[1])
    of = [scores[world.row(title)] for title in COMEDIES[:3]]
    once = 1 / np.sqrt(3)  # two viewers like each of the shared titles
    assert of[0] == pytest.approx(once * STEP * STEP)
    assert of[1] == pytest.approx(once)
    both = once * (1 + STEP)
    assert of[2] == pytest.approx(both + both * STEP * GAP)


def test_one_persons_likes_do_not_run_on_into_the_next_ones(world: Snapshot) -> None:
    scores = scores_of(people(world, (COMEDIES[0], DRAMAS[0]), (COMEDIES[1], COMEDIES[2])), DRAMAS[0])
    assert not scores.any()


def test_only_the_latest_titles_are_compared(world: Snapshot) -> None:
    shown = people(world, (DRAMAS[0], COMEDIES[0]), (DRAMAS[1], COMEDIES[1]))
    scores = scores_of(shown, *DRAMAS[: LATEST + 1])
    assert scores[world.row(COMEDIES[0])] == 0 < scores[world.row(COMEDIES[1])]


def test_of_many_people_the_nearest_are_asked(world: Snapshot) -> None:
    """As many as are asked share both titles; one more, who shares one, is not."""
    near = [(DRAMAS[0], DRAMAS[1], COMEDIES[0])] * NEAREST
    scores = scores_of(people(world, (DRAMAS[0], COMEDIES[1]), *near, viewers=1000, per_title=1000), *DRAMAS[:2])
    assert scores[world.row(COMEDIES[1])] == 0 < scores[world.row(COMEDIES[0])]


def test_the_sample_keeps_those_who_were_active_last(world: Snapshot) -> None:
    shown = people(world, (DRAMAS[0], COMEDIES[0]), (DRAMAS[0], COMEDIES[1]), (DRAMAS[0], COMEDIES[2]), viewers=2)
    scores = scores_of(shown, DRAMAS[0])
    assert [scores[world.row(title)] > 0 for title in COMEDIES[:3]] == [False, True, True]
    narrow = people(world, (DRAMAS[0], COMEDIES[0]), (DRAMAS[0], COMEDIES[1]), per_title=1)
    scores = scores_of(narrow, DRAMAS[0])
    assert [scores[world.row(title)] > 0 for title in COMEDIES[:2]] == [False, True]


def test_without_people_or_history_nobody_is_asked(world: Snapshot) -> None:
    assert world.kindred is None
    assert not scores_of(world, DRAMAS[0]).any()
    assert not scores_of(people(world, (DRAMAS[0], COMEDIES[0]))).any()
    assert not scores_of(people(world, (DRAMAS[0], COMEDIES[0])), DRAMAS[5]).any()
