"""Who calls too often is told when to come again; nobody else notices, and a lost counter stops nobody."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from function_client import Function, serving

from core.api.adapter_routes import ADAPTER_ROUTES
from core.api.http import Call, Route
from core.api.routes import COLLECT_ROUTES, RECOMMEND_ROUTES
from core.config import LimitSettings, StoreSettings
from core.errors import StoreUnavailable
from core.flows.services import Services
from core.stores.batched_limits import STEPS, BatchedRateLimits
from core.stores.valkey import client
from core.stores.valkey_limits import ValkeyRateLimits

RECOMMENDATIONS = "/api/v1/recommendations"
TIGHT = LimitSettings(read_per_minute=1.0, read_burst=4, write_per_minute=1.0, write_burst=2, service_factor=3.0)


@pytest.fixture
def shared(valkey_url: str) -> ValkeyRateLimits:
    return ValkeyRateLimits(client(StoreSettings(redis_url=valkey_url)))


def test_a_burst_passes_and_then_the_rate_holds(shared: ValkeyRateLimits, user: str) -> None:
    waits = [shared.take(user, "r", 10.0, 5, 1) for _ in range(6)]
    assert waits[:5] == [0.0] * 5
    assert 0.0 < waits[5] <= 0.11
    time.sleep(waits[5] + 0.02)
    assert shared.take(user, "r", 10.0, 5, 1) == 0.0
    assert shared.take(user, "other", 10.0, 5, 5) == 0.0
    assert shared.take(f"{user}2", "r", 10.0, 5, 5) == 0.0


def test_a_refusal_counts_nothing(shared: ValkeyRateLimits, user: str) -> None:
    assert shared.take(user, "r", 1.0, 3, 2) == 0.0
    assert shared.take(user, "r", 1.0, 3, 2) > 0
    assert shared.take(user, "r", 1.0, 3, 1) == 0.0


def test_keys_hide_their_caller_and_end_by_themselves(shared: ValkeyRateLimits, valkey_url: str, user: str) -> None:
    valkey = client(StoreSettings(redis_url=valkey_url))
    before = set(valkey.keys("rate:*"))
    shared.take(user, "r", 10.0, 5, 1)
    [key] = set(valkey.keys("rate:*")) - before
    assert user.encode() not in key
    assert 0 < valkey.pttl(key) <= 101


def test_instances_share_the_count_and_overshoot_by_less_than_a_step_each(shared: ValkeyRateLimits, user: str) -> None:
    burst, instances = 200, [BatchedRateLimits(shared) for _ in range(3)]
    passed = sum(instances[number % 3].take(user, "r", 0.001, burst, 1) == 0.0 for number in range(1000))
    assert burst <= passed <= burst + 3 * burst // STEPS


def test_small_bursts_are_exact(shared: ValkeyRateLimits, user: str) -> None:
    instances = [BatchedRateLimits(shared) for _ in range(3)]
    assert sum(instances[number % 3].take(user, "r", 0.001, 5, 1) == 0.0 for number in range(30)) == 5


class Away:
    """A counter that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    def take(self, *_: Any) -> float:
        self.asked += 1
        raise StoreUnavailable("hot_store")


def test_without_the_counter_everybody_passes_and_it_is_asked_once_a_second() -> None:
    now, away = [0.0], Away()
    limits = BatchedRateLimits(away, lambda: now[0])
    assert [limits.take("ann", "r", 1.0, 1, 1) for _ in range(50)] == [0.0] * 50
    assert (away.asked, limits.failing) == (1, True)
    now[0] = 1.5
    assert not limits.failing
    limits.take("ann", "r", 1.0, 1, 1)
    assert away.asked == 2


def limited(deployment: Services, settings: LimitSettings = TIGHT, **changes: Any) -> Services:
    own = replace(deployment.settings, limits=settings)
    return replace(deployment, settings=own, limits=BatchedRateLimits(deployment.limits._shared), **changes)


def test_who_calls_too_often_gets_a_429_that_says_when_to_come_again(deployment: Services, user: str) -> None:
    instance = serving({**RECOMMEND_ROUTES, **COLLECT_ROUTES}, limited(deployment))
    codes = [instance.post(RECOMMENDATIONS, {"limit": 1}, user).status_code for _ in range(6)]
    assert codes == [200] * 4 + [429] * 2
    refused = instance.post(RECOMMENDATIONS, {"limit": 1}, user)
    assert (refused.get_json()["error"], refused.content_type) == ("too_many_requests", "application/json")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert instance.post(RECOMMENDATIONS, {"limit": 1}, f"{user}2").status_code == 200
    assert instance.post("/api/v1/recommendations/similar", {"content_id": "title-01"}, user).status_code == 200
    like = {"content_id": "title-01", "type": "like"}
    assert [instance.post("/api/v1/interactions", like, user).status_code for _ in range(3)] == [202, 202, 429]
    assert instance.client.get("/health").status_code == 200


def test_a_refused_body_is_not_even_read(deployment: Services, user: str) -> None:
    instance = serving(RECOMMEND_ROUTES, limited(deployment))
    codes = [instance.post(RECOMMENDATIONS, b"{", user).status_code for _ in range(5)]
    assert codes == [400] * 4 + [429]


def test_another_way_to_write_the_path_is_no_other_budget(deployment: Services, user: str) -> None:
    instance = serving(RECOMMEND_ROUTES, limited(deployment))
    codes = [instance.post(RECOMMENDATIONS + "/" * number, {"limit": 1}, user).status_code for number in range(6)]
    assert codes == [200] * 4 + [429] * 2


def test_a_service_may_call_more_often(deployment: Services, user: str) -> None:
    instance = serving(RECOMMEND_ROUTES, limited(deployment))
    codes = [instance.post(RECOMMENDATIONS, {"limit": 1}, user, ("service",)).status_code for _ in range(13)]
    assert codes == [200] * 12 + [429]


def test_training_cannot_be_asked_for_in_a_loop(deployment: Services, user: str) -> None:
    instance = serving(ADAPTER_ROUTES, limited(deployment, LimitSettings(train_burst=2)))
    codes = [instance.post("/api/v1/lora/train", {"force": True}, user).status_code for _ in range(4)]
    assert codes == [400, 400, 429, 429]


def test_without_the_hot_store_calls_pass_and_the_answer_says_so(deployment: Services, user: str) -> None:
    own = limited(deployment)
    own = replace(own, limits=BatchedRateLimits(Away()))  # type: ignore[arg-type]
    instance = serving(RECOMMEND_ROUTES, own)
    answers = [instance.post(RECOMMENDATIONS, {"limit": 1}, user) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["Sona-Degraded"] == "rate_limits"


def test_limits_can_be_switched_off(deployment: Services, user: str) -> None:
    instance = serving(RECOMMEND_ROUTES, limited(deployment, replace(TIGHT, enabled=False)))
    assert {instance.post(RECOMMENDATIONS, {"limit": 1}, user).status_code for _ in range(8)} == {200}


def test_a_bug_is_a_503_in_json_and_its_traceback_is_logged(
    deployment: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(call: Call) -> dict[str, Any]:
        return {"quotient": 1 / 0}

    instance = serving({"/broken": {"POST": Route(broken)}}, deployment)
    answer = instance.post("/broken", {})
    assert (answer.status_code, answer.get_json()["error"]) == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert "division" not in answer.get_data(as_text=True)
    assert "ZeroDivisionError" in capsys.readouterr().out


BATCH = "/api/v1/recommendations/batch"


def test_a_batch_holds_what_each_user_would_get_alone(recommend: Function, push: Callable[..., Any], user: str) -> None:
    push(user, {"content_id": "title-07", "type": "watch_complete"})
    body = {"user_ids": [user, "somebody else", user], "limit": 5}
    found = recommend.post(BATCH, body, "mailer", ("service",)).get_json()["answers"]
    assert [answer["user_id"] for answer in found] == [user, "somebody else"]
    for answer in found:
        alone = recommend.ask(RECOMMENDATIONS, {"limit": 5}, answer["user_id"])
        assert answer["recommendations"] == alone["recommendations"]


def test_a_batch_is_for_services_and_bounded(recommend: Function, user: str) -> None:
    assert recommend.post(BATCH, {"user_ids": [user]}, user).status_code == 403
    assert recommend.post(BATCH, {"user_ids": []}, "mailer", ("service",)).status_code == 422
    many = [f"u{number}" for number in range(101)]
    assert recommend.post(BATCH, {"user_ids": many}, "mailer", ("service",)).status_code == 422
