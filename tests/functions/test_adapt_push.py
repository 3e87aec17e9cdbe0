"""Pub/Sub pushes adaptation requests: each delivery form is read, poison is kept and acknowledged, outages are not."""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from adapting import DRAMAS, append, generation, likes, request, snapshot_folder
from function_client import Function, envelope, serving

from core.api.adapter_routes import ADAPT_ROUTES
from core.flows.services import Services
from core.snapshot.publish import activate, publish
from core.stores.gcs import GcsBucket, ensure_bucket
from core.stores.postgres.connect import ConnectionPool
from core.wiring import services_for

PATH = "/push/adapt"


@pytest.fixture(scope="module")
def services(deployment: Services, tmp_path_factory: pytest.TempPathFactory) -> Services:
    settings = deployment.settings
    stores = replace(settings.stores, snapshots_bucket=f"adapt-{uuid.uuid4().hex}")
    ensure_bucket(stores)
    folder = snapshot_folder(tmp_path_factory.mktemp("snapshots"), generation(), time.time())
    activate(GcsBucket(stores), publish(folder, GcsBucket(stores)))
    return services_for(replace(settings, stores=stores, cache_dir=str(tmp_path_factory.mktemp("cache"))))


@pytest.fixture(scope="module")
def adapt(services: Services) -> Function:
    return serving(ADAPT_ROUTES, services)


def delivery(data: bytes) -> dict[str, Any]:
    return envelope(data, uuid.uuid4().hex)


def test_a_request_adapts_and_its_repetition_does_not(adapt: Function, services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    push = delivery(request(user, 25))
    assert adapt.post(PATH, push, None).get_json() == {"status": "accepted", "version": 1}
    assert adapt.post(PATH, push, None).get_json() == {"status": "known", "version": 1}
    assert len(services.adapters.adaptations(user, 10)) == 1


def test_a_request_wrapped_in_a_cloud_event_is_read_too(adapt: Function, services: Services, user: str) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    event = {
        "specversion": "1.0",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "data": delivery(request(user, 25)),
    }
    assert adapt.post(PATH, event, None).get_json()["status"] == "accepted"


def test_fields_of_a_newer_publisher_are_ignored(adapt: Function, user: str) -> None:
    data = request(user, 3)[:-1] + b', "reason": "due"}'
    assert adapt.post(PATH, delivery(data), None).get_json()["status"] == "nothing_to_learn"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "data"),
        (b"\xff", "data"),
        (b"[]", "data"),
        (b'{"seq": 1}', "user_id"),
        (b'{"user_id": "a"}', "seq"),
        (b'{"user_id": "a", "seq": -1}', "seq"),
        (b'{"user_id": "a", "seq": "1"}', "seq"),
        (b'{"user_id": "", "seq": 1}', "user_id"),
        (b'{"user_id": "a\\u0000", "seq": 1}', "user_id"),
    ],
)
def test_poison_is_kept_with_its_reason_and_acknowledged(
    adapt: Function, sql: ConnectionPool, data: bytes, reason: str
) -> None:
    push = delivery(data)
    for _ in range(2):
        answer = adapt.post(PATH, push, None)
        assert (answer.status_code, answer.get_json()["status"]) == (200, "rejected")
    query = "SELECT reason, payload FROM rejected_events WHERE message_id = %s"
    [(kept, payload)] = sql.run(lambda c: c.execute(query, (push["message"]["messageId"],)).fetchall())
    assert kept.startswith(reason)
    assert payload == data


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"message": 1}'])
def test_what_pubsub_never_sends_is_refused(adapt: Function, body: bytes) -> None:
    assert adapt.post(PATH, body, None).status_code == 422


@pytest.mark.parametrize("data", ["?", 1])
def test_base64_that_is_none_is_poison(adapt: Function, data: object) -> None:
    assert adapt.post(PATH, {"message": {"data": data, "messageId": "m"}}, None).get_json()["status"] == "rejected"


def test_a_request_for_a_damaged_user_is_kept_as_theirs_and_acknowledged(
    adapt: Function, services: Services, sql: ConnectionPool, user: str
) -> None:
    append(services.log, user, likes(user, DRAMAS[:25]))
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    checkpoint = "INSERT INTO checkpoints (user_id, seq, state, made_at) VALUES (%s, 1, 'rubbish', now())"
    sql.run(lambda c: c.execute(checkpoint, (user,)))
    answer = adapt.post(PATH, delivery(request(user, 25)), None)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "rejected", "version": 0})
    [kept] = services.personal_data.export(user)["rejected_events"]
    assert kept["reason"] == "not a user state"
    assert user in services.adapters.due(0, 1, 10_000), "the job tries again"


def test_without_the_cold_store_the_message_comes_again(services: Services, user: str) -> None:
    stores = replace(services.settings.stores, sql_dsn="host=127.0.0.1 port=9 dbname=none user=none")
    cut_off = serving(ADAPT_ROUTES, services_for(replace(services.settings, stores=stores)))
    assert cut_off.post(PATH, delivery(request(user, 5)), None).status_code == 503


def test_in_the_cloud_only_the_broker_may_push(services: Services, user: str) -> None:
    cloud = replace(services, settings=replace(services.settings, edition="cloud"))
    assert serving(ADAPT_ROUTES, cloud).post(PATH, delivery(request(user, 5)), None).status_code == 401


def test_the_deployed_function_answers(function: Callable[[str], Function]) -> None:
    assert function("adapt").client.get("/health").get_json()["status"] == "ok"


def test_the_job_adapts_whoever_is_due_in_its_shard(deployment: Services, user: str) -> None:
    from functions.adapt_users import adapt_users

    append(deployment.log, user, likes(user, DRAMAS[:12]))
    assert adapt_users()["users"] >= 1
    assert [entry.upto_seq for entry in deployment.adapters.adaptations(user, 5)] == [12]
    assert user not in deployment.adapters.due(0, 1, 10_000)
