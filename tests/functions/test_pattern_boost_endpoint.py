"""Patterns at work in recommendations: the answer says what they gave, impressions say which one it was."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from function_client import Function, Published, serving

from core.api.routes import RECOMMEND_ROUTES
from core.flows.services import Services
from core.patterns.store import Applications, BankView, Changes

RECOMMENDATIONS, STORE = "/api/v1/recommendations", "/api/v1/patterns"


@pytest.fixture
def viewer(deployment: Services, recommend: Function, push: Callable[..., dict[str, Any]]) -> str:
    """Somebody who has just finished two titles."""
    user = f"viewer-{uuid.uuid4().hex}"
    push(user, *({"event_id": name, "content_id": name, "type": "watch_complete"} for name in ("title-00", "title-05")))
    return user


@pytest.fixture
def pattern(function: Callable[[str], Function], deployment: Services) -> Iterator[str]:
    """What such people went on with: a title that nothing else speaks for."""
    body = {
        "query_content_ids": ["title-00", "title-05"],
        "results": [{"content_id": "title-33"}],
        "success_rate": 1.0,
        "sample_size": 1000,
    }
    answer = function("patterns").post(STORE, body, "batch", roles=("service",))
    assert answer.status_code == 200
    deployment.pattern_memory._read_at = float("-inf")
    yield answer.get_json()["pattern_id"]
    pool = deployment.patterns._pool  # type: ignore[attr-defined]
    pool.run(lambda c: c.execute("TRUNCATE reasoning_patterns, pattern_results, pattern_removals"))
    deployment.pattern_memory.version, deployment.pattern_memory._read_at = 0, float("-inf")


def ask(recommend: Function, user: str) -> dict[str, dict[str, Any]]:
    answer = recommend.ask(RECOMMENDATIONS, {"limit": 40, "diversity_threshold": 1.0}, user)
    assert answer["degraded"] == []
    return {item["content_id"]: item for item in answer["recommendations"]}


def test_a_pattern_lifts_its_results_and_says_so(
    deployment: Services, recommend: Function, viewer: str, pattern: str
) -> None:
    lifted = ask(recommend, viewer)["title-33"]
    assert lifted["pattern_id"] == pattern
    assert lifted["score_parts"]["pattern"] > 0
    assert lifted["confidence_score"] == pytest.approx(sum(lifted["score_parts"].values()), abs=1e-5)
    others = [item for name, item in ask(recommend, viewer).items() if name != "title-33"]
    assert others
    assert all(item["pattern_id"] is None for item in others)
    assert not any("pattern" in item["score_parts"] for item in others)


def test_a_viewer_who_likes_something_else_is_left_alone(recommend: Function, pattern: str) -> None:
    assert all(item["pattern_id"] is None for item in ask(recommend, f"nobody-{uuid.uuid4().hex}").values())


def test_the_impression_names_the_pattern(deployment: Services, viewer: str, pattern: str) -> None:
    sent = Published()
    ask(serving(RECOMMEND_ROUTES, replace(deployment, publisher=sent)), viewer)
    [message] = map(json.loads, sent.messages)
    named = {event["content_id"]: event.get("pattern_id") for event in message["events"]}
    assert named.pop("title-33") == pattern
    assert set(named.values()) == {None}


def test_a_use_becomes_a_count_through_the_whole_loop(
    deployment: Services, recommend: Function, push: Callable[..., dict[str, Any]], viewer: str, pattern: str
) -> None:
    shown = {
        "event_id": "r:0",
        "content_id": "title-33",
        "type": "impression",
        "request_id": "r",
        "pattern_id": pattern,
    }
    push(viewer, shown)
    pool = deployment.patterns._pool  # type: ignore[attr-defined]
    query = "SELECT payload ->> 'pattern_id' FROM interactions WHERE user_id = %s AND type = 'impression'"
    assert pool.run(lambda c: c.execute(query, (viewer,)).fetchall()) == [(pattern,)]
    uses: list[Applications] = []

    def take(view: BankView) -> Changes:
        uses.extend(view.take_uses(0.0))
        return Changes()

    with deployment.patterns.maintenance("daily", time.time(), True) as run:
        run.step("uses", take)
    assert [(use.pattern_id, use.applications) for use in uses if use.pattern_id == pattern] == [(pattern, 1)]
