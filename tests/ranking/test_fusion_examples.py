"""Examples hold what a request would have known, and a pool that stands for the catalogue."""

from pathlib import Path

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot

from core.candidates.signals import FULL_EVIDENCE, SIGNALS
from core.candidates.viewer import view
from core.profile.state import UserState, fold
from core.ranking.examples import TARGET, Examples, Moment, collect_examples
from core.ranking.fusion import standing
from core.ranking.query import Context, Filters
from core.ranking.rules import allowed_rows
from core.snapshot.snapshot import Snapshot

POOL = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder: Path = tmp_path_factory.mktemp("examples")
    return snapshot(folder)


def moment(world: Snapshot, liked: int, target: str) -> Moment:
    state = fold(UserState("ann"), enumerate(likes("ann", DRAMAS[:liked]), 1))
    allowed = allowed_rows(world, state, Filters(), (), True, NOW)
    counts = np.arange(len(world), dtype=np.float32)
    row = world.row(target)
    assert row is not None
    return Moment(view(world, state, Context(), NOW, counts, allowed, 0.8), row, 7)


def collected(world: Snapshot, *moments: Moment, seed: int = 0) -> Examples:
    return collect_examples(moments, np.random.default_rng(seed), pool=POOL)


def test_the_liked_title_comes_first_with_the_standings_of_a_request(world: Snapshot) -> None:
    one = moment(world, 8, DRAMAS[20])
    examples = collected(world, one)
    assert examples.rows[0, TARGET] == one.target
    for place, name in enumerate(examples.names):
        expected = standing(SIGNALS[name](one.viewer), full=FULL_EVIDENCE.get(name, 0.0))[examples.rows[0]]
        assert examples.standings[0, :, place] == pytest.approx(expected)


def test_a_pool_speaks_for_every_title_that_could_have_been_recommended(world: Snapshot) -> None:
    one = moment(world, 8, DRAMAS[20])
    examples = collected(world, one)
    assert len(set(examples.rows[0].tolist())) == POOL
    assert one.viewer.allowed[examples.rows[0]].all()
    assert examples.mass.sum() == pytest.approx(one.viewer.allowed.sum())


def test_a_title_that_was_seen_already_is_no_example(world: Snapshot) -> None:
    assert len(collected(world, moment(world, 8, DRAMAS[3]), moment(world, 8, COMEDIES[3]))) == 1


def test_examples_tell_who_chose_and_how_long_the_history_was(world: Snapshot) -> None:
    examples = collected(world, *(moment(world, liked, DRAMAS[39]) for liked in (0, 4, 12, 30)))
    assert examples.bucket.tolist() == [0, 1, 2, 3]
    assert examples.positives.tolist() == [0, 4, 12, 30]
    assert set(examples.user.tolist()) == {7}


def test_the_same_draw_gives_the_same_pool(world: Snapshot) -> None:
    first, again, other = (collected(world, moment(world, 8, DRAMAS[20]), seed=seed) for seed in (0, 0, 1))
    assert (first.rows == again.rows).all()
    assert (first.rows != other.rows).any()
