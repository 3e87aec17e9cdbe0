"""New viewers and new titles: what little is known bends what is shown, and nobody stays unseen."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from core.candidates.arms import LIKED, MAX_LIFT, SHOWN, Outcomes, genre_lifts, lay_out
from core.candidates.exploration import counters_of, explore, fresh_rows
from core.candidates.viewer import Viewer, view
from core.catalog import Availability, Title
from core.config import RankingSettings
from core.flows.explored import PLACE, STRATEGY
from core.flows.recommend import rank
from core.interaction import Event, Interaction, InteractionType, Onboarding
from core.profile.state import UserState, fold
from core.ranking.query import Context, Query
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot

NOW = 1_790_000_000.0  # September 2026
THEMES = ("space", "love", "crime")
GENRES = {"space": "science fiction", "love": "romance", "crime": "crime"}
DAY_S = 86_400.0
ALWAYS = RankingSettings(exploration_share=1.0)


def film(name: str, theme: str, year: int | None = 2000, **facts: object) -> Title:
    return Title(name, name, year=year, genres=(GENRES[theme],), keywords=(theme,), **facts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Of each theme twenty old films, liked by thirty viewers each, and eight of this year that nobody has met."""
    old = [film(f"{theme}-{i}", theme) for theme in THEMES for i in range(20)]
    new = [film(f"new-{theme}-{i}", theme, 2026) for theme in THEMES for i in range(8)]
    forgotten = [film("forgotten", "space", 1950), film("undated", "space", None)]
    arrived = [film("arrived", "space", 1950, availability=(Availability("Lumen", "DE", NOW - 10 * DAY_S),))]
    episode = [Title("new-episode", "new-episode", "episode", 2026, series_id="love-1", genres=("romance",))]
    events = [like(f"viewer-{i}", title.content_id, NOW - DAY_S * (1 + i)) for title in old for i in range(30)]
    root = tmp_path_factory.mktemp("exploration")
    return Snapshot.open(build([*old, *new, *forgotten, *arrived, *episode], collect_interactions(events), NOW, root))


def like(user: str, content_id: str, at: float = NOW - 60, kind: InteractionType = InteractionType.LIKE) -> Interaction:
    return Interaction(f"{user}-{content_id}", user, content_id, kind, at)


def state_of(user: str, *events: Event) -> UserState:
    return fold(UserState(user), enumerate(events, 1))


def fan_of(theme: str, user: str = "ann", titles: int = 3) -> UserState:
    return state_of(user, *(like(user, f"{theme}-{i}") for i in range(titles)))


def viewer_of(world: Snapshot, state: UserState, outcomes: Outcomes | None = None, draw: bool = False) -> Viewer:
    nothing, everything = np.zeros(len(world), np.float32), np.ones(len(world), bool)
    return view(world, state, Context(), NOW, nothing, everything, 0.8, outcomes, draw)


def names(world: Snapshot, rows: np.ndarray) -> set[str]:
    return {world.content_id(row) for row in rows}


def test_new_is_what_came_lately_and_hardly_anybody_liked(world: Snapshot) -> None:
    found = names(world, fresh_rows(world))
    assert found == {f"new-{theme}-{i}" for theme in THEMES for i in range(8)} | {"undated", "arrived"}


def test_a_new_title_goes_with_what_the_viewer_liked(world: Snapshot) -> None:
    for theme in ("love", "crime"):
        drawn = [explore(viewer_of(world, fan_of(theme)), None, np.random.default_rng(seed)) for seed in range(20)]
        assert names(world, np.array(drawn)) <= {f"new-{theme}-{i}" for i in range(8)}
        assert len(set(drawn)) > 1, "not always the same one"


def test_who_has_no_history_or_may_see_nothing_new_gets_none(world: Snapshot) -> None:
    assert explore(viewer_of(world, UserState("ann")), None, np.random.default_rng(0)) is None
    viewer = viewer_of(world, fan_of("love"))
    old = np.ones(len(world), bool)
    old[fresh_rows(world)] = False
    assert explore(replace(viewer, allowed=old), None, np.random.default_rng(0)) is None


def test_what_pleases_is_shown_more_and_what_does_not_sinks(world: Snapshot) -> None:
    """Of eight equal candidates one was liked in 15 of 100 answers and one in none of 100."""
    counts = {"shown:title:new-love-1": 100.0, "liked:title:new-love-1": 15.0, "shown:title:new-love-2": 100.0}
    outcomes, viewer = lay_out(counts, world), viewer_of(world, fan_of("love"))
    rng = np.random.default_rng(0)
    drawn = Counter(world.content_id(explore(viewer, outcomes, rng)) for _ in range(1000))  # type: ignore[arg-type]
    untried = [drawn[f"new-love-{i}"] for i in (0, 3, 4, 5, 6, 7)]
    assert drawn["new-love-1"] > max(untried)
    assert drawn["new-love-2"] < min(untried)
    assert min(untried) > 50, "nobody stays unseen"


def served(world: Snapshot, state: UserState, settings: RankingSettings, limit: int = 10, **more: object) -> tuple:
    query = Query(state.user_id, limit=limit, **more)  # type: ignore[arg-type]
    return rank(world, state, np.zeros(len(world), np.float32), query, settings, NOW).items


def test_one_place_of_an_answer_goes_to_a_new_title_and_says_so(world: Snapshot) -> None:
    without, items = (served(world, fan_of("love"), RankingSettings(exploration_share=share)) for share in (0.0, 1.0))
    assert [item.content_id for item in items[:9]] == [item.content_id for item in without[:9]]
    assert items[PLACE - 1].strategy == STRATEGY
    assert items[PLACE - 1].content_id.startswith("new-love")
    assert items[PLACE - 1].explanation.startswith("New: love, as in love-")
    assert items[PLACE - 1].score == pytest.approx(sum(items[PLACE - 1].parts.values()))
    assert len({item.row for item in items}) == len(items) == 10


def test_it_never_comes_before_the_sixth_place_nor_into_a_short_answer(world: Snapshot) -> None:
    for limit in range(1, 25):
        items = served(world, fan_of("love"), ALWAYS, limit)
        places = [place for place, item in enumerate(items, 1) if item.strategy == STRATEGY]
        assert len(items) == limit
        assert places == ([] if limit < 6 else [min(limit, PLACE)])


def test_the_same_request_in_the_same_state_is_answered_the_same(world: Snapshot) -> None:
    fan, next_state = fan_of("love"), fan_of("love", titles=4)
    first, again, later = (served(world, state, ALWAYS)[PLACE - 1].content_id for state in (fan, fan, next_state))
    assert first == again
    others = {served(world, fan_of("love", f"user-{i}"), ALWAYS)[PLACE - 1].content_id for i in range(12)}
    assert len(others | {later}) > 3


def test_a_share_of_the_answers_has_it(world: Snapshot) -> None:
    answers = [served(world, fan_of("love", f"user-{i}"), RankingSettings(exploration_share=0.3)) for i in range(100)]
    explored = sum(any(item.strategy == STRATEGY for item in items) for items in answers)
    assert 15 <= explored <= 45


def test_a_first_like_bends_a_new_viewers_popularity_within_bounds(world: Snapshot) -> None:
    lifts = viewer_of(world, fan_of("crime", titles=1)).genre_lifts
    assert lifts is not None
    crime, love = lifts[world.row("crime-9")], lifts[world.row("love-9")]
    assert 1 / MAX_LIFT <= love < 1 < crime <= MAX_LIFT
    more = viewer_of(world, fan_of("crime", titles=4)).genre_lifts
    assert more[world.row("crime-9")] > crime, "each further like counts"


def test_a_dislike_and_chosen_genres_bend_it_too(world: Snapshot) -> None:
    disliked = state_of("ann", like("ann", "love-1", kind=InteractionType.DISLIKE))
    lifts = viewer_of(world, disliked).genre_lifts
    assert 1 / MAX_LIFT <= lifts[world.row("love-9")] < lifts[world.row("crime-9")]
    chosen = state_of("ann", Onboarding("e", "ann", NOW, genres=("romance",)))
    lifts = viewer_of(world, chosen).genre_lifts
    assert lifts[world.row("love-9")] > lifts[world.row("crime-9")]


def test_whoever_has_a_history_needs_no_bandit(world: Snapshot) -> None:
    assert viewer_of(world, fan_of("crime", titles=6)).genre_lifts is None
    assert viewer_of(world, UserState("ann")).genre_lifts is None, "nor who says nothing, before anybody else did"


def test_what_others_made_of_answers_is_the_prior_of_new_viewers(world: Snapshot) -> None:
    counts = {f"shown:genre:{genre}": 5000.0 for genre in GENRES.values()}
    counts |= {"liked:genre:crime": 600.0, "liked:genre:romance": 300.0, "liked:genre:science fiction": 300.0}
    lifts = viewer_of(world, UserState("ann"), lay_out(counts, world)).genre_lifts
    assert lifts[world.row("crime-9")] > 1.2 > 1 > lifts[world.row("love-9")]


def test_draws_differ_between_viewers_but_not_for_one_and_have_the_posteriors_mean(world: Snapshot) -> None:
    row = world.row("crime-9")
    drawn = [viewer_of(world, fan_of("crime", f"u{i}", 1), draw=True).genre_lifts[row] for i in range(200)]
    again = viewer_of(world, fan_of("crime", "u0", 1), draw=True).genre_lifts[row]
    assert again == drawn[0]
    assert len(set(drawn)) > 190
    assert np.mean(drawn) == pytest.approx(viewer_of(world, fan_of("crime", titles=1)).genre_lifts[row], abs=0.05)


def test_outcomes_are_counted_by_new_title_and_by_genre(world: Snapshot) -> None:
    shown = {"new-love-1": 2.0, "love-3": 1.0, "crime-2": 0.5, "nobody-knows": 9.0}
    counts = counters_of(world, {SHOWN: shown, LIKED: {"love-3": 1.0}})
    assert counts == {
        "shown:title:new-love-1": 2.0,
        "shown:genre:romance": 3.0,
        "shown:genre:crime": 0.5,
        "liked:genre:romance": 1.0,
    }
    laid_out = lay_out(counts | {"odd": 1.0, "shown:title:gone": 3.0, "lost:title:new-love-1": 4.0}, world)
    assert laid_out.shown[world.row("new-love-1")] == 2
    assert laid_out.shown.sum() == 2
    assert laid_out.genre_liked.sum() == 1
    assert not laid_out.liked.any()


def test_a_catalogue_without_genres_is_left_alone(world: Snapshot) -> None:
    attributes = world.attributes.copy()
    attributes["genres"] = 0
    bare = replace(world, attributes=attributes)
    state = fan_of("crime", titles=1)
    rows, taste = np.array([world.row("crime-0")]), np.ones(1, np.float32)
    assert genre_lifts(bare, state, rows, taste) is None
