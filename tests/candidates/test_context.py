"""Circumstances change what the same viewer is offered, each in its direction and within bounds."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from core.candidates.calendar import EVENTS, Occasion, occasions, parse_calendar
from core.candidates.context import TOTAL_LIFT, context_scores, dated
from core.candidates.graph import graph_scores, of_same_community
from core.candidates.viewer import Viewer, view
from core.catalog import Title
from core.config import RankingSettings
from core.errors import ConfigurationError
from core.flows.recommend import rank
from core.interaction import Interaction, InteractionType
from core.profile.state import UserState, fold
from core.ranking.query import Context, Query
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot

YEAR_S = 365.25 * 86_400
GENRES = ("drama", "comedy", "horror", "romance", "family", "action")


def moment(day: str) -> float:
    return datetime.fromisoformat(f"2026-{day}T20:00:00+00:00").timestamp()


MARCH, OCTOBER, DECEMBER = moment("04-08"), moment("10-30"), moment("12-18")
CHRISTMAS, GHOST, ADULT = "a-christmas-tale", "the-haunted-house", "only-for-adults"


def film(name: str, *genres: str, **facts: object) -> Title:
    return Title(name, name.replace("-", " ").title(), year=2000, genres=genres, **facts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Sixty films of six genres, one about Christmas, one haunted, one for adults; all equally popular over five years.
    The films with number 0 are liked in July only."""
    titles = [film(f"{genre}-{number}", genre, maturity=6) for genre in GENRES for number in range(10)]
    titles += [film(CHRISTMAS, "drama"), film(GHOST, "drama", keywords=("ghost",)), film(ADULT, "family", maturity=18)]
    rng = np.random.default_rng(0)
    events = []
    for title in titles:
        for viewer in range(40):
            at = moment("07-15") - YEAR_S * (viewer % 5) if title.content_id.endswith("-0") else None
            when = moment("04-01") - 4 * YEAR_S * rng.random() if at is None else at
            user = f"viewer-{rng.integers(200)}-{viewer}"
            event_id = f"{title.content_id}-{viewer}"
            events.append(Interaction(event_id, user, title.content_id, InteractionType.LIKE, when))
    root: Path = tmp_path_factory.mktemp("context")
    return Snapshot.open(build(titles, collect_interactions(events), MARCH, root))


def viewer_at(world: Snapshot, now: float, context: Context | None = None, calendar: str = "") -> Viewer:
    nothing, everything = np.zeros(len(world), np.float32), np.ones(len(world), bool)
    return view(world, UserState("ann"), dated(context or Context(), calendar, now), now, nothing, everything, 0.8)


def relative(world: Snapshot, now: float, name: str, context: Context | None = None, calendar: str = "") -> float:
    """What a title's circumstances make of it, against an action film's."""
    scores = context_scores(viewer_at(world, now, context, calendar))
    return float(scores[world.row(name)] / scores[world.row("action-5")])


def genres_shown(world: Snapshot, context: Context, now: float = MARCH) -> list[str]:
    nothing = np.zeros(len(world), np.float32)
    query = Query("ann", limit=10, context=context)
    ranked = rank(world, UserState("ann"), nothing, query, RankingSettings(genre_cap=1.0), now)
    return [world.title(item.row).genres[0] for item in ranked.items]


def test_in_december_a_christmas_film_rises_for_the_same_viewer(world: Snapshot) -> None:
    assert relative(world, DECEMBER, CHRISTMAS) > 1.5 * relative(world, MARCH, CHRISTMAS)
    assert relative(world, DECEMBER, GHOST) == pytest.approx(relative(world, MARCH, GHOST), rel=0.1)
    assert relative(world, OCTOBER, GHOST) > 1.5 * relative(world, MARCH, GHOST)


def test_in_december_it_comes_first_and_says_why(world: Snapshot) -> None:
    nothing = np.zeros(len(world), np.float32)
    served = {
        now: rank(world, UserState("ann"), nothing, Query("ann"), RankingSettings(), now) for now in (MARCH, DECEMBER)
    }
    names = {now: [item.content_id for item in ranked.items] for now, ranked in served.items()}
    assert names[DECEMBER][0] == CHRISTMAS
    assert CHRISTMAS not in names[MARCH][:1]
    assert served[DECEMBER].items[0].explanation == "Popular now, for Christmas"


def test_a_genre_alone_is_lifted_less_than_what_is_about_the_occasion(world: Snapshot) -> None:
    gain = [relative(world, OCTOBER, name) / relative(world, MARCH, name) for name in ("horror-5", GHOST)]
    assert 1.1 < gain[0] < gain[1]


def test_occasions_can_be_replaced_and_switched_off(world: Snapshot) -> None:
    own = '[{"name": "Comedy week", "start": "12-28", "end": "01-03", "genres": ["Comedy"], "titles": ["drama-3"]}]'
    new_year = moment("01-02")
    assert [one.name for one in occasions(own, new_year)] == ["Comedy week"]
    assert relative(world, new_year, "comedy-3", calendar=own) > relative(world, new_year, "comedy-3", calendar="[]")
    gain = relative(world, new_year, "drama-3", calendar=own) / relative(world, new_year, "drama-3", calendar="[]")
    assert gain == pytest.approx(2.0, rel=1e-3)
    assert occasions(own, DECEMBER) == occasions("[]", DECEMBER) == ()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '[{"name": "x"}]',
        '[{"name": "x", "start": "13-01", "end": "01-01"}]',
        '[{"name": "x", "start": "1-1", "end": "01-02"}]',
        '[{"name": "x", "start": "01-01", "end": "01-02", "lift": 9}]',
        '[{"name": "x", "start": "01-01", "end": "01-02", "colour": "red"}]',
    ],
)
def test_a_calendar_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SONA_RANKING_EVENTS"):
        parse_calendar(text)


def test_an_occasion_over_the_turn_of_the_year_is_on_on_both_sides() -> None:
    days = [datetime.fromtimestamp(moment(day), UTC).date() for day in ("12-29", "12-30", "01-02", "01-03")]
    assert [Occasion("x", "12-30", "01-02").on(day) for day in days] == [False, True, True, False]
    assert all(one.lift <= 3 for one in EVENTS)


def test_what_is_watched_in_summer_rises_in_summer_where_the_log_spans_years(world: Snapshot) -> None:
    summer, spring = (relative(world, moment(day), "drama-0", calendar="[]") for day in ("08-10", "04-08"))
    assert summer > spring


def test_a_log_of_one_season_says_nothing_about_seasons(world: Snapshot, tmp_path: Path) -> None:
    events = [Interaction(f"{i}", f"u{i}", "drama-0", InteractionType.LIKE, MARCH - 86_400.0 * i) for i in range(50)]
    titles = [film("drama-0", "drama"), film("drama-1", "drama")]
    young = Snapshot.open(build(titles, collect_interactions(events), MARCH, tmp_path))
    assert young.seasons is not None
    assert np.ptp(young.seasons, axis=0).max() == 0


def test_with_family_nothing_for_adults_is_shown_and_genres_shift(world: Snapshot) -> None:
    alone, family = genres_shown(world, Context()), genres_shown(world, Context(viewing_with=("family",)))
    suits = {"family", "comedy"}
    assert sum(genre in suits for genre in family) > sum(genre in suits for genre in alone)
    ids = [
        {item.content_id for item in rank(
            world, UserState("ann"), np.zeros(len(world), np.float32),
            Query("ann", limit=100, context=Context(viewing_with=company)), RankingSettings(), MARCH).items}
        for company in ((), ("family",), ("friends",))
    ]  # fmt: skip
    assert [ADULT in found for found in ids] == [True, False, True]
    assert len(ids[1]) == len(world) - 1


@pytest.mark.parametrize(
    ("context", "genre"),
    [
        (Context(viewing_with=("partner",)), "romance"),
        (Context(viewing_with=("friends",)), "horror"),
        (Context(viewing_with=("children",)), "family"),
        (Context(mood="scared"), "horror"),
        (Context(weather="snowy"), "family"),
    ],
)
def test_company_mood_and_weather_lift_what_suits_them(world: Snapshot, context: Context, genre: str) -> None:
    gain = context_scores(viewer_at(world, MARCH, context)) / context_scores(viewer_at(world, MARCH))
    assert 1.1 < gain[world.row(f"{genre}-5")] <= 1.5 + 1e-6
    assert gain.min() == 1


def test_unknown_moods_companies_and_weathers_change_nothing(world: Snapshot) -> None:
    odd = Context(mood="plaid", viewing_with=("aliens",), weather="lava")
    plain = context_scores(viewer_at(world, MARCH))
    assert context_scores(viewer_at(world, MARCH, odd)).tolist() == plain.tolist()


def test_all_circumstances_together_stay_within_their_bound(world: Snapshot) -> None:
    loud = Context("evening", "tv", "happy", ("family",), None, "snowy")
    lifted = context_scores(viewer_at(world, DECEMBER, loud)) / viewer_at(world, DECEMBER).trending
    assert lifted.max() <= TOTAL_LIFT * 1.001
    assert lifted.min() >= 1 / TOTAL_LIFT


def test_a_community_goes_on_where_the_walk_ends(world: Snapshot) -> None:
    """No title beyond the liked one's own list is visited, but one of its community stands above all others."""
    liked = Interaction("e", "ann", "drama-5", InteractionType.LIKE, MARCH - 60)
    state = fold(UserState("ann"), [(1, liked)])
    lists = replace(world.graph, weight=np.zeros_like(world.graph.weight))
    lists.weight[world.row("drama-5"), 0] = 0.5
    communities = np.zeros(len(world), np.int32)
    near = world.row("romance-7")
    communities[[world.row("drama-5"), near]] = 1
    cut = replace(world, graph=lists, communities=communities)
    viewer = view(cut, state, Context(), MARCH, np.zeros(len(cut), np.float32), np.ones(len(cut), bool), 0.8)
    scores = graph_scores(viewer)
    reached = cut.graph.index[world.row("drama-5"), 0]
    assert scores[reached] > scores[near] > 0
    assert np.count_nonzero(scores) == 3  # the title itself is of its community too
    assert of_same_community(viewer, near) == [world.row("drama-5")]
    assert of_same_community(viewer, reached) == []
    older = graph_scores(replace(viewer, snapshot=replace(cut, communities=None)))
    assert np.flatnonzero(older).tolist() == [reached]
