"""What callers may send, and what it means."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.api.recommend_schemas import RecommendBody
from core.api.routes import INTERACTIONS
from core.api.schemas import EventFields, OnboardingBody, ProfileBody, ScoreBody
from core.errors import InvalidInput
from core.flows.profiles import events_of
from core.interaction import Interaction, InteractionType
from core.ranking.query import Context, Filters, Query

NOW = 1_760_000_000.0
EVENT = {"content_id": "heat-1995", "type": "watch_complete"}


def event(**fields: Any) -> Interaction:
    parsed = EventFields.model_validate_json(json.dumps(EVENT | fields)).event("ann", NOW, NOW)
    assert isinstance(parsed, Interaction)
    return parsed


def test_a_full_event_is_read_as_it_was_meant() -> None:
    assert event(
        event_id="e1",
        type="rating_explicit",
        timestamp="2025-10-09T08:00:00+02:00",
        completion_rate=0.5,
        rating=4,
        is_rewatch=True,
        device_type="tv",
        request_id="r1",
    ) == Interaction(
        "e1", "ann", "heat-1995", InteractionType.RATING_EXPLICIT, 1_759_989_600.0, 0.5, 4.0, True, "tv", "r1"
    )


def test_seconds_and_rfc_3339_name_the_same_time() -> None:
    assert event(occurred_at=1_759_989_600).occurred_at == event(timestamp="2025-10-09T06:00:00Z").occurred_at


def test_an_event_without_time_happened_now_and_gets_an_id_of_its_own() -> None:
    first, second = event(), event()
    assert first.occurred_at == NOW
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("RATING", "rating_explicit"),
        ("SKIP", "skip_content"),
        ("CLICK", "search_click"),
        ("COMPLETE", "watch_complete"),
        ("WATCH_START", "watch_start"),
        ("dislike", "dislike"),
    ],
)
def test_other_names_of_event_types_are_understood(name: str, kind: str) -> None:
    assert event(type=name, rating=3).type == kind


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": NOW + 2 * 86_400},
        {"timestamp": "1985-01-01T00:00:00Z"},
        {"timestamp": NOW * 1000},
        {"type": "rating_explicit"},
    ],
)
def test_an_event_that_cannot_have_happened_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        event(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "teleport"},
        {"type": 5},
        {"content_id": ""},
        {"content_id": "x" * 129},
        {"content_id": "nul\x00"},
        {"content_id": 7},
        {"progress": 1.01},
        {"progress": -0.1},
        {"progress": "0.5"},
        {"rating": 5.1},
        {"is_rewatch": "yes"},
        {"timestamp": "2025-10-09T06:00:00"},
        {"timestamp": "yesterday"},
        {"mood": "happy"},
        {"event_id": ""},
    ],
)
def test_a_malformed_event_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        event(**fields)


def test_one_interaction_or_several_are_the_same_call() -> None:
    one = INTERACTIONS.validate_json(json.dumps(EVENT | {"user_id": "ann"}))
    several = INTERACTIONS.validate_json(json.dumps({"user_id": "ann", "interactions": [EVENT, EVENT]}))
    assert one.user_id == several.user_id == "ann"
    assert len(several.interactions) == 2
    for count in (0, 501):
        with pytest.raises(ValidationError):
            INTERACTIONS.validate_json(json.dumps({"interactions": [EVENT] * count}))


def test_a_full_request_becomes_the_query_it_describes() -> None:
    body = RecommendBody.model_validate_json(
        json.dumps(
            {
                "context": {
                    "mood": "Happy",
                    "time_of_day": "night",
                    "device_type": "tv",
                    "viewing_with": ["Kids"],
                    "region": "DE",
                },
                "limit": 7,
                "exclude_watched": False,
                "exclude_ids": ["a"],
                "filters": {
                    "types": ["movie"],
                    "genres": ["Drama "],
                    "exclude_genres": ["horror"],
                    "languages": ["de"],
                    "year_min": 1990,
                    "year_max": 2000,
                    "maturity_max": 12,
                    "runtime_max": 120,
                    "services": ["kinoplus"],
                    "region": "DE",
                },
                "diversity_threshold": 0.25,
                "recent_events": [EVENT | {"event_id": "e1"}],
            }
        )
    )
    assert body.query("ann", NOW) == Query(
        "ann",
        7,
        Context("night", "tv", "happy", ("kids",), "DE"),
        Filters(("movie",), ("drama",), ("horror",), ("de",), 1990, 2000, 12, 120, ("kinoplus",), "DE"),
        ("a",),
        False,
        (Interaction("e1", "ann", "heat-1995", InteractionType.WATCH_COMPLETE, NOW),),
        0.25,
    )


def test_an_empty_request_is_the_default_query() -> None:
    assert RecommendBody.model_validate_json("{}").query("ann", NOW) == Query("ann")


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": 2.5},
        {"limit": True},
        {"diversity_threshold": 1.5},
        {"filters": {"types": []}},
        {"filters": {"types": ["song"]}},
        {"context": {"time_of_day": "teatime"}},
        {"exclude_ids": ["x"] * 1001},
        {"recent_events": [EVENT] * 101},
        {"colour": "red"},
        [],
    ],
)
def test_an_impossible_request_is_refused(body: Any) -> None:
    with pytest.raises(ValidationError):
        RecommendBody.model_validate_json(json.dumps(body))


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_either_a_request_or_a_validation_error(body: Any) -> None:
    for schema in (RecommendBody, ScoreBody, OnboardingBody, ProfileBody):
        try:
            TypeAdapter(schema).validate_json(json.dumps(body))
        except ValidationError:
            continue


def test_a_score_is_asked_for_one_title_or_for_a_list() -> None:
    for body in ({}, {"content_id": "a", "content_ids": ["b"]}, {"content_ids": []}):
        with pytest.raises(ValidationError):
            ScoreBody.model_validate_json(json.dumps(body))


def viewing_events(**fields: Any) -> list[Any]:
    made = {"content_id": "heat-1995", "timestamp": "2025-10-09T06:00:00Z", "completion_rate": 0.95} | fields
    body = ProfileBody.model_validate_json(json.dumps({"viewing_events": [made]}))
    return events_of("ann", body.viewing_events[0].viewing(time.time()))


def test_a_viewing_says_how_it_went_and_what_was_thought_of_it() -> None:
    assert [e.type for e in viewing_events()] == ["watch_complete"]
    assert [e.type for e in viewing_events(completion_rate=0.4)] == ["watch_progress"]
    assert [e.type for e in viewing_events(completion_rate=0.1, dismissed=True)] == ["skip_content"]
    watched, rated = viewing_events(rating=4, is_rewatch=True)
    assert (watched.progress, watched.rating, watched.rewatch) == (0.95, None, True)
    assert (rated.type, rated.rating) == ("rating_explicit", 4.0)


def test_the_same_viewing_has_the_same_event_ids_however_its_time_is_written() -> None:
    ids = [e.event_id for e in viewing_events(rating=4)]
    assert ids == [e.event_id for e in viewing_events(rating=4, timestamp="2025-10-09T08:00:00+02:00")]
    assert len(set(ids)) == 2
    assert not set(ids) & {e.event_id for e in viewing_events(rating=4, timestamp="2025-10-09T06:00:01Z")}
    assert not set(ids) & {e.event_id for e in viewing_events(rating=4, content_id="ronin-1998")}
