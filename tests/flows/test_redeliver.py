"""What an outage outlasted is not lost: it waits as a dead letter and goes back to where it came from, once."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from core.config import PrivacySettings
from core.errors import ConfigurationError, StoreUnavailable
from core.flows.privacy import erase_user, export_user
from core.flows.redeliver import redeliver
from core.flows.services import Services
from core.stores import dead_letters
from core.stores.dead_letters import DeadLetter
from core.stores.pseudonyms import MIN_KEY_BYTES
from core.stores.pubsub import channel_arguments
from core.stores.pubsub_admin import ensure_pull_subscription, ensure_push_subscription, ensure_topic
from core.wiring import services_for


@pytest.fixture
def services(services: Services) -> Services:
    """With topics of their own: interactions, and dead letters that are kept."""
    run = uuid.uuid4().hex[:12]
    privacy = PrivacySettings(keys="k" * MIN_KEY_BYTES, dead_letters=f"dead-{run}")
    stores = replace(services.settings.stores, interactions_topic=f"interactions-{run}")
    for topic in (stores.interactions_topic, privacy.dead_letters):
        ensure_topic(stores, topic)
    ensure_pull_subscription(stores, privacy.dead_letters, privacy.dead_letters)
    ensure_pull_subscription(stores, stores.interactions_topic, f"seen-{run}")
    return services_for(replace(services.settings, stores=stores, privacy=privacy))


@pytest.fixture
def subscriber(services: Services) -> Iterator[SubscriberClient]:
    with SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(services.settings.stores))) as client:
        yield client


def bury(
    services: Services, user: str, event_id: str, source: str = "", whose: str = "", cut: int | None = None
) -> None:
    """What Pub/Sub does with a message that could not be delivered; `whose` where `user` is no ordering key."""
    stores = services.settings.stores
    data = {"user_id": whose or user, "events": [{"event_id": event_id, "content_id": "title-1", "type": "like"}]}
    attributes = {
        "CloudPubSubDeadLetterSourceSubscription": source or f"{stores.interactions_topic}-push",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "traceparent": "kept",
    }
    content = json.dumps(data).encode()[:cut]
    services.publisher.publish(services.settings.privacy.dead_letters, user, content, attributes)


def waiting(services: Services) -> int:
    seen = []
    services.dead_letters.look(lambda letter: bool(seen.append(letter)))
    return len(seen)


def test_dead_letters_go_back_to_their_topic_as_they_were(
    services: Services, subscriber: SubscriberClient, user: str
) -> None:
    bury(services, user, "a")
    bury(services, user, "b")
    assert redeliver(services) == {"redelivered": 2, "left": 0}
    assert waiting(services) == 0
    stores = services.settings.stores
    path = subscriber.subscription_path(stores.project, stores.interactions_topic.replace("interactions", "seen"))
    messages = [
        each.message for each in subscriber.pull(subscription=path, max_messages=9, timeout=5).received_messages
    ]
    assert [json.loads(message.data)["events"][0]["event_id"] for message in messages] == ["a", "b"]
    assert {message.ordering_key for message in messages} == {user}
    assert {tuple(message.attributes.items()) for message in messages} == {(("traceparent", "kept"),)}


def test_letters_of_unknown_origin_stay_and_so_does_everything_without_the_broker(
    services: Services, user: str
) -> None:
    bury(services, user, "a", source="somebody-elses")
    assert redeliver(services) == {"redelivered": 0, "left": 1}
    bury(services, user, "b")
    broken = replace(services.settings.stores, pubsub_endpoint="127.0.0.1:9", publish_timeout_s=0.2)
    away = services_for(replace(services.settings, stores=broken))
    with pytest.raises(StoreUnavailable):
        redeliver(replace(services, publisher=away.publisher))
    assert waiting(services) == 2


def test_an_erasure_takes_the_users_letters_and_nobody_elses(services: Services, user: str) -> None:
    bury(services, user, "a")
    bury(services, f"{user}0", "b")
    assert len(export_user(services, user)["dead_letters"]) == 1
    assert waiting(services) == 2
    assert erase_user(services, user)["dead_letters"] == 1
    assert waiting(services) == 1


def test_a_letter_that_only_quotes_an_id_is_not_about_its_user(services: Services, user: str) -> None:
    """Ids are any strings: a title, an event and a user may share one."""
    bury(services, f"{user}-other", event_id=user)
    bury(services, f"{user}-cut", event_id=f"{user}-other", cut=60)
    assert export_user(services, user)["dead_letters"] == []
    assert erase_user(services, user)["dead_letters"] == 0
    assert waiting(services) == 2
    bury(services, "", event_id="a", whose=user)
    bury(services, "", event_id="b", whose=user, cut=60)
    assert erase_user(services, user)["dead_letters"] == 2, "without an ordering key the bytes must say it"


def test_more_letters_than_there_is_time_for_are_no_erasure_and_none_stays_lent(
    services: Services, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        bury(services, f"{user}-{name}", name)
    with monkeypatch.context() as hurried:
        hurried.setattr(dead_letters, "AT_ONCE", 1)
        hurried.setattr(dead_letters, "LOOK_S", 0.2)
        with pytest.raises(StoreUnavailable, match="more dead letters"):
            services.dead_letters.look(lambda letter: bool(time.sleep(0.3)))
    assert waiting(services) == 3


def test_two_who_look_at_once_both_see_everything(
    services: Services, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "PULL_S", 0.2)
    bury(services, user, "a")
    looking, enough = threading.Event(), threading.Event()

    def slowly(letter: DeadLetter) -> bool:
        looking.set()
        return not enough.wait(10)

    with ThreadPoolExecutor(2) as both:
        first = both.submit(services.dead_letters.look, slowly)
        assert looking.wait(10)
        second = both.submit(waiting, services)
        time.sleep(0.6)  # longer than the second would wait for a letter
        enough.set()
        assert (first.result(10), second.result(10)) == (0, 1)


def test_without_their_subscriptions_nobody_claims_to_have_looked_through_dead_letters(
    services: Services, user: str
) -> None:
    bury(services, user, "a")
    unnamed = replace(services.settings, privacy=replace(services.settings.privacy, dead_letters=""))
    blind = services_for(unnamed)
    with pytest.raises(ConfigurationError, match="SONA_PRIVACY_DEAD_LETTERS=dead-letters-ingest,dead-letters-adapt"):
        redeliver(blind)
    assert "dead_letters" not in export_user(blind, user)
    assert "dead_letters" not in erase_user(blind, user)
    assert waiting(services) == 1


def test_a_message_whose_endpoint_stays_away_becomes_a_dead_letter(services: Services, user: str) -> None:
    stores, graveyard = services.settings.stores, services.settings.privacy.dead_letters
    ensure_push_subscription(
        stores, stores.interactions_topic, "http://127.0.0.1:9/push", dead_letter_topic=graveyard,
        max_attempts=5, min_backoff_s=0.01, max_backoff_s=0.01,
    )  # fmt: skip
    services.publisher.publish(stores.interactions_topic, user, b'{"user_id": "x", "events": []}', {})
    deadline = time.monotonic() + 10
    while not waiting(services):
        assert time.monotonic() < deadline
    assert services.dead_letters.look(lambda letter: letter.source == f"{stores.interactions_topic}-push") == 1
