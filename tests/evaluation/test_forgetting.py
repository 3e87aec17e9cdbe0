"""Constructed shifts of taste: nothing held back is seen, tastes differ, and what should forget does."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from core.catalog import Title
from core.config import AdaptationSettings
from core.errors import InvalidInput
from core.evaluation.dataset import Dataset
from core.evaluation.forgetting import (
    NO_EWC,
    NOTHING_LEARNED,
    REPLAY,
    STOPPED,
    UNGATED,
    VARIANTS,
    answers,
    forgetting,
    lead,
)
from core.evaluation.forgetting_table import forgetting_table
from core.evaluation.protocol_pages import forgetting_page
from core.evaluation.shifted_world import World, make_world
from core.evaluation.taste_shift import MIN_LIKES, Shifted, donors, of_dataset
from core.local.demo import demo_titles
from core.local.simulator import simulate
from core.local.simulator.shifted import of_audience

DAY_S = 86_400.0
HALF, USERS, LIKES = 50, 24, 32
TITLES = tuple(
    Title(content_id=f"{genre}-{number}", title="", type="movie", year=2000, genres=(genre,))
    for genre in ("drama", "comedy")
    for number in range(HALF)
)


def two_audiences() -> Dataset:
    """Users who rate 32 of 50 dramas, or of 50 comedies, with five stars, one every six hours."""
    rng = np.random.default_rng(1)
    chosen = [rng.permutation(HALF)[:LIKES] + HALF * (user % 2) for user in range(USERS)]
    m = USERS * LIKES
    at = 1.7e9 + DAY_S / 4 * np.tile(np.arange(LIKES), USERS) + 60.0 * np.repeat(np.arange(USERS), LIKES)
    whole = Dataset(
        "two audiences", np.repeat(np.arange(USERS, dtype=np.int32), LIKES), np.concatenate(chosen).astype(np.int32),
        np.full(m, 5.0, np.float32), at, np.ones(m, bool), tuple(f"u{user}" for user in range(USERS)), TITLES, True,
        4.0,
    )  # fmt: skip
    return whole.reordered(np.argsort(whole.at, kind="stable"))


@pytest.fixture(scope="module")
def shifted() -> Shifted:
    return of_dataset(two_audiences(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def world(shifted: Shifted, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(shifted, tmp_path_factory.mktemp("world"), AdaptationSettings(), np.random.default_rng(0))


def genre(content_id: str) -> str:
    return content_id.split("-")[0]


def test_everybody_gets_the_other_audiences_titles_from_the_shift_on(shifted: Shifted) -> None:
    assert len(shifted.lives) == USERS
    for life in shifted.lives:
        assert life.likeness < 0
        own = {genre(event.content_id) for event in life.events if event.occurred_at < life.shift_at}
        new = {genre(event.content_id) for event in life.events if event.occurred_at >= life.shift_at}
        assert len(own) == len(new) == 1
        assert own != new
        assert {genre(like.content_id) for like in life.old} == own
        assert {genre(like.content_id) for like in life.new} == new
        assert max(like.at for like in life.old) < life.shift_at <= min(like.at for like in life.new)
        assert [event.occurred_at for event in life.events] == sorted(event.occurred_at for event in life.events)


def test_what_is_held_back_is_seen_by_neither_the_user_nor_the_item_side(shifted: Shifted) -> None:
    seen = {(event.user_id, event.content_id) for event in shifted.item_side}
    for life in shifted.lives:
        watched = {event.content_id for event in life.events}
        assert not watched & {like.content_id for like in (*life.old, *life.new)}
        assert not seen & {(life.user_id, like.content_id) for like in life.old}
    hidden = sum(len(life.old) for life in shifted.lives)
    assert len(shifted.item_side) == USERS * LIKES - hidden


def test_a_donor_is_one_of_those_least_alike() -> None:
    rng = np.random.default_rng(2)
    profiles = np.repeat(np.eye(2), 20, axis=0) + 0.1 * rng.random((40, 2))
    chosen, likeness = donors(profiles, rng)
    assert ((chosen < 20) != (np.arange(40) < 20)).all()
    assert (likeness < -0.5).all()


def test_viewers_of_the_simulator_keep_their_habits_and_change_their_taste() -> None:
    titles = list(demo_titles())
    audience = simulate(titles, np.random.default_rng(3), until=1.7e9, viewers=60, days=120, drifting_share=0.0)
    shifted = of_audience(audience, np.random.default_rng(3), most=5, least=8)
    for life in shifted.lives:
        viewer = audience.viewer(life.user_id)
        usual = {event.event_id for event in audience.events_of(viewer)}
        held = {like.content_id for like in (*life.old, *life.new)}
        before = [event for event in life.events if event.occurred_at < life.shift_at]
        assert all(event.event_id in usual for event in before), "the first half is the life they had anyway"
        assert any(event.event_id not in usual for event in life.events)
        assert not held & {event.content_id for event in shifted.item_side if event.user_id == life.user_id}


def test_too_few_users_are_refused() -> None:
    data = two_audiences()
    with pytest.raises(InvalidInput, match=str(MIN_LIKES)):
        of_dataset(data.reordered(np.flatnonzero(data.user < 2)), np.random.default_rng(0))


def test_without_anything_the_old_taste_goes_and_with_replay_it_stays(world: World) -> None:
    """Every update taken: the gate would hide what the training forgets."""
    none = answers(world, np.zeros((USERS, *world.on.space.A_slow.shape[::-1]), np.float32))["auc"]
    old = world.questions.old
    kept, learned = {}, {}
    for name in (NO_EWC, "EWC++", REPLAY):
        outcome = lead(world, replace(AdaptationSettings(), tolerance=inf, **VARIANTS[name]))
        before, after = answers(world, outcome.before)["auc"], answers(world, outcome.after)["auc"]
        assert before[old].mean() > none[old].mean(), "there is something to forget"
        kept[name] = after[old].mean() - before[old].mean()
        learned[name] = after[~old].mean() - before[~old].mean()
        assert len(outcome.found) == USERS
    assert kept[NO_EWC] < kept["EWC++"]
    assert kept[NO_EWC] < kept[REPLAY]
    assert learned[REPLAY] > learned["EWC++"]
    assert learned[REPLAY] > 0


def test_before_the_shift_the_variants_are_one_and_the_same(world: World) -> None:
    first, second = (lead(world, replace(AdaptationSettings(), **VARIANTS[name])).before for name in ("EWC++", NO_EWC))
    undisturbed = [
        place
        for place, (life, moments) in enumerate(zip(world.lives, world.moments, strict=True))
        if sum(moment.at < life.shift_at for moment in moments) > 1
    ]
    assert np.array_equal(first[undisturbed], second[undisturbed])
    assert first.any()


def test_an_adapter_that_is_not_finite_answers_nothing(world: World) -> None:
    broken = np.full((USERS, *world.on.space.A_slow.shape[::-1]), np.nan, np.float32)
    assert not any(values.any() for values in answers(world, broken).values())


def test_the_report_names_every_variant_with_its_controls_and_is_json(world: World) -> None:
    few = replace(world, lives=world.lives[:4], moments=world.moments[:4], own=world.own[:4])
    mask = world.questions.life < 4
    asked = [getattr(world.questions, name)[mask] for name in ("life", "old", "queries", "rows", "passed")]
    few = replace(few, questions=type(world.questions)(*asked))
    report = json.loads(json.dumps(forgetting(few, AdaptationSettings())))
    expected = [*VARIANTS, STOPPED]
    assert set(report["systems"]) == {NOTHING_LEARNED, *expected, *(name + UNGATED for name in expected)}
    stopped = report["systems"][STOPPED]
    assert stopped["kept_auc"]["share"] == 1.0
    assert stopped["old_after_auc"] == stopped["old_before_auc"]
    assert forgetting_table(report).row_count == len(report["systems"])
    page = forgetting_page(report)
    assert page.count("<svg") == 1
    for name in report["systems"]:
        assert name in page


def test_the_default_is_what_the_experiment_found_best() -> None:
    default = AdaptationSettings()
    assert {"ewc_lambda": default.ewc_lambda, "replay": default.replay} == VARIANTS[REPLAY]
