"""Stores, broker and functions die and hang under traffic, one by one and in pairs, while messages come twice, late,
out of order and damaged: answers stay right, degrade by name or are a 503; no accepted event is lost or done twice."""

import itertools
import time

import pytest
import requests
from faults import Traffic, audit, broken, part

from core.local.stack import Stack
from core.local.tokens import sign_local_token

OUTAGE_S = 1.0
PARTS = ("valkey", "broker", "postgres", "worker")
FAULTS = ("kill", "pause")
# By default the pairs that share a path: the two stores that stand in for each other, where an event waits and who
# takes it, and the store of truth with the process that writes to it.
EVERY_DAY = {
    ("valkey", "kill", "postgres", "pause"),
    ("broker", "kill", "worker", "kill"),
    ("postgres", "kill", "worker", "pause"),
}
PAIRS = [
    pytest.param((first, second), marks=() if (*first, *second) in EVERY_DAY else pytest.mark.slow)
    for one, other in itertools.combinations(PARTS, 2)
    for first in itertools.product([one], FAULTS)
    for second in itertools.product([other], FAULTS)
]


def named(parts: tuple[tuple[str, str], ...]) -> str:
    return "+".join(f"{name}-{fault}" for name, fault in parts)


def survived(stack: Stack, parts: tuple[tuple[str, str], ...]) -> None:
    """Traffic and mischief through an outage, and everything that must be true then."""
    traffic = Traffic(stack)
    traffic.during(lambda: broken([(part(stack, name), fault) for name, fault in parts], OUTAGE_S))
    for answer in traffic.answers:
        assert answer.status_code in (200, 202, 503), answer.text
        body = answer.json()
        if answer.status_code == 503:
            assert body["message"]
            assert int(answer.headers["Retry-After"]) >= 1
        elif answer.status_code == 200:
            ids = [row["content_id"] for row in body["recommendations"]]
            assert len(ids) == len(set(ids)) == 10
    assert all(traffic.accepted[user] for user in traffic.users)
    audit(traffic)
    for user in traffic.users:
        recovered(stack, user)


def recovered(stack: Stack, user: str) -> None:
    """Every part of an answer works again."""
    deadline = time.monotonic() + 10
    while degraded := ask(stack, user).json().get("degraded", ["everything"]):
        assert time.monotonic() < deadline, degraded
        time.sleep(0.1)


def ask(stack: Stack, user: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {sign_local_token(stack.secret_path.read_text(), user)}"}
    return requests.post(f"{stack.gateway.url}/api/v1/recommendations", json={}, headers=headers, timeout=30)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*PARTS, pytest.param("gateway", marks=pytest.mark.slow)])
def test_an_outage_loses_nothing_and_every_answer_says_what_it_is(stack: Stack, name: str, fault: str) -> None:
    survived(stack, ((name, fault),))


@pytest.mark.parametrize("parts", PAIRS, ids=named)
def test_two_outages_at_once_lose_nothing_either(stack: Stack, parts: tuple[tuple[str, str], ...]) -> None:
    survived(stack, parts)


def test_a_dead_hot_store_is_named_and_its_copies_come_back(stack: Stack) -> None:
    recovered(stack, "nadia")
    stack.valkey.kill()
    during = ask(stack, "nadia").json()
    stack.valkey.start()
    assert "hot_store" in during["degraded"]
    assert during["recommendations"], "the cold store answers"
    recovered(stack, "nadia")


@pytest.mark.parametrize("outage", ["kill", "pause"])
def test_with_both_stores_away_popularity_answers(stack: Stack, outage: str) -> None:
    """Nobody is known then, but everybody is shown something."""
    recovered(stack, "nadia")
    parts = [stack.valkey, stack.postgres]
    answers: list[requests.Response] = []
    try:
        for server in parts:
            server.kill() if outage == "kill" else server.pause()
        eventually = time.monotonic() + 15
        while not (answers and answers[-1].status_code == 200) and time.monotonic() < eventually:
            answers.append(ask(stack, "nadia"))
    finally:
        for server in parts:
            server.start() if outage == "kill" else server.resume()
    assert answers[-1].status_code == 200, [answer.status_code for answer in answers]
    body = answers[-1].json()
    assert "user_state" in body["degraded"]
    assert len(body["recommendations"]) == 20
    recovered(stack, "nadia")
