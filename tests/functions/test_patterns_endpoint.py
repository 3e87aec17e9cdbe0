"""The reasoning bank over HTTPS: what it keeps, finds and changes, whom it refuses, and what it does when run."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from function_client import Function

from core.flows.services import Services
from core.patterns.known import content_space

STORE, SEARCH = "/api/v1/patterns", "/api/v1/patterns/search"
APPLY, MAINTENANCE = "/api/v1/patterns/apply", "/api/v1/patterns/maintenance"
EVENING = {"time_of_day": "Evening", "day_of_week": 5, "device_type": "tv", "mood_indicators": ["relaxed"]}
PATTERN = {
    "query_content_ids": ["title-00", "title-05"],
    "context": EVENING,
    "results": [
        {"content_id": "title-10"},
        {"content_id": "title-15", "weight": 0.5},
        {"content_id": "title-21", "weight": -1.0},
    ],
    "success_rate": 0.9,
    "sample_size": 4,
}


@pytest.fixture(scope="module")
def patterns(function: Callable[[str], Function]) -> Function:
    return function("patterns")


def by_service(patterns: Function, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = patterns.post(path, body, "batch", roles=("service",))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return dict(answer.get_json())


@pytest.fixture
def kept(patterns: Function, deployment: Services) -> str:
    """The pattern in an otherwise empty bank, seen by this instance."""
    deployment.patterns._pool.run(  # type: ignore[attr-defined]
        lambda c: c.execute("TRUNCATE reasoning_patterns, pattern_results, pattern_removals")
    )
    pattern_id = by_service(patterns, STORE, PATTERN)["pattern_id"]
    read_anew(deployment)
    return str(pattern_id)


def read_anew(deployment: Services) -> None:
    memory = deployment.pattern_memory
    memory.version, memory._read_at = 0, float("-inf")


def test_a_pattern_is_stored_once(patterns: Function, kept: str) -> None:
    again = by_service(patterns, STORE, PATTERN)
    assert (again["pattern_id"], again["stored"]) == (kept, False)
    changed = by_service(patterns, STORE, PATTERN | {"success_rate": 0.8})
    assert (changed["pattern_id"], changed["stored"]) == (kept, True)
    other = by_service(patterns, STORE, PATTERN | {"context": {"time_of_day": "morning"}})
    assert other["pattern_id"] != kept


def test_a_query_finds_what_it_resembles_and_not_what_it_does_not(patterns: Function, kept: str) -> None:
    found = patterns.ask(SEARCH, {"query_content_ids": ["title-00", "title-05"], "context": EVENING})
    [pattern] = found["patterns"]
    assert (pattern["pattern_id"], pattern["similarity"]) == (kept, pytest.approx(1.0, abs=1e-3))
    assert pattern["context"] == {
        "time_of_day": "evening", "day_of_week": "weekend", "device_type": "tv", "mood": "relaxed",
    }  # fmt: skip
    assert (pattern["confidence"], pattern["boost"], pattern["sample_size"]) == (0.9, 0.9, 4)
    assert list(pattern["results"].items()) == [("title-10", 1.0), ("title-21", -1.0), ("title-15", 0.5)]
    assert found["total_patterns_searched"] == 1
    assert patterns.ask(SEARCH, {"query_content_ids": ["title-33"]})["patterns"] == []
    near = patterns.ask(SEARCH, {"query_content_ids": ["title-33"], "min_similarity": -1.0})["patterns"]
    assert [one["pattern_id"] for one in near] == [kept]


def test_circumstances_that_contradict_are_no_match(patterns: Function, kept: str) -> None:
    query = {"query_content_ids": ["title-00", "title-05"]}
    morning = {"time_of_day": "morning", "day_of_week": "tuesday", "device_type": "mobile"}
    assert patterns.ask(SEARCH, {**query, "context": morning})["patterns"] == []
    half = {"time_of_day": "morning", "device_type": "tv"}
    assert len(patterns.ask(SEARCH, {**query, "context": half})["patterns"]) == 1
    assert len(patterns.ask(SEARCH, query)["patterns"]) == 1


def test_a_vector_is_compared_in_its_own_space_only(patterns: Function, kept: str, deployment: Services) -> None:
    snapshot = deployment.snapshot(0.0)[0]
    vector = snapshot.vectors[snapshot.row("title-00")].astype(float).tolist()
    found = patterns.ask(SEARCH, {"query_embedding": vector, "space": content_space(snapshot), "min_similarity": 0.1})
    assert found["space"] == content_space(snapshot)
    assert len(found["patterns"]) == 1
    refused = patterns.post(SEARCH, {"query_embedding": vector, "space": "content-40-of-yesterday"})
    assert refused.status_code == 422
    assert patterns.post(SEARCH, {"query_embedding": [1.0, 2.0]}).status_code == 422


def test_candidates_are_bent_and_every_change_is_explained(patterns: Function, kept: str, deployment: Services) -> None:
    scores = {"title-11": 0.6, "title-10": 0.5, "title-15": 0.4, "title-21": 0.4}
    body = {
        "query_content_ids": ["title-00", "title-05"],
        "context": EVENING,
        "candidates": [{"content_id": name, "score": score} for name, score in scores.items()],
    }
    answer = patterns.ask(APPLY, body)
    strength = deployment.settings.ranking.pattern_strength
    lift = strength * 0.9 / 2 * 4 / 8  # four sessions, and four of doubt
    by_id = {one["content_id"]: one for one in answer["candidates"]}
    assert by_id["title-10"]["pattern_boost"] == pytest.approx(0.5 * lift, rel=1e-2)
    assert by_id["title-15"]["pattern_boost"] == pytest.approx(0.4 * lift * 0.5, rel=1e-2)
    assert by_id["title-21"]["pattern_boost"] == pytest.approx(-0.4 * lift, rel=1e-2)
    assert (by_id["title-11"]["score"], by_id["title-11"]["pattern_id"]) == (0.6, None)
    for name, one in by_id.items():
        assert one["score"] == pytest.approx(scores[name] + one["pattern_boost"])
        assert (one["pattern_id"] == kept) == (one["pattern_boost"] != 0)
    assert [one["pattern_id"] for one in answer["patterns_applied"]] == [kept]
    ordered = [one["score"] for one in answer["candidates"]]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize("path", [STORE, MAINTENANCE])
def test_only_services_change_the_bank(patterns: Function, path: str) -> None:
    body = PATTERN if path == STORE else {}
    assert patterns.post(path, body, "ann").status_code == 403
    assert patterns.post(path, body, None).status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"results": [{"content_id": "no such title"}]}, 404),
        ({"query_content_ids": ["no such title"]}, 404),
        ({"results": [{"content_id": "title-10", "weight": -0.5}]}, 422),
        ({"results": []}, 422),
        ({"success_rate": 1.5}, 422),
        ({"query_content_ids": None}, 422),
        ({"query_embedding": [1.0]}, 422),
        ({"context": {"day_of_week": 7}}, 422),
        ({"context": {"time_of_day": "noon"}}, 422),
        ({"context": {"weather": "rain"}}, 422),
    ],
)
def test_what_is_no_pattern_is_refused(patterns: Function, change: dict[str, Any], status: int) -> None:
    assert patterns.post(STORE, PATTERN | change, "batch", roles=("service",)).status_code == status


def test_maintenance_reports_what_it_did(patterns: Function, kept: str) -> None:
    dry = by_service(patterns, MAINTENANCE, {"maintenance_type": "weekly", "dry_run": True})
    assert (dry["maintenance_type"], dry["dry_run"], dry["patterns_before"]) == ("weekly", True, 1)
    names = ["space", "uses", "extract", "merge", "decay", "prune", "reinforce", "forget", "segments", "universal"]
    assert sorted(dry["steps"]) == sorted(names)
    done = by_service(patterns, MAINTENANCE, {})
    assert (done["dry_run"], list(done["steps"])) == (False, names[:8])


def test_nothing_to_search_with_is_not_a_crash(patterns: Function, kept: str) -> None:
    zeros = {"query_embedding": [0.0] * 40}
    assert patterns.post(SEARCH, zeros).status_code == 422
    assert patterns.post(SEARCH, {"query_content_ids": [str(uuid.uuid4())]}).status_code == 404
