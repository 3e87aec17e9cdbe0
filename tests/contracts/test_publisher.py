"""Publisher on Pub/Sub's API: accepted means kept, an outage is said in time, and afterwards no user stays refused."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from core import telemetry
from core.config import StoreSettings
from core.errors import ConfigurationError, InvalidInput, StoreUnavailable
from core.local.broker.server import BrokerServer
from core.stores.pubsub import PubsubPublisher, channel_arguments
from core.stores.pubsub_admin import ensure_push_subscription, ensure_topic


@pytest.fixture
def stores(pubsub_endpoint: str) -> StoreSettings:
    return StoreSettings(pubsub_endpoint=pubsub_endpoint, publish_timeout_s=2.0)


@pytest.fixture
def publisher(stores: StoreSettings) -> PubsubPublisher:
    return PubsubPublisher(stores)


@pytest.fixture
def subscriber(stores: StoreSettings) -> Iterator[SubscriberClient]:
    with SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(stores))) as client:
        yield client


class Subscription:
    """A pull subscription to one topic."""

    def __init__(self, client: SubscriberClient, stores: StoreSettings, topic: str) -> None:
        self.client = client
        self.path = client.subscription_path(stores.project, f"{topic}-pull")
        full_topic = f"projects/{stores.project}/topics/{topic}"
        wanted = {"name": self.path, "topic": full_topic, "enable_message_ordering": True}
        client.create_subscription(request=wanted, timeout=5)

    def take(self, count: int) -> list:
        """`count` messages, acknowledged in the order they came; fewer after five seconds."""
        messages: list = []
        deadline = time.monotonic() + 5
        while len(messages) < count and time.monotonic() < deadline:
            request = {"subscription": self.path, "max_messages": count - len(messages)}
            received = self.client.pull(request=request, timeout=5).received_messages
            messages += [item.message for item in received]
            self.client.acknowledge(subscription=self.path, ack_ids=[item.ack_id for item in received], timeout=5)
        return messages


@pytest.fixture
def subscription(subscriber: SubscriberClient, stores: StoreSettings, topic: str) -> Subscription:
    return Subscription(subscriber, stores, topic)


def test_a_message_arrives_as_it_was_under_the_id_that_was_returned(
    publisher: PubsubPublisher, subscription: Subscription, topic: str
) -> None:
    message_id = publisher.publish(topic, "user-1", b"\x00\xff{}", {"kind": "events", "note": "ü 漢"})
    (message,) = subscription.take(1)
    assert message.message_id == message_id
    assert (message.data, message.ordering_key) == (b"\x00\xff{}", "user-1")
    assert dict(message.attributes) == {"kind": "events", "note": "ü 漢"}


def test_messages_of_a_key_arrive_in_the_order_they_were_accepted(
    publisher: PubsubPublisher, subscription: Subscription, topic: str
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for user in range(4):
            threads.submit(
                lambda user=user: [publisher.publish(topic, f"u{user}", f"{n}".encode(), {}) for n in range(20)]
            )
    messages = subscription.take(80)
    for user in range(4):
        mine = [int(message.data) for message in messages if message.ordering_key == f"u{user}"]
        assert mine == list(range(20))


def test_best_effort_messages_all_arrive_in_order_after_a_flush(
    publisher: PubsubPublisher, subscription: Subscription, topic: str
) -> None:
    assert all(publisher.publish_best_effort(topic, "u", f"{number}".encode()) for number in range(250))
    publisher.flush()
    assert [int(message.data) for message in subscription.take(250)] == list(range(250))
    assert publisher.dropped == 0


def test_best_effort_messages_of_several_topics_reach_their_own(
    publisher: PubsubPublisher, subscriber: SubscriberClient, stores: StoreSettings, topic: str
) -> None:
    ensure_topic(stores, f"{topic}-2")
    subscriptions = {name: Subscription(subscriber, stores, name) for name in (topic, f"{topic}-2")}
    for number in range(20):
        publisher.publish_best_effort((topic, f"{topic}-2")[number % 2], "u", f"{number}".encode())
    publisher.flush()
    for parity, name in enumerate(subscriptions):
        assert [int(message.data) for message in subscriptions[name].take(10)] == list(range(parity, 20, 2))


def test_best_effort_is_bounded_and_counted_and_never_waits(
    stores: StoreSettings, pubsub_server: BrokerServer, topic: str
) -> None:
    publisher = PubsubPublisher(stores, max_outstanding=10)
    publisher.publish(topic, "u", b"connected", {})
    pubsub_server.pause()
    try:
        started = time.monotonic()
        kept = [publisher.publish_best_effort(topic, "u", b"x") for _ in range(25)]
        assert time.monotonic() - started < 0.5
    finally:
        pubsub_server.resume()
    assert kept == [True] * 10 + [False] * 15
    assert publisher.dropped == 15
    publisher.flush()
    assert publisher.publish_best_effort(topic, "u", b"x"), "there is room again"


def test_what_is_dropped_is_measured(stores: StoreSettings, topic: str) -> None:
    reader = InMemoryMetricReader()
    telemetry.export_with(TracerProvider(), MeterProvider([reader]))
    try:
        publisher = PubsubPublisher(stores, max_outstanding=0)
        assert not any(publisher.publish_best_effort(topic, "u", b"x") for _ in range(3))
        [found] = [
            (point["attributes"], point["value"])
            for resource in json.loads(reader.get_metrics_data().to_json())["resource_metrics"]
            for scope in resource["scope_metrics"]
            for metric in scope["metrics"]
            for point in metric["data"]["data_points"]
        ]
    finally:
        telemetry.export_with(None, None)
    assert found == ({"outcome": "dropped"}, 3)


def test_a_failed_best_effort_message_is_counted_and_its_user_is_served_afterwards(
    publisher: PubsubPublisher, subscription: Subscription, pubsub_server: BrokerServer, topic: str
) -> None:
    publisher.publish(topic, "u", b"before", {})
    pubsub_server.kill()
    try:
        publisher.publish_best_effort(topic, "u", b"lost")
        publisher.flush()
        assert publisher.dropped == 1
    finally:
        pubsub_server.start()
    publisher.publish(topic, "u", b"after", {})
    publisher.publish_best_effort(topic, "u", b"again")
    publisher.flush()
    assert [message.data for message in subscription.take(3)] == [b"before", b"after", b"again"]


def test_a_dead_broker_is_reported_in_time_and_a_restarted_one_takes_the_same_users(
    publisher: PubsubPublisher, subscription: Subscription, pubsub_server: BrokerServer, topic: str
) -> None:
    publisher.publish(topic, "u", b"before", {})
    pubsub_server.kill()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as raised:
            publisher.publish(topic, "u", b"refused", {})
        assert raised.value.store == "broker"
        assert time.monotonic() - started < 2.5  # publish_timeout_s is 2
    finally:
        pubsub_server.start()
    publisher.publish(topic, "u", b"after", {})
    assert [message.data for message in subscription.take(2)] == [b"before", b"after"]


def test_a_hung_broker_is_reported_in_time(publisher: PubsubPublisher, pubsub_server: BrokerServer, topic: str) -> None:
    publisher.publish(topic, "u", b"before", {})
    pubsub_server.pause()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            publisher.publish(topic, "u", b"refused", {})
        assert time.monotonic() - started < 2.5
    finally:
        pubsub_server.resume()
    assert publisher.publish(topic, "u", b"after", {})


def test_a_publish_that_waits_through_a_restart_is_accepted(
    publisher: PubsubPublisher, subscription: Subscription, pubsub_server: BrokerServer, topic: str
) -> None:
    publisher.publish(topic, "u", b"before", {})
    pubsub_server.kill()
    restart = threading.Timer(0.2, pubsub_server.start)
    restart.start()
    patient = PubsubPublisher(StoreSettings(pubsub_endpoint=pubsub_server.endpoint, publish_timeout_s=20.0))
    patient.publish(topic, "u", b"during", {})
    restart.join()
    assert [message.data for message in subscription.take(2)] == [b"before", b"during"]


def test_a_topic_that_does_not_exist_accepts_nothing(publisher: PubsubPublisher, stores: StoreSettings) -> None:
    with pytest.raises(StoreUnavailable, match="NotFound"):
        publisher.publish("no-such-topic", "u", b"x", {})


def test_a_message_the_broker_never_accepts_is_invalid(publisher: PubsubPublisher, topic: str) -> None:
    with pytest.raises(InvalidInput):
        publisher.publish(topic, "", b"", {})


def test_flushing_what_was_never_used_is_nothing(publisher: PubsubPublisher) -> None:
    publisher.flush()
    assert publisher.dropped == 0


def test_making_sure_of_topic_and_subscription_twice_moves_the_push_endpoint(
    subscriber: SubscriberClient, stores: StoreSettings, topic: str
) -> None:
    ensure_topic(stores, topic)
    for port in (1, 2):
        path = ensure_push_subscription(stores, topic, f"http://127.0.0.1:{port}/push", dead_letter_topic=topic)
    found = subscriber.get_subscription(subscription=path, timeout=5)
    assert found.push_config.push_endpoint == "http://127.0.0.1:2/push"
    assert found.enable_message_ordering
    assert found.dead_letter_policy.max_delivery_attempts == 100


def test_without_a_broker_setting_up_fails_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        ensure_topic(StoreSettings(pubsub_endpoint="127.0.0.1:9"), "topic")
    with pytest.raises(StoreUnavailable):
        ensure_push_subscription(StoreSettings(pubsub_endpoint="127.0.0.1:9"), "topic", "http://127.0.0.1:1/")
    assert time.monotonic() - started < 1.0


def test_googles_own_topics_are_not_made_here() -> None:
    with pytest.raises(ConfigurationError, match="PUBSUB_ENDPOINT"):
        ensure_topic(StoreSettings(), "topic")
