"""POST /api/v1/recommendations, /similar and /score on real stores."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from function_client import Function
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.api import answers
from core.flows.recommend import recommend as answered
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.ranking.query import Query

RECOMMENDATIONS = "/api/v1/recommendations"
ALL = [f"title-{number:02d}" for number in range(40)]


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["content_id"] for row in answer["recommendations"]]


def watched(*content_ids: str) -> list[dict[str, Any]]:
    return [{"content_id": content_id, "type": "watch_complete"} for content_id in content_ids]


def test_an_unknown_user_gets_a_full_answer(recommend: Function, user: str) -> None:
    answer = recommend.ask(RECOMMENDATIONS, {}, user)
    assert len(set(ids(answer))) == 20
    assert answer["degraded"] == []


def test_an_answer_has_exactly_the_documented_fields(recommend: Function, user: str) -> None:
    answer = recommend.post(RECOMMENDATIONS, {"recent_events": watched("title-05")}, user)
    checked = TypeAdapter(answers.RecommendOut).validate_json(answer.data, extra="forbid")
    assert abs(time.time() - datetime.fromisoformat(checked["generated_at"]).timestamp()) < 60
    for row in checked["recommendations"]:
        assert 0 < row["confidence_score"] <= 1
        assert sum(row["score_parts"].values()) == pytest.approx(row["confidence_score"], abs=1e-4)
        assert row["score_parts"][row["recommendation_type"]] > 0
        assert set(row["based_on"]) <= {"title-05"}
        assert row["explanation"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 60),
    exclude=st.sets(st.sampled_from(ALL)),
    seen=st.sets(st.sampled_from(ALL), max_size=30),
    exclude_watched=st.booleans(),
)
def test_exactly_limit_titles_none_seen_none_excluded_none_twice(
    recommend: Function, limit: int, exclude: set[str], seen: set[str], exclude_watched: bool
) -> None:
    body = {
        "limit": limit,
        "exclude_ids": sorted(exclude),
        "recent_events": watched(*sorted(seen)),
        "exclude_watched": exclude_watched,
    }
    found = ids(recommend.ask(RECOMMENDATIONS, body, "nobody"))
    forbidden = exclude | (seen if exclude_watched else set())
    assert len(found) == len(set(found)) == min(limit, len(ALL) - len(forbidden))
    assert not forbidden & set(found)


def test_recent_events_change_the_answer_at_once(recommend: Function, user: str) -> None:
    before = recommend.ask(RECOMMENDATIONS, {}, user)
    just_seen = ids(before)[:5]
    after = recommend.ask(RECOMMENDATIONS, {"recent_events": watched(*just_seen)}, user)
    assert not set(just_seen) & set(ids(after))
    assert {source for row in after["recommendations"] for source in row["based_on"]} <= set(just_seen)
    assert all(row["based_on"] for row in after["recommendations"][:3])
    assert ids(recommend.ask(RECOMMENDATIONS, {}, user)) == ids(before)


def test_events_that_are_not_logged_yet_have_no_place_in_the_log(
    deployment: Services, push: Callable[..., Any], user: str
) -> None:
    push(user, {"event_id": "e", "content_id": "title-05", "type": "like"})
    liked = Interaction("e", user, "title-05", InteractionType.LIKE, time.time())
    answer = answered(deployment, Query(user, recent_events=(liked, replace(liked, event_id="f"))), time.time())
    assert answer.state_seq == 1


def personal_parts(answer: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Title -> what the viewer's own history gives it."""
    own = ("collaborative", "content", "graph", "adapter")
    return {
        row["content_id"]: {part: row["score_parts"].get(part, 0.0) for part in own}
        for row in answer["recommendations"]
    }


def test_an_ingested_event_changes_the_next_answer(
    recommend: Function, push: Callable[..., dict[str, Any]], user: str
) -> None:
    seen = ids(recommend.ask(RECOMMENDATIONS, {}, user))[:5]
    predicted = recommend.ask(RECOMMENDATIONS, {"recent_events": watched(*seen)}, user)
    push(user, *watched(*seen))
    after = recommend.ask(RECOMMENDATIONS, {}, user)
    assert not set(seen) & set(ids(after))
    assert personal_parts(after) == personal_parts(predicted)  # everybody's counters have learned of the events as well
    assert set(seen) <= set(ids(recommend.ask(RECOMMENDATIONS, {"exclude_watched": False, "limit": 40}, user)))


def test_an_answer_says_how_many_events_it_knows_and_what_counts_for_how_much(
    recommend: Function, push: Callable[..., dict[str, Any]], user: str
) -> None:
    new = recommend.ask(RECOMMENDATIONS, {}, user)
    push(user, *watched("title-03", "title-08"))
    known = recommend.ask(RECOMMENDATIONS, {}, user)
    hinted = recommend.ask(RECOMMENDATIONS, {"recent_events": watched("title-13")}, user)
    assert [answer["known_events"] for answer in (new, known, hinted)] == [0, 2, 3]
    assert new["weights"]["cold_start"] > known["weights"].get("cold_start", 0.0)
    for answer in (new, known, hinted):
        assert sum(answer["weights"].values()) == pytest.approx(1.0, abs=1e-5)
        for row in answer["recommendations"]:
            shares = {name: part for name, part in row["score_parts"].items() if name in answer["weights"]}
            assert all(part <= answer["weights"][name] + 1e-5 for name, part in shares.items())


def test_an_answer_that_is_not_personalized_knows_of_the_viewer_only_what_was_seen(
    recommend: Function, push: Callable[..., dict[str, Any]], user: str
) -> None:
    seen = [f"title-{number:02d}" for number in range(0, 40, 5)]
    push(user, *watched(*seen))
    plain = recommend.ask(RECOMMENDATIONS, {"personalize": False}, user)
    stranger = recommend.ask(RECOMMENDATIONS, {"exclude_ids": seen}, f"nobody-{user}")
    assert [row | {"score_parts": set(row["score_parts"])} for row in plain["recommendations"]] == [
        row | {"score_parts": set(row["score_parts"])} for row in stranger["recommendations"]
    ]
    assert plain["weights"] == stranger["weights"]
    assert all(row["based_on"] == [] for row in plain["recommendations"])
    assert ids(plain) != ids(recommend.ask(RECOMMENDATIONS, {}, user))


def test_taste_decides_what_comes_first(recommend: Function, user: str) -> None:
    """Half the audience likes drama and crime, half comedy and science fiction."""

    def share(pair: set[int], answer: dict[str, Any]) -> int:
        return sum(int(content_id[-2:]) % 5 in pair for content_id in ids(answer))

    drama_and_crime, comedy_and_science_fiction = {0, 2}, {1, 3}
    shown = [
        recommend.ask(
            RECOMMENDATIONS,
            {"limit": 8, "recent_events": watched(*[c for c in ALL if int(c[-2:]) % 5 in pair][:6])},
            user,
        )
        for pair in (drama_and_crime, comedy_and_science_fiction)
    ]
    assert share(drama_and_crime, shown[0]) > share(drama_and_crime, shown[1])
    assert share(comedy_and_science_fiction, shown[1]) > share(comedy_and_science_fiction, shown[0])


@pytest.mark.parametrize(
    ("filters", "keeps"),
    [
        ({"types": ["series"]}, lambda n: n % 5 == 4 and n >= 20),
        ({"genres": ["Crime"]}, lambda n: n % 5 == 2 or (n * 3 + 1) % 5 == 2),
        ({"exclude_genres": ["crime"]}, lambda n: n % 5 != 2 and (n * 3 + 1) % 5 != 2),
        ({"languages": ["de"]}, lambda n: n % 3 == 1),
        ({"year_min": 2000, "year_max": 2010}, lambda n: 15 <= n <= 25),
        ({"maturity_max": 6}, lambda n: n % 4 < 2),
        ({"runtime_max": 90}, lambda n: n <= 10),
        ({"services": ["kinoplus"]}, lambda n: n % 2 == 1),
        ({"region": "US"}, lambda n: n % 2 == 0),
        ({"genres": ["no such genre"]}, lambda n: False),
    ],
)
def test_a_filter_keeps_exactly_what_it_says(
    recommend: Function, filters: dict[str, Any], keeps: Callable[[int], bool]
) -> None:
    found = ids(recommend.ask(RECOMMENDATIONS, {"limit": 40, "filters": filters}, "nobody"))
    assert set(found) == {content_id for number, content_id in enumerate(ALL) if keeps(number)}


def test_similar_titles_are_others_with_a_relation(recommend: Function) -> None:
    answer = recommend.post("/api/v1/recommendations/similar", {"content_id": "title-07", "limit": 5})
    checked = TypeAdapter(answers.SimilarOut).validate_json(answer.data, extra="forbid")
    found = [row["content_id"] for row in checked["similar_content"]]
    assert len(set(found)) == 5
    assert "title-07" not in found
    scores = [row["score"] for row in checked["similar_content"]]
    assert scores == sorted(scores, reverse=True)
    assert all("Title 7" in row["relation"] for row in checked["similar_content"])


def test_similar_titles_obey_filters(recommend: Function) -> None:
    body = {"content_id": "title-07", "filters": {"types": ["series"]}}
    found = recommend.ask("/api/v1/recommendations/similar", body)["similar_content"]
    assert found
    assert all(int(row["content_id"][-2:]) % 5 == 4 for row in found)


def test_a_score_is_the_sum_of_its_components(recommend: Function, push: Callable[..., Any], user: str) -> None:
    push(user, *watched("title-02", "title-12"))
    order = ids(recommend.ask(RECOMMENDATIONS, {"limit": 40}, user))
    answer = recommend.post("/api/v1/personalization/score", {"content_id": order[0]}, user)
    one = TypeAdapter(answers.UserScoreOut).validate_json(answer.data, extra="forbid")
    assert one["score"] == pytest.approx(sum(one["components"].values()), abs=1e-5)
    assert 0 < one["score"] <= 1
    asked = [order[-1], order[0]]
    answer = recommend.post("/api/v1/personalization/score", {"content_ids": asked}, user)
    both = TypeAdapter(answers.UserScoresOut).validate_json(answer.data, extra="forbid")
    assert [row["content_id"] for row in both["scores"]] == asked
    assert both["scores"][1]["score"] == one["score"] > both["scores"][0]["score"]


def test_a_service_may_ask_for_anybody(recommend: Function, push: Callable[..., Any], user: str) -> None:
    push(user, *watched("title-02"))
    asked = recommend.post(RECOMMENDATIONS, {"user_id": user, "limit": 40}, "batch", ("service",))
    assert "title-02" not in ids(json.loads(asked.data)), json.loads(asked.data)["degraded"]
