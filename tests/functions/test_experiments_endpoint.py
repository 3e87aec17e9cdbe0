"""An experiment from its plan to its report: over HTTPS, through the broker's messages, on real stores."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from function_client import Function, Published, envelope, serving

from core.api.experiment_routes import EXPERIMENT_ROUTES
from core.api.routes import INGEST_ROUTES, RECOMMEND_ROUTES
from core.flows.experiment_memory import ExperimentMemory
from core.flows.services import Services
from core.stores.postgres.connect import ConnectionPool

PATH = "/api/v1/experiments"
RECOMMENDATIONS = "/api/v1/recommendations"
ADMIN = ("admin",)


@pytest.fixture
def experiments(function: Callable[[str], Function]) -> Function:
    return function("experiments")


@pytest.fixture
def instance(deployment: Services) -> Services:
    """An instance that reads the experiments at every request."""
    return replace(deployment, experiment_memory=ExperimentMemory(deployment.experiments, 0.0))


@pytest.fixture
def name(experiments: Function, sql: ConnectionPool) -> Iterator[str]:
    """A name for an experiment, which is over when the test is."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    sql.run(lambda c: c.execute("UPDATE experiments SET status = 'completed' WHERE name = %s", (name,)))


def plan(name: str, **changes: Any) -> dict[str, Any]:
    variants = [{"name": "control"}, {"name": "bold", "overrides": {"fusion": "scores", "mmr_lambda": 0.2}}]
    return {"name": name, "variants": variants, "metric": "like"} | changes


def start(experiments: Function, name: str, **changes: Any) -> None:
    assert experiments.post(PATH, plan(name, **changes), "root", ADMIN).status_code == 201
    answer = experiments.post(f"{PATH}/status", {"name": name, "status": "running"}, "root", ADMIN)
    assert answer.get_json()["status"] == "running", answer.get_json()


def test_only_administrators_plan_and_judge(experiments: Function, name: str) -> None:
    for path, body in (
        (PATH, plan(name)),
        (f"{PATH}/status", {"name": name, "status": "running"}),
        (f"{PATH}/report", {"name": name}),
        (f"{PATH}/rebalance", {"name": name}),
    ):
        assert experiments.post(path, body, "ann").status_code == 403
        assert experiments.post(path, body, "batch", ("service",)).status_code == 403
        assert experiments.post(path, body, None).status_code == 401
    assert experiments.client.get(PATH).status_code == 401


def test_a_plan_is_stored_listed_and_not_overwritten(experiments: Function, name: str) -> None:
    created = experiments.post(PATH, plan(name), "root", ADMIN)
    assert (created.status_code, created.get_json()["status"]) == (201, "draft")
    assert experiments.post(PATH, plan(name), "root", ADMIN).status_code == 409
    headers = {"Authorization": f"Bearer {admin_token()}"}
    listed = experiments.client.get(PATH, headers=headers).get_json()["experiments"]
    assert created.get_json() in listed


def admin_token() -> str:
    from function_client import SECRET

    from core.local.tokens import sign_local_token

    return sign_local_token(SECRET, "root", ADMIN)


@pytest.mark.parametrize(
    "change",
    [
        {"variants": [{"name": "control"}]},
        {"variants": [{"name": "control"}, {"name": "b", "overrides": {"sql_dsn": "x"}}]},
        {"variants": [{"name": "control"}, {"name": "b", "overrides": {"mmr_lambda": 7}}]},
        {"traffic": 0},
        {"name": "no spaces"},
        {"allocation": "magic"},
    ],
)
def test_a_plan_that_could_not_be_run_is_a_422(experiments: Function, name: str, change: dict[str, Any]) -> None:
    assert experiments.post(PATH, plan(name) | change, "root", ADMIN).status_code == 422


def test_unknown_names_are_404_and_impossible_steps_409(experiments: Function, name: str) -> None:
    assert experiments.post(f"{PATH}/report", {"name": "no-such"}, "root", ADMIN).status_code == 404
    start(experiments, name)
    again = experiments.post(f"{PATH}/status", {"name": name, "status": "running"}, "root", ADMIN)
    assert again.status_code == 409
    other = plan(f"{name}.2")
    assert experiments.post(PATH, other, "root", ADMIN).status_code == 201
    clash = experiments.post(f"{PATH}/status", {"name": f"{name}.2", "status": "running"}, "root", ADMIN)
    assert (clash.status_code, "mmr_lambda" in clash.get_json()["message"]) == (409, True)


def test_a_variant_changes_the_answer_and_the_answer_says_which(
    experiments: Function, instance: Services, name: str
) -> None:
    recommend = serving(RECOMMEND_ROUTES, instance)
    recent = [{"content_id": f"title-{number:02d}", "type": "watch_complete"} for number in (0, 5, 2)]
    before = {user: ids(recommend.ask(RECOMMENDATIONS, {"recent_events": recent}, user)) for user in "abcdefghij"}
    start(experiments, name)
    changed = {}
    for user, shown in before.items():
        answer = recommend.ask(RECOMMENDATIONS, {"recent_events": recent}, user)
        changed[user] = (answer["experiments"][name], ids(answer) != shown)
        told = experiments.ask(f"{PATH}/assignment", {}, user)
        assert told["variants"][name] == answer["experiments"][name]
    assert set(changed.values()) == {("control", False), ("bold", True)}


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["content_id"] for row in answer["recommendations"]]


def test_exposures_and_conversions_reach_the_report_through_messages(
    experiments: Function, instance: Services, name: str, push: Callable[..., Any]
) -> None:
    """A hundred users, of whom those with the bold variant like something more often, each message delivered twice."""
    start(experiments, name)
    sent = Published()
    own = replace(instance, publisher=sent, settings=replace(instance.settings, impressions=False))
    recommend, http, ingest = (
        serving(routes, own)
        for routes in (RECOMMEND_ROUTES, EXPERIMENT_ROUTES, INGEST_ROUTES | {"/push": INGEST_ROUTES["*"]})
    )
    rng, expected = np.random.default_rng(0), {"control": [0, 0], "bold": [0, 0]}
    for user in (f"{name}-{number}" for number in range(100)):
        variant = recommend.ask(RECOMMENDATIONS, {"limit": 1}, user)["experiments"][name]
        converts = rng.random() < (0.8 if variant == "bold" else 0.2)
        expected[variant][0] += 1
        if converts:
            expected[variant][1] += 1
            body = {"experiment_id": name, "metric_name": "signup", "value": 2.5}
            assert http.ask(f"{PATH}/conversions", body, user)["variant"] == variant
    for number, data in enumerate(sent.messages * 2):
        answer = ingest.post("/push", envelope(data, f"{name}-{number}"), None)
        assert answer.get_json() == {"status": "ingested", "stored": 0, "known": 0, "rejected": 0}
    report = experiments.post(f"{PATH}/report", {"name": name, "metric": "signup"}, "root", ADMIN).get_json()
    found = {row["variant"]: [row["users"], row["converted"]] for row in report["variants"]}
    assert found == expected
    assert report["variants"][1]["chance_to_be_best"] > 0.99
    assert report["variants"][1]["mean"] == pytest.approx(2.5 * expected["bold"][1] / expected["bold"][0])
    assert (report["decision"], report["mismatch"]) == (None, False)  # too few users to decide


def test_an_interaction_is_a_conversion_without_reporting_it(
    experiments: Function, instance: Services, name: str, push: Callable[..., Any], user: str
) -> None:
    start(experiments, name, metric="skip_content")
    sent = Published()
    serving(RECOMMEND_ROUTES, replace(instance, publisher=sent)).ask(RECOMMENDATIONS, {"limit": 1}, user)
    [message] = sent.messages
    ingest = serving({"/push": INGEST_ROUTES["*"]}, instance)
    assert ingest.post("/push", envelope(message, f"shown-{user}"), None).get_json()["stored"] == 1
    push(user, {"content_id": "title-01", "type": "skip_content", "timestamp": time.time() + 1})
    report = experiments.post(f"{PATH}/report", {"name": name}, "root", ADMIN).get_json()
    assert sum(row["users"] for row in report["variants"]) == 1
    assert sum(row["converted"] for row in report["variants"]) == 1


def test_what_a_message_cannot_mean_is_kept_with_its_reason(instance: Services, sql: ConnectionPool, user: str) -> None:
    ingest = serving({"/push": INGEST_ROUTES["*"]}, instance)
    data = json.dumps({"user_id": user, "events": [], "exposures": [{"experiment": "UPPER", "variant": "a", "at": 1}]})
    assert ingest.post("/push", envelope(data.encode(), f"bad-{user}"), None).status_code == 200
    query = "SELECT reason FROM rejected_events WHERE message_id = %s"
    [(reason,)] = sql.run(lambda c: c.execute(query, (f"bad-{user}",)).fetchall())
    assert reason.startswith("exposures.0.experiment")


def test_conversions_are_for_running_experiments_and_ones_own_user(experiments: Function, name: str, user: str) -> None:
    body = {"experiment_id": name, "metric_name": "signup"}
    assert experiments.post(f"{PATH}/conversions", body, user).status_code == 404
    experiments.post(PATH, plan(name), "root", ADMIN)
    assert experiments.post(f"{PATH}/conversions", body, user).status_code == 409
    experiments.post(f"{PATH}/status", {"name": name, "status": "running"}, "root", ADMIN)
    assert experiments.post(f"{PATH}/conversions", body, user).status_code == 202
    assert experiments.post(f"{PATH}/conversions", body | {"user_id": "bob"}, user).status_code == 403
    assert experiments.post(f"{PATH}/conversions", body | {"user_id": "bob"}, "b", ("service",)).status_code == 202


def test_a_bandit_gets_new_weights_and_fixed_ones_stay(experiments: Function, name: str) -> None:
    start(experiments, name, allocation="bandit", variants=[{"name": "a"}, {"name": "b"}])
    weights = experiments.post(f"{PATH}/rebalance", {"name": name}, "root", ADMIN).get_json()["weights"]
    assert sum(weights.values()) == pytest.approx(1.0)
    fixed = f"{name}.fixed"
    experiments.post(PATH, plan(fixed), "root", ADMIN)
    assert experiments.post(f"{PATH}/rebalance", {"name": fixed}, "root", ADMIN).status_code == 422


def test_the_hourly_job_gives_new_weights(experiments: Function, name: str) -> None:
    from functions.rebalance_bandits import rebalance_bandits

    start(experiments, name, allocation="bandit", variants=[{"name": "a"}, {"name": "b"}])
    weights = rebalance_bandits()[name]
    report = experiments.post(f"{PATH}/report", {"name": name}, "root", ADMIN).get_json()
    assert {row["variant"]: row["weight"] for row in report["variants"]} == pytest.approx(weights)


def test_without_the_store_answers_go_on_with_what_is_known_and_say_so(
    experiments: Function, instance: Services, deployment: Services, name: str, user: str
) -> None:
    from core.config import StoreSettings
    from core.stores.postgres.connect import pool
    from core.stores.postgres.experiments import PostgresExperiments

    start(experiments, name)
    memory = ExperimentMemory(instance.experiments, 0.0)
    own = replace(instance, experiment_memory=memory, publisher=Published())
    known = serving(RECOMMEND_ROUTES, own).ask(RECOMMENDATIONS, {"limit": 1}, user)["experiments"]
    memory.store = PostgresExperiments(pool(StoreSettings(sql_dsn="host=127.0.0.1 port=9 dbname=none user=none")))
    answer = serving(RECOMMEND_ROUTES, own).ask(RECOMMENDATIONS, {"limit": 1}, user)
    assert (answer["experiments"], answer["degraded"]) == (known, ["experiments"])
