"""A rehearsal sees what a request would have seen just before each like, and nothing after it."""

from pathlib import Path

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, TITLES

from core.interaction import Event, Interaction, InteractionType
from core.profile.preference import DAY_S, preference_weights
from core.snapshot.build import build
from core.snapshot.inputs import Interactions, collect_interactions
from core.snapshot.moments import before, last_stretch, moments
from core.snapshot.snapshot import Snapshot

START = 1_700_000_000.0
HALF_LIFE_S = DAY_S


def event(user: str, title: str, day: float, kind: InteractionType = InteractionType.LIKE) -> Interaction:
    return Interaction(f"{user}-{title}", user, title, kind, START + day * DAY_S, device="tv")


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    """Ten viewers like a drama a day, the last one on day 9; one skips comedies instead."""
    events: list[Event] = [
        event(f"v{user}", DRAMAS[user + day], day + user / 100) for user in range(10) for day in range(10)
    ]
    events += [event("cross", COMEDIES[day], day + 0.5, InteractionType.SKIP_CONTENT) for day in range(10)]
    return collect_interactions(events)


@pytest.fixture(scope="module")
def world(interactions: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder: Path = tmp_path_factory.mktemp("moments")
    stretch = last_stretch(interactions, 0.3, 1000)
    return Snapshot.open(build(TITLES, before(interactions, stretch.known), stretch.cut, folder))


def test_the_stretch_holds_the_latest_likes_and_the_item_side_only_what_came_before(interactions: Interactions) -> None:
    stretch = last_stretch(interactions, 0.3, 1000)
    assert len(stretch.asked) == 30
    assert (interactions.at[stretch.asked] >= stretch.cut).all()
    assert before(interactions, stretch.known).at.max() < stretch.cut
    assert (np.diff(interactions.at[stretch.asked]) >= 0).all()


def test_at_most_so_many_likes_are_drawn_from_all_of_the_stretch(interactions: Interactions) -> None:
    whole, drawn = (last_stretch(interactions, 0.5, most).asked for most in (1000, 7))
    assert len(drawn) == 7
    assert {whole[0], whole[-1]} <= set(drawn.tolist()) <= set(whole.tolist())


def test_without_times_the_last_like_of_each_viewer_is_asked_for(interactions: Interactions) -> None:
    stretch = last_stretch(interactions, 0.1, 1000, holdout="last")
    assert sorted(interactions.user[stretch.asked].tolist()) == sorted(set(interactions.user[interactions.weight > 0]))
    left = before(interactions, stretch.known)
    assert np.bincount(left.user)[interactions.user[stretch.asked]].tolist() == [9] * 10
    assert not stretch.online


def test_each_moment_knows_what_came_before_it_and_no_more(interactions: Interactions, world: Snapshot) -> None:
    stretch = last_stretch(interactions, 0.3, 1000)
    replayed = list(moments(interactions, stretch, world, HALF_LIFE_S, 0.8, 0))
    assert len(replayed) == 30
    for index, moment in zip(stretch.asked, replayed, strict=True):
        own = interactions.user == interactions.user[index]
        earlier = own & (interactions.at < interactions.at[index])
        assert moment.viewer.now == interactions.at[index]
        assert moment.viewer.state.history["key"].tolist() == interactions.key[earlier].tolist()
        assert moment.target == world.rows(interactions.key[[index]])[0]
        assert moment.viewer.allowed[moment.target]
        assert not moment.viewer.allowed[world.rows(interactions.key[earlier])].any()
        assert moment.viewer.context.device == "tv"


def test_the_counters_are_those_of_that_time(interactions: Interactions, world: Snapshot) -> None:
    """Decayed by hand from all likes before; skips are not counted."""
    stretch = last_stretch(interactions, 0.3, 1000)
    rows, prior = world.rows(interactions.key), world.popularity_all
    for index, moment in list(
        zip(stretch.asked, moments(interactions, stretch, world, HALF_LIFE_S, 0.8, 0), strict=True)
    )[::7]:
        past = (interactions.at < interactions.at[index]) & (interactions.weight > 0)
        decayed = 2.0 ** (-(interactions.at[index] - interactions.at[past]) / HALF_LIFE_S)
        counts = np.bincount(rows[past], decayed, minlength=len(world)) + prior * (30.0 / prior.sum())
        assert moment.viewer.trending == pytest.approx(counts / counts.sum(), abs=1e-6)


def test_what_people_went_on_to_is_known_from_the_cut_to_that_time(interactions: Interactions, world: Snapshot) -> None:
    """One like per viewer and day: each leads from the five days before to that day's title."""
    stretch = last_stretch(interactions, 0.3, 1000)
    rows = world.rows(interactions.key)
    for index, moment in zip(stretch.asked, moments(interactions, stretch, world, HALF_LIFE_S, 0.8, 0), strict=True):
        now, live = interactions.at[index], moment.viewer.live
        since = (interactions.at >= stretch.cut) & (interactions.at < now) & (interactions.weight > 0)
        assert live is not None
        assert len(live) == np.count_nonzero(since)
        expected: dict[int, float] = {}  # towards where this moment's title leads
        for other in np.flatnonzero(since):
            own = (interactions.user == interactions.user[other]) & (interactions.at < interactions.at[other])
            for step, earlier in enumerate(rows[own][-5:][::-1].tolist()):
                if earlier == moment.target:
                    expected[int(rows[other])] = expected.get(int(rows[other]), 0.0) + 0.7**step
        total = sum(expected.values())
        found = live.from_row(moment.target)
        told = dict(zip(found[0].tolist(), found[1].tolist(), strict=True)) if found else {}
        assert told == pytest.approx({row: count / (total + 20) for row, count in expected.items()})


def test_without_times_nothing_is_known_of_what_people_went_on_to(interactions: Interactions, world: Snapshot) -> None:
    stretch = last_stretch(interactions, 0.1, 1000, holdout="last")
    assert all(moment.viewer.live is None for moment in moments(interactions, stretch, world, HALF_LIFE_S, 0.8, 0))


def test_titles_that_hardly_anybody_knew_are_no_candidates(interactions: Interactions, world: Snapshot) -> None:
    stretch = last_stretch(interactions, 0.3, 1000)
    for moment in moments(interactions, stretch, world, HALF_LIFE_S, 0.8, 3):
        assert (world.popularity_all[moment.viewer.allowed] >= 3).all()


def test_an_entry_of_a_replayed_history_weighs_like_the_event_did(world: Snapshot) -> None:
    kinds = (InteractionType.LIKE, InteractionType.WATCH_COMPLETE, InteractionType.SKIP_CONTENT, InteractionType.LIKE)
    told = collect_interactions([event("one", DRAMAS[day], day, kind) for day, kind in enumerate(kinds)])
    [moment] = moments(told, last_stretch(told, 0.01, 1), world, HALF_LIFE_S, 0.8, 0)
    assert preference_weights(moment.viewer.state.history) == pytest.approx([1.0, 1.0, -0.3], abs=0.04)
