"""collect, profiles and ingest: what was accepted arrives, once, and changes what the log and the state say."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from function_client import Function, envelope
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from pydantic import TypeAdapter

from core.api import answers
from core.flows.replay import replay_user
from core.flows.services import Services
from core.interaction import Onboarding
from core.profile.codec import decode
from core.stores.postgres.connect import ConnectionPool
from core.stores.pubsub import channel_arguments

INTERACTIONS = "/api/v1/interactions"
UPDATE = "/api/v1/profile/update"
ONBOARDING = "/api/v1/profile/onboarding"


@pytest.fixture
def pulled(deployment: Services) -> Iterator[Callable[[], list[Any]]]:
    """What was published to the interactions topic since the test began."""
    deployment.publisher.flush()  # impressions of earlier tests
    stores = deployment.settings.stores
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(stores)))
    path = subscriber.subscription_path(stores.project, f"pull-{uuid.uuid4().hex}")
    topic = f"projects/{stores.project}/topics/{stores.interactions_topic}"
    subscriber.create_subscription(name=path, topic=topic)

    def pull() -> list[Any]:
        answer = subscriber.pull(subscription=path, max_messages=100, timeout=5)
        return [received.message for received in answer.received_messages]

    yield pull
    subscriber.delete_subscription(subscription=path)


def deliver(ingest: Function, message: Any) -> dict[str, Any]:
    """Push a published message as Pub/Sub would."""
    answer = ingest.post("/push/ingest", envelope(message.data, message.message_id), None)
    assert answer.status_code == 200, answer.data
    return dict(TypeAdapter(answers.IngestedOut).validate_json(answer.data, extra="forbid"))


def logged(deployment: Services, user: str) -> list[Any]:
    return [item.event for item in deployment.log.events(user)]


def test_an_accepted_interaction_is_in_the_broker_and_then_in_the_log(
    collect: Function, ingest: Function, deployment: Services, pulled: Callable[[], list[Any]], user: str
) -> None:
    event = {"event_id": "e1", "content_id": "title-01", "type": "RATING", "rating": 4, "device_type": "tv"}
    sent = collect.post(INTERACTIONS, event | {"user_id": user}, user)
    assert sent.status_code == 202
    accepted = TypeAdapter(answers.AcceptedOut).validate_json(sent.data, extra="forbid")
    assert accepted == {"status": "accepted", "accepted": 1, "event_ids": ["e1"]}
    (message,) = pulled()
    assert message.ordering_key == user
    assert deliver(ingest, message) == {"status": "ingested", "stored": 1, "known": 0, "rejected": 0}
    (stored,) = logged(deployment, user)
    assert (stored.event_id, stored.type, stored.rating, stored.device) == ("e1", "rating_explicit", 4.0, "tv")
    assert abs(stored.occurred_at - time.time()) < 60


def test_several_interactions_travel_as_one_message_in_their_order(
    collect: Function, ingest: Function, deployment: Services, pulled: Callable[[], list[Any]], user: str
) -> None:
    events = [{"content_id": f"title-{n:02d}", "type": "watch_start"} for n in range(5)]
    accepted = collect.ask(INTERACTIONS, {"interactions": events}, user)
    (message,) = pulled()
    deliver(ingest, message)
    stored = logged(deployment, user)
    assert [event.content_id for event in stored] == [event["content_id"] for event in events]
    assert [event.event_id for event in stored] == accepted["event_ids"]


def test_what_proposed_a_title_is_believed_from_services_alone(
    collect: Function, pulled: Callable[[], list[Any]], user: str
) -> None:
    told = {"content_id": "title-01", "type": "impression", "request_id": "r", "strategy": "content", "latency_ms": 2.0}
    assert collect.post(INTERACTIONS, told, user).status_code == 202
    assert collect.post(INTERACTIONS, told | {"user_id": user}, "platform", ("service",)).status_code == 202
    own, platforms = (json.loads(message.data)["events"][0] for message in pulled())
    assert not {"strategy", "latency_ms"} & set(own)
    assert (platforms["strategy"], platforms["latency_ms"]) == ("content", 2.0)


def test_the_same_envelope_twice_changes_nothing(
    ingest: Function, deployment: Services, push: Callable[..., dict[str, Any]], user: str
) -> None:
    event = {"event_id": "e1", "content_id": "title-01", "type": "like"}
    assert push(user, event, message_id="m1")["stored"] == 1
    before = deployment.log.load_state(user)
    assert push(user, event, message_id="m1") == {"status": "ingested", "stored": 0, "known": 1, "rejected": 0}
    assert push(user, event, message_id="sent again by the client")["known"] == 1
    assert deployment.log.load_state(user) == before


def test_events_out_of_order_give_the_same_facts(
    deployment: Services, push: Callable[..., dict[str, Any]], user: str
) -> None:
    now = time.time()
    events = [
        {
            "event_id": f"e{n}",
            "content_id": f"title-{n % 4:02d}",
            "type": kind,
            "occurred_at": now - n,
            "progress": 0.1 * n,
        }
        for n, kind in enumerate(["watch_start", "watch_progress", "like", "skip", "dislike", "watch_complete"])
    ]
    other = f"{user}-other"
    push(user, *events)
    for event in reversed(events):
        push(other, event)
    one, two = (decode(name, stored.blob) for name in (user, other) if (stored := deployment.log.load_state(name)))
    assert one.history.tobytes() == two.history.tobytes()
    assert (one.counts, one.seq) == (two.counts, two.seq) == (one.counts, 6)


def test_a_structured_cloud_event_is_ingested_too(ingest: Function, deployment: Services, user: str) -> None:
    pushed = envelope(json.dumps({"user_id": user, "content_id": "title-01", "type": "like"}).encode(), "m1")
    event = {"specversion": "1.0", "type": "google.cloud.pubsub.topic.v1.messagePublished", "data": pushed}
    answer = ingest.post("/", event, None, Content_Type="application/cloudevents+json")
    assert answer.get_json()["stored"] == 1
    binary = ingest.post("/", pushed, None, ce_type=event["type"], ce_id="m1", ce_specversion="1.0", ce_source="//x")
    assert binary.get_json()["known"] == 1
    assert len(logged(deployment, user)) == 1


@pytest.mark.parametrize("data", [b"poison", b"\xff", b"{}", b'{"user_id":"ann","events":[{"type":"like"}]}'])
def test_a_poison_message_is_acknowledged_and_kept_with_its_reason(
    ingest: Function, sql: ConnectionPool, data: bytes
) -> None:
    message_id = uuid.uuid4().hex
    for _ in range(2):
        answer = ingest.post("/push/ingest", envelope(data, message_id), None)
        assert (answer.status_code, answer.get_json()["rejected"]) == (200, 1)
    query = "SELECT reason, payload FROM rejected_events WHERE message_id = %s"
    ((reason, payload),) = sql.run(lambda c: c.execute(query, (message_id,)).fetchall())
    assert reason
    assert bytes(payload) in data


def test_a_delivery_without_data_is_acknowledged(ingest: Function) -> None:
    delivery = {"message": {"messageId": uuid.uuid4().hex, "attributes": {"a": "b"}}, "subscription": "s"}
    assert ingest.post("/", delivery, None).status_code == 200


def test_what_is_no_delivery_is_refused(ingest: Function) -> None:
    assert ingest.post("/", {"hello": "world"}, None).status_code == 422
    assert ingest.client.get("/push/ingest").status_code == 405


def test_a_message_larger_than_callers_may_send_is_ingested(ingest: Function, deployment: Services, user: str) -> None:
    events = [{"event_id": f"{n}-{'x' * 90}", "content_id": "title-01", "type": "watch_start"} for n in range(2500)]
    data = json.dumps({"user_id": user, "events": events}).encode()
    assert len(base64.b64encode(data)) > deployment.settings.max_body_bytes
    assert ingest.post("/", envelope(data, "large"), None).get_json()["stored"] == 2500


def test_onboarding_is_an_event_that_shapes_the_first_answer(
    profiles: Function,
    ingest: Function,
    recommend: Function,
    deployment: Services,
    pulled: Callable[[], list[Any]],
    user: str,
) -> None:
    before = recommend.ask("/api/v1/recommendations", {"limit": 10}, user)
    said = {"genres": ["Science Fiction"], "age_band": "25-34", "region": "DE", "language": "de"}
    assert profiles.ask(ONBOARDING, said, user)["accepted"] == 1
    for message in pulled():
        deliver(ingest, message)
    (about,) = (event for event in logged(deployment, user) if isinstance(event, Onboarding))
    assert (about.genres, about.age_band, about.region, about.language) == (("science fiction",), "25-34", "DE", "de")
    after = recommend.ask("/api/v1/recommendations", {"limit": 10}, user)

    def chosen(answer: dict[str, Any]) -> int:
        return sum("science fiction" in row["explanation"] for row in answer["recommendations"])

    assert chosen(after) > chosen(before)


def test_viewing_events_may_be_reported_again_and_count_once(
    profiles: Function, ingest: Function, deployment: Services, pulled: Callable[[], list[Any]], user: str
) -> None:
    viewings = [
        {"content_id": "title-01", "timestamp": "2025-10-01T20:00:00Z", "completion_rate": 1.0, "rating": 5},
        {"content_id": "title-02", "timestamp": "2025-10-02T20:00:00Z", "completion_rate": 0.1, "dismissed": True},
    ]
    for _ in range(2):
        sent = profiles.post(UPDATE, {"viewing_events": viewings}, user)
        assert sent.status_code == 202
        answer = TypeAdapter(answers.ProfileOut).validate_json(sent.data, extra="forbid")
        assert (answer["user_id"], answer["events_processed"]) == (user, 2)
        assert answer["preference_vector_dim"] == deployment.snapshots.current(time.time()).vectors.shape[1]
    for message in pulled():
        deliver(ingest, message)
    assert [event.type for event in logged(deployment, user)] == ["watch_complete", "rating_explicit", "skip_content"]


def test_what_was_shown_is_logged_and_does_not_make_a_title_seen(
    recommend: Function, ingest: Function, deployment: Services, pulled: Callable[[], list[Any]], user: str
) -> None:
    answer = recommend.ask("/api/v1/recommendations", {"limit": 4}, user)
    deployment.publisher.flush()
    (message,) = pulled()
    assert deliver(ingest, message)["stored"] == 4
    shown = logged(deployment, user)
    assert [event.content_id for event in shown] == [row["content_id"] for row in answer["recommendations"]]
    assert {(event.type, event.request_id) for event in shown} == {("impression", answer["request_id"])}
    again = recommend.ask("/api/v1/recommendations", {"limit": 4}, user)
    assert [row["content_id"] for row in again["recommendations"]] == [event.content_id for event in shown]


def test_after_all_that_a_replay_gives_the_state_byte_for_byte(
    deployment: Services, push: Callable[..., dict[str, Any]], user: str
) -> None:
    for n in range(30):
        push(user, {"content_id": f"title-{n % 9:02d}", "type": ("like", "SKIP", "watch_start")[n % 3]})
        push(user, {"type": "onboarding", "genres": ["crime"]})
    report = replay_user(deployment, user, time.time())
    assert (report["equal"], report["events"]) == (True, 60)
