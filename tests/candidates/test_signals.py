"""What the strategies know of every title."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot

from core.candidates.collaborative import horizon, sequence
from core.candidates.context import LIFT_EVIDENCE, context_scores
from core.candidates.signals import SIGNALS, STRATEGY_OF
from core.candidates.viewer import Viewer, view
from core.flows.proposals import STRATEGIES
from core.profile.state import UserState, fold
from core.ranking.query import Context
from core.snapshot.snapshot import Neighbours, Snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("signals"))


def viewer_of(world: Snapshot, *liked: str, context: Context | None = None) -> Viewer:
    state = fold(UserState("ann"), enumerate(likes("ann", liked), 1))
    nothing = np.zeros(len(world), np.float32)
    return view(world, state, context or Context(), NOW, nothing, np.ones(len(world), bool), 0.8)


def test_every_signal_is_a_strategy_or_a_part_of_one() -> None:
    assert {STRATEGY_OF.get(name, name) for name in SIGNALS} == set(STRATEGIES)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_says_something_finite_of_every_title(world: Snapshot, name: str) -> None:
    for liked in ((), DRAMAS[:6]):
        scores = SIGNALS[name](viewer_of(world, *liked))
        assert scores.shape == (len(world),)
        assert np.isfinite(scores).all()


def test_the_latest_title_leads_on_most_at_each_time_scale(world: Snapshot) -> None:
    """The first like leads to one comedy, the second to another: .5 and 1 on a fast scale, .9 and 1 on a slow one."""
    n, first, last = len(world), world.row(DRAMAS[0]), world.row(DRAMAS[1])
    lists = Neighbours(np.arange(n, dtype=np.int32)[:, None], np.zeros((n, 1), np.float16))
    for row, name in ((first, COMEDIES[0]), (last, COMEDIES[1])):
        lists.index[row], lists.weight[row] = world.row(name), 1.0
    two_scales = replace(world, sequence={0.5: lists, 0.9: lists})
    scores = sequence(viewer_of(two_scales, DRAMAS[0], DRAMAS[1]))
    led = [scores[world.row(name)] for name in COMEDIES[:2]]
    assert led == pytest.approx([0.5 + 0.9, 1 + 1], rel=1e-5)
    assert np.count_nonzero(scores) == 2


def test_without_a_model_of_sequences_that_signal_is_silent(world: Snapshot) -> None:
    assert not sequence(viewer_of(replace(world, sequence={}), *DRAMAS[:8])).any()


def test_a_decay_reaches_back_until_less_than_a_hundredth_is_left() -> None:
    assert 0.85 ** horizon(0.85) <= 0.01 < 0.85 ** (horizon(0.85) - 1)


def test_a_circumstance_lifts_titles_as_far_as_there_is_evidence(world: Snapshot) -> None:
    """Two titles are watched three times as often in the evening; of one there are 10 positives, of the other 5 000."""
    popular = np.full(len(world), 100.0, np.float32)
    popular[:2] = 10.0, 5000.0
    share = popular / popular.sum()
    dayparts = np.tile(share, (4, 1))
    dayparts[3, :2] *= 3
    dayparts[3, 2:] *= (1 - dayparts[3, :2].sum()) / dayparts[3, 2:].sum()
    known = replace(
        world, popularity=popular, popularity_all=popular, dayparts=dayparts, weekend=np.tile(share, (2, 1))
    )
    evening, night = (
        context_scores(viewer_of(known, context=Context(time_of_day=part))) for part in ("evening", "night")
    )
    lift = evening[:2] / night[:2]
    assert lift[0] == pytest.approx(2 ** (10 / (10 + LIFT_EVIDENCE)), rel=1e-3)
    assert lift[1] == pytest.approx(2 ** (5000 / (5000 + LIFT_EVIDENCE)), rel=1e-3)
