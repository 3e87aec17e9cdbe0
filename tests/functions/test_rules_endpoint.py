"""The business rules of a recommendation, each by what it means to whoever asks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from function_client import Function

from core.catalog import Availability, Title

RECOMMENDATIONS = "/api/v1/recommendations"
SERVICE = ("service",)
SERIES = "title-24"
EPISODES = ("title-24-e1", "title-24-e2")
SAGA = [f"title-{number:02d}" for number in range(0, 40, 4)]


@pytest.fixture(scope="module")
def catalogue(catalogue: tuple[Title, ...]) -> tuple[Title, ...]:
    """The forty titles, ten of them of one franchise, and the only two episodes of one series."""
    titles = [replace(title, franchise="saga" if title.content_id in SAGA else None) for title in catalogue]
    series = next(title for title in titles if title.content_id == SERIES)
    offers = (Availability("kinoplus", "DE", 0.0),)
    episodes = [
        replace(series, content_id=name, type="episode", series_id=SERIES, franchise=None, availability=offers)
        for name in EPISODES
    ]
    return (*titles, *episodes)


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["content_id"] for row in answer["recommendations"]]


@pytest.fixture(scope="module")
def forty(catalogue: tuple[Title, ...]) -> dict[str, Title]:
    """What is recommended unless episodes are asked for."""
    return {title.content_id: title for title in catalogue if title.type != "episode"}


@pytest.fixture
def found(recommend: Function, user: str) -> Callable[..., list[str]]:
    return lambda **body: ids(recommend.ask(RECOMMENDATIONS, {"limit": 40, **body}, user))


def watching(content_id: str, progress: float) -> dict[str, Any]:
    return {"content_id": content_id, "type": "watch_progress", "progress": progress}


def test_a_runtime_range_has_two_ends(found: Callable[..., list[str]], forty: dict[str, Title]) -> None:
    within = {name for name, title in forty.items() if 90 <= (title.runtime_minutes or 0) <= 120}
    assert set(found(filters={"runtime_min": 90, "runtime_max": 120})) == within


def test_a_half_watched_series_may_be_continued_and_a_finished_one_is_seen(found: Callable[..., list[str]]) -> None:
    half, whole = [watching(SERIES, 0.4)], [watching(SERIES, 0.95)]
    assert SERIES in found(recent_events=half)
    assert SERIES not in found(recent_events=whole)
    assert SERIES not in found(recent_events=half, seen_series="started")
    assert SERIES in found(recent_events=whole, exclude_watched=False)


def test_a_series_is_finished_with_its_last_episode(found: Callable[..., list[str]]) -> None:
    first, last = ({"content_id": name, "type": "watch_complete"} for name in EPISODES)
    assert SERIES in found(recent_events=[first])
    assert SERIES not in found(recent_events=[first], seen_series="started")
    assert SERIES in found(recent_events=[first, watching(EPISODES[1], 0.3)])
    assert SERIES not in found(recent_events=[first, last])


@pytest.mark.parametrize("giving_up", [{"type": "skip_content"}, {"type": "dislike"}])
def test_a_series_that_was_given_up_is_not_offered_again(
    found: Callable[..., list[str]], giving_up: dict[str, str]
) -> None:
    assert SERIES not in found(recent_events=[watching(SERIES, 0.4), {"content_id": SERIES, **giving_up}])


def test_a_half_watched_film_is_seen(found: Callable[..., list[str]]) -> None:
    assert "title-01" not in found(recent_events=[watching("title-01", 0.4)])


def test_my_platforms_are_those_of_the_request_or_else_of_the_profile(
    recommend: Function, push: Callable[..., Any], user: str, forty: dict[str, Title]
) -> None:
    def on(platforms: list[str], **filters: Any) -> set[str]:
        body = {"limit": 40, "filters": {"on_my_platforms": True, **filters}, "context": {"platforms": platforms}}
        return set(ids(recommend.ask(RECOMMENDATIONS, body, user)))

    everything = set(forty)
    kinoplus = {name for name, title in forty.items() if title.availability[0].service == "kinoplus"}
    assert on([]) == everything, "of a viewer without any, none is left out"
    assert on(["kinoplus"]) == kinoplus
    push(user, {"type": "onboarding", "platforms": ["flimmer"]})
    assert on([]) == everything - kinoplus
    assert on(["kinoplus"]) == kinoplus, "the request is newer than the profile"
    assert on(["kinoplus"], services=["flimmer"]) == everything - kinoplus, "a platform named is the one meant"


def test_a_franchise_cap_holds_even_where_nothing_else_is_left(found: Callable[..., list[str]]) -> None:
    assert len([name for name in found(franchise_cap=3) if name in SAGA]) == 3
    assert len(found(franchise_cap=3)) == 33
    assert len([name for name in found() if name in SAGA]) == 10


def test_a_genre_cap_that_is_asked_for_holds(found: Callable[..., list[str]], forty: dict[str, Title]) -> None:
    genres = [forty[name].genres[0] for name in found(limit=20, genre_cap=0.1)]
    assert max(genres.count(genre) for genre in set(genres)) == 2
    assert len(genres) == 10


def test_a_pin_is_at_its_place_and_the_others_keep_their_order(recommend: Function, user: str) -> None:
    organic = ids(recommend.ask(RECOMMENDATIONS, {"limit": 10}, user))
    last = ids(recommend.ask(RECOMMENDATIONS, {"limit": 40}, user))[-1]
    pins = [{"content_id": last, "position": 3}, {"content_id": organic[0], "position": 5}]
    answer = recommend.post(RECOMMENDATIONS, {"limit": 10, "pins": pins, "user_id": user}, "shop", SERVICE).get_json()
    shown = ids(answer)
    assert (shown[2], shown[4]) == (last, organic[0])
    assert [name for name in shown if name not in (last, organic[0])] == organic[1:9]
    assert [row["recommendation_type"] for row in answer["recommendations"]].count("pinned") == 2


def test_a_pin_obeys_the_filters_and_the_exclusions_but_not_what_was_seen(recommend: Function, user: str) -> None:
    def shown(**body: Any) -> list[str]:
        pins = [{"content_id": "title-01", "position": 1}]
        asked = {"limit": 5, "user_id": user, "pins": pins, **body}
        return ids(recommend.post(RECOMMENDATIONS, asked, "shop", SERVICE).get_json())

    assert shown(recent_events=[{"content_id": "title-01", "type": "watch_complete"}])[0] == "title-01"
    assert "title-01" not in shown(filters={"maturity_max": 0})
    assert "title-01" not in shown(exclude_ids=["title-01"])
    assert len(shown(exclude_ids=["title-01"])) == 5, "its place goes to the others"


def test_a_promotion_has_its_share_spread_over_the_answer_and_the_favourites_first(
    recommend: Function, user: str
) -> None:
    ranked = ids(recommend.ask(RECOMMENDATIONS, {"limit": 40}, user))
    promoted = ranked[25:35]
    asked = {"limit": 20, "user_id": user, "promotion": {"content_ids": promoted, "share": 0.25}}
    rows = recommend.post(RECOMMENDATIONS, asked, "shop", SERVICE).get_json()["recommendations"]
    places = [place for place, row in enumerate(rows) if row["recommendation_type"] == "promoted"]
    assert places == [2, 6, 10, 14, 18]
    assert {rows[place]["content_id"] for place in places} <= set(promoted)
    scores = [rows[place]["confidence_score"] for place in places]
    assert scores == sorted(scores, reverse=True)
    assert len({row["content_id"] for row in rows}) == 20


def test_a_promotion_shows_nobody_what_they_have_seen(recommend: Function, user: str) -> None:
    asked = {
        "user_id": user,
        "recent_events": [{"content_id": "title-02", "type": "watch_complete"}],
        "promotion": {"content_ids": ["title-02", "unknown"], "share": 1.0},
    }
    rows = recommend.post(RECOMMENDATIONS, asked, "shop", SERVICE).get_json()["recommendations"]
    assert len(rows) == 20
    assert all(row["recommendation_type"] != "promoted" for row in rows)


@pytest.mark.parametrize(
    "body",
    [
        {"pins": [{"content_id": "title-01", "position": 1}]},
        {"promotion": {"content_ids": ["title-01"], "share": 0.5}},
    ],
)
def test_places_of_an_answer_are_the_platforms_to_give(recommend: Function, user: str, body: dict[str, Any]) -> None:
    assert recommend.post(RECOMMENDATIONS, body, user).status_code == 403
    assert recommend.post(RECOMMENDATIONS, body, user, SERVICE).status_code == 200


def test_the_rules_hold_for_many_users_at_once(recommend: Function, user: str) -> None:
    body = {
        "user_ids": [user, "other"],
        "limit": 10,
        "franchise_cap": 1,
        "pins": [{"content_id": "title-39", "position": 2}],
    }
    answers = recommend.post(f"{RECOMMENDATIONS}/batch", body, "shop", SERVICE).get_json()["answers"]
    for answer in answers:
        assert ids(answer)[1] == "title-39"
        assert len([name for name in ids(answer) if name in SAGA]) <= 1


@pytest.mark.parametrize(
    "body",
    [
        {"filters": {"director": "Ada Arkin"}},
        {"pins": [{"content_id": "a", "position": 0}]},
        {"pins": [{"content_id": "a", "position": 1}, {"content_id": "b", "position": 1}]},
        {"pins": [{"content_id": "a", "position": 1}, {"content_id": "a", "position": 2}]},
        {"pins": [{"content_id": "a", "position": 1, "forever": True}]},
        {"promotion": {"content_ids": [], "share": 0.5}},
        {"promotion": {"content_ids": ["a"], "share": 1.5}},
        {"genre_cap": 0},
        {"franchise_cap": 0},
        {"seen_series": "never"},
        {"context": {"platforms": "kinoplus"}},
        {"no_such_rule": 1},
    ],
)
def test_a_rule_that_means_nothing_is_refused(recommend: Function, body: dict[str, Any]) -> None:
    assert recommend.post(RECOMMENDATIONS, body, "shop", SERVICE).status_code == 422
