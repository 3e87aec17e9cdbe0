"""Latent tastes show in what is watched, rated and liked; some viewers change theirs."""

import numpy as np
import pytest

from core.catalog import Title
from core.interaction import Interaction, InteractionType
from core.local.simulator import DEMO_VIEWERS, Simulated, Taste, archetypes, simulate, taste_of
from core.local.simulator.screen import open_screen
from core.local.simulator.taste import acclaim, score, title_features

DAY_S = 86_400.0


def mean_appetite(audience: Simulated, archetype: str, content_ids: list[str]) -> float:
    rows = [audience.screen.rows[content_id] for content_id in content_ids]
    return float(audience.screen.appetites[archetype][rows].mean())


def test_viewers_watch_what_their_archetype_likes_more_than_others_do(
    audience: Simulated, viewings: dict[str, list[str]], by_id: dict[str, Title]
) -> None:
    strong = {
        "horror": "genre:horror",
        "animation_and_ghibli": "keyword:anime",
        "westerns_and_frontiers": "genre:western",
    }
    for archetype, feature in strong.items():
        shares: dict[bool, list[bool]] = {True: [], False: []}
        for viewer in audience.viewers:
            if viewer.drift is None:
                has = [feature in title_features(by_id[name]) for name in viewings[viewer.user_id]]
                shares[viewer.taste.share(archetype) >= 0.5] += has
        assert np.mean(shares[True]) > 4.0 * np.mean(shares[False]), archetype


def test_demo_viewers_watch_mostly_what_they_are_known_for(audience: Simulated, viewings: dict[str, list[str]]) -> None:
    for user_id, persona in DEMO_VIEWERS.items():
        main = persona.taste.mixture[0][0]
        everybody = audience.screen.appetites[main]
        names = viewings[user_id]
        assert len(names) >= 10, user_id
        assert mean_appetite(audience, main, names) > everybody.mean() + everybody.std(), user_id


def test_a_film_lover_would_nod_at_what_demo_viewers_like_best(audience: Simulated, titles: list[Title]) -> None:
    favourites = {
        "nadia": {"arrival-2016", "2001-a-space-odyssey-1968", "blade-runner-2049-2017", "solaris-1972"},
        "tom": {"the-french-connection-1971", "the-conversation-1974", "chinatown-1974", "taxi-driver-1976"},
        "yuki": {"spirited-away-2001", "my-neighbor-totoro-1988", "kikis-delivery-service-1989"},
        "carlos": {"the-thing-1982", "halloween-1978", "the-conjuring-2013"},
        "ingrid": {"the-bridge-2011", "the-killing-2007", "trapped-2015"},
        "amara": {"pride-and-prejudice-2005", "sense-and-sensibility-1995", "atonement-2007"},
        "leo": {"the-avengers-2012", "the-dark-knight-2008", "black-panther-2018"},
        "grace": {"parks-and-recreation-2009", "brooklyn-nine-nine-2013", "friends-1994"},
        "ravi": {"pather-panchali-1955", "seven-samurai-1954", "tokyo-story-1953"},
        "piet": {"the-world-at-war-1973", "shoah-1985", "the-civil-war-1990"},
    }
    assert set(favourites) == set(DEMO_VIEWERS)
    for user_id, expected in favourites.items():
        viewer = audience.viewer(user_id)
        best = sorted(titles, key=lambda title, viewer=viewer: -taste_of(viewer, title))[:40]
        assert expected <= {title.content_id for title in best}, user_id


def test_demo_viewers_do_not_depend_on_the_rest_of_the_audience(
    audience: Simulated, titles: list[Title], now: float
) -> None:
    alone = simulate(titles, np.random.default_rng(99), until=now, viewers=10)
    assert alone.viewers == audience.viewers[:10]
    assert [viewer.user_id for viewer in alone.viewers] == list(DEMO_VIEWERS)


def test_taste_of_one_title_equals_the_scores_of_the_whole_catalogue(audience: Simulated, titles: list[Title]) -> None:
    viewer = audience.viewers[42]
    scores = audience.screen.scores(viewer.taste)
    for row in range(0, len(titles), 37):
        expected = (scores[row] - viewer.centre) / viewer.spread
        assert taste_of(viewer, titles[row]) == pytest.approx(float(expected), abs=1e-4)


def test_ratings_follow_true_utility_on_a_personal_scale(
    audience: Simulated, histories: dict[str, list[Interaction]], by_id: dict[str, Title]
) -> None:
    pairs, by_viewer = [], {}
    for viewer in audience.viewers:
        for event in histories[viewer.user_id]:
            if event.rating is not None:
                utility = taste_of(viewer, by_id[event.content_id], event.occurred_at)
                pairs.append((event.rating, utility))
                by_viewer.setdefault(viewer.user_id, []).append(event.rating)
    assert 0.5 < np.corrcoef(np.array(pairs).T)[0, 1] < 0.95
    means = [np.mean(ratings) for ratings in by_viewer.values() if len(ratings) >= 5]
    assert np.std(means) > 0.25, "people use the stars differently"


def test_likes_go_to_better_titles_than_dislikes(
    audience: Simulated, histories: dict[str, list[Interaction]], by_id: dict[str, Title]
) -> None:
    utilities: dict[InteractionType, list[float]] = {kind: [] for kind in InteractionType}
    for viewer in audience.viewers:
        for event in histories[viewer.user_id]:
            utilities[event.type].append(taste_of(viewer, by_id[event.content_id], event.occurred_at))
    assert np.mean(utilities[InteractionType.LIKE]) > np.mean(utilities[InteractionType.WATCH_START]) + 0.3
    assert np.mean(utilities[InteractionType.DISLIKE]) < np.mean(utilities[InteractionType.WATCH_START]) - 0.5
    assert np.mean(utilities[InteractionType.SKIP_CONTENT]) < 0


def test_tastes_differ_by_region_and_age(titles: list[Title], now: float) -> None:
    crowd = simulate(titles, np.random.default_rng(8), until=now, viewers=1000).viewers
    assert {viewer.region for viewer in crowd} == {"US", "GB", "DE", "FR", "JP", "BR", "IN"}

    def share(archetype: str, **facts: str) -> float:
        group = [one for one in crowd if all(getattr(one, name) == value for name, value in facts.items())]
        return float(np.mean([one.taste.share(archetype) for one in group]))

    assert share("animation_and_ghibli", region="JP") > 1.3 * share("animation_and_ghibli", region="GB")
    assert share("classic_hollywood", age_band="55+") > 1.5 * share("classic_hollywood", age_band="18-24")


def test_drifted_viewers_watch_something_else_afterwards(
    audience: Simulated, histories: dict[str, list[Interaction]]
) -> None:
    drifted = [viewer for viewer in audience.viewers if viewer.drift is not None]
    assert 0.05 < len(drifted) / len(audience.viewers) < 0.16
    change = {True: [], False: []}
    for viewer in drifted:
        assert viewer.drift is not None
        new = viewer.drift.taste.mixture[0][0]
        for after in (False, True):
            events = [one for one in histories[viewer.user_id] if (one.occurred_at >= viewer.drift.at) == after]
            names = {one.content_id for one in events if one.type is InteractionType.WATCH_START}
            change[after] += [audience.screen.appetites[new][audience.screen.rows[name]] for name in sorted(names)]
    assert np.mean(change[True]) > np.mean(change[False]) + 0.5


def test_others_do_not_drift(audience: Simulated, titles: list[Title], now: float) -> None:
    steady = next(viewer for viewer in audience.viewers[10:] if viewer.drift is None)
    assert taste_of(steady, titles[0], now) == taste_of(steady, titles[0], now - 180 * DAY_S)
    never = simulate(titles, np.random.default_rng(5), until=now, viewers=60, drifting_share=0.0)
    assert all(viewer.drift is None for viewer in never.viewers)


def test_archetypes_and_personas_speak_the_catalogues_vocabulary(titles: list[Title]) -> None:
    known = set(open_screen(titles).postings)
    for archetype in archetypes().values():
        assert set(archetype.weights) <= known, archetype.name
    for persona in DEMO_VIEWERS.values():
        assert {feature for feature, _ in persona.taste.favourites} <= known, persona.user_id
        assert sum(share for _, share in persona.taste.mixture) == pytest.approx(1.0)
        assert {name for name, _ in persona.taste.mixture} <= set(archetypes())


def test_score_of_a_tiny_title_can_be_computed_by_hand() -> None:
    taste = Taste((("horror", 0.5), ("world_cinema", 0.5)), (("keyword:ghost", 0.25), ("genre:war", 9.0)))
    title = Title("x", "X", genres=("horror", "romance"), keywords=("ghost",))
    horror = 1.0 - 0.6 + 0.5  # loves horror, avoids romance, likes ghosts; world cinema has no opinion
    expected = 0.5 * 3.0 * np.tanh(horror / 3.0) + 0.25 + acclaim("x")
    assert score(taste, title_features(title), "x") == pytest.approx(expected)
