"""What SONA needs from Pub/Sub, asked through the real google-cloud-pubsub client.

Every claim is put to our loopback broker, and to Google's emulator where that is installed and can answer.
"""

import base64
import itertools
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError, InvalidArgument, NotFound
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.publisher.exceptions import PublishToPausedOrderingKeyException
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

from core.local.broker.server import BrokerServer
from core.local.process import HOST, Server

PROJECT = "projects/laptop"
DEAD_LETTER = "CloudPubSubDeadLetterSource"
FAST_RETRY = {"minimum_backoff": {"nanos": 50_000_000}, "maximum_backoff": {"nanos": 200_000_000}}


class GoogleEmulator(Server):
    """Google's own emulator, which keeps everything in memory."""

    name: ClassVar[str] = "emulator"

    def __init__(self, folder: Path, jar: Path) -> None:
        super().__init__(folder)
        self._jar = jar

    @property
    def endpoint(self) -> str:
        return f"{HOST}:{self.port}"

    def command(self) -> list[str]:
        java = shutil.which("java") or ""
        return [java, "-jar", str(self._jar), f"--host={HOST}", f"--port={self.port}"]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1.0):
            return True


def emulator_jar() -> Path | None:
    named = os.environ.get("PUBSUB_EMULATOR_JAR")
    if named:
        return Path(named)
    gcloud = shutil.which("gcloud")
    sdk = Path(gcloud).resolve().parents[1] if gcloud else Path("/nowhere")
    return next(sdk.glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"), None)


class Transport:
    """A running broker, clients for it, and names that no other test has."""

    _numbers = itertools.count()

    def __init__(self, server: "BrokerServer | GoogleEmulator") -> None:
        self.server = server
        self.connect()

    def connect(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", self.server.endpoint)
            self.publisher = pubsub_v1.PublisherClient(
                batch_settings=BatchSettings(max_latency=0.002),
                publisher_options=PublisherOptions(enable_message_ordering=True),
            )
            self.subscriber = pubsub_v1.SubscriberClient()

    def topic(self) -> str:
        name = f"{PROJECT}/topics/topic-{next(self._numbers)}"
        self.publisher.create_topic(name=name)
        return name

    def subscribe(self, topic: str, **settings: object) -> str:
        name = f"{PROJECT}/subscriptions/subscription-{next(self._numbers)}"
        self.subscriber.create_subscription(request={"name": name, "topic": topic, **settings})
        return name

    def publish(self, topic: str, data: bytes, ordering_key: str = "", **attributes: str) -> str:
        return self.publisher.publish(topic, data, ordering_key, **attributes).result(timeout=10)

    def pull(self, subscription: str, count: int, wait_s: float = 5.0) -> list:
        """Up to `count` messages, as they come within `wait_s`."""
        found: list = []
        give_up = time.monotonic() + wait_s
        while len(found) < count and (left := give_up - time.monotonic()) > 0:
            request = {"subscription": subscription, "max_messages": count - len(found)}
            try:
                found += self.subscriber.pull(request=request, timeout=left, retry=None).received_messages
            except GoogleAPICallError:  # the deadline, which an idle pull may exceed
                continue
        return found

    def acknowledge(self, subscription: str, messages: list) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[message.ack_id for message in messages])

    def refuse(self, subscription: str, messages: list, deadline_s: int = 0) -> None:
        ids = [message.ack_id for message in messages]
        self.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=ids, ack_deadline_seconds=deadline_s)


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # with the default of 5, the kernel makes eight connections at once wait a second


class Endpoint:
    """An HTTP server that keeps each pushed envelope and answers as `judge(envelope, earlier attempts)` says."""

    def __init__(self, judge: Callable[[dict, int], int] = lambda envelope, earlier: 204, port: int = 0) -> None:
        self.attempts: list[tuple[float, dict, int]] = []
        self._arrived = threading.Condition()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                envelope = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                at, number = time.monotonic(), envelope["message"]["messageId"]
                with endpoint._arrived:
                    earlier = sum(seen["message"]["messageId"] == number for _, seen, _ in endpoint.attempts)
                status = judge(envelope, earlier)
                with endpoint._arrived:
                    endpoint.attempts.append((at, envelope, status))
                    endpoint._arrived.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = Listener((HOST, port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def push_config(self) -> dict:
        return {"push_endpoint": f"http://{HOST}:{self._server.server_port}/push/ingest"}

    @property
    def accepted(self) -> list[dict]:
        return [envelope for _, envelope, status in self.attempts if status < 300]

    def wait(self, done: Callable[[], bool], wait_s: float = 15.0) -> None:
        with self._arrived:
            assert self._arrived.wait_for(done, wait_s), f"only {len(self.attempts)} pushes arrived"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transport]:
    with BrokerServer(tmp_path_factory.mktemp("broker")) as server:
        yield Transport(server)


@pytest.fixture(scope="module", params=["ours", "google"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transport]:
    if request.param == "ours":
        yield request.getfixturevalue("ours")
        return
    jar = emulator_jar()
    if jar is None or not shutil.which("java"):
        pytest.skip("Google's Pub/Sub emulator (PUBSUB_EMULATOR_JAR or gcloud's component) or Java is not installed")
    with GoogleEmulator(tmp_path_factory.mktemp("emulator"), jar) as server:
        yield Transport(server)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()


def data_of(envelope: dict) -> bytes:
    return base64.b64decode(envelope["message"].get("data", ""))


def first_times(values: list) -> list:
    return list(dict.fromkeys(values))


def test_what_is_acknowledged_never_comes_again_and_what_is_refused_does(either: Transport) -> None:
    topic = either.topic()
    subscription = either.subscribe(topic)
    ids = [either.publish(topic, b"%d" % number, kind="test") for number in range(3)]

    received = either.pull(subscription, 3)
    assert sorted(item.message.message_id for item in received) == sorted(ids)
    assert {item.message.data for item in received} == {b"0", b"1", b"2"}
    assert all(dict(item.message.attributes) == {"kind": "test"} for item in received)

    either.acknowledge(subscription, received[:1])
    either.refuse(subscription, received[1:])
    again = either.pull(subscription, 2) + either.pull(subscription, 1, wait_s=0.3)
    assert {item.message.message_id for item in again} == {item.message.message_id for item in received[1:]}


def test_an_unanswered_message_comes_again_when_its_deadline_has_passed(either: Transport) -> None:
    topic = either.topic()
    subscription = either.subscribe(topic)
    either.publish(topic, b"slow")
    received = either.pull(subscription, 1)
    either.refuse(subscription, received, deadline_s=1)
    assert either.pull(subscription, 1, wait_s=0.4) == []
    assert [item.message.data for item in either.pull(subscription, 1, wait_s=5)] == [b"slow"]


def test_every_subscription_gets_its_own_copy(either: Transport) -> None:
    topic = either.topic()
    subscriptions = [either.subscribe(topic) for _ in range(2)]
    either.publish(topic, b"copy")
    for subscription in subscriptions:
        received = either.pull(subscription, 1)
        either.acknowledge(subscription, received)
        assert [item.message.data for item in received] == [b"copy"]


def test_push_posts_the_envelope_and_a_2xx_answer_acknowledges(either: Transport, endpoint: Endpoint) -> None:
    topic = either.topic()
    subscription = either.subscribe(topic, push_config=endpoint.push_config)
    number = either.publish(topic, b'{"user_id":"u1"}', kind="like")
    endpoint.wait(lambda: len(endpoint.attempts) == 1)

    (_, envelope, _), *_ = endpoint.attempts
    assert envelope["subscription"] == subscription
    assert data_of(envelope) == b'{"user_id":"u1"}'
    message = envelope["message"]
    assert (message["messageId"], message["message_id"], message["attributes"]) == (number, number, {"kind": "like"})
    assert message["publishTime"].startswith("20")
    assert message["publishTime"].endswith("Z")
    time.sleep(0.3)
    assert len(endpoint.attempts) == 1


def test_the_envelope_carries_the_ordering_key_and_with_a_dead_letter_policy_the_attempt(ours: Transport) -> None:
    endpoint = Endpoint(lambda envelope, earlier: 204 if earlier else 500)
    topic = ours.topic()
    policy = {"dead_letter_topic": ours.topic(), "max_delivery_attempts": 5}
    ours.subscribe(topic, push_config=endpoint.push_config, retry_policy=FAST_RETRY, dead_letter_policy=policy)
    ours.publish(topic, b"x", ordering_key="user-1")
    endpoint.wait(lambda: len(endpoint.attempts) == 2)
    assert [envelope["deliveryAttempt"] for _, envelope, _ in endpoint.attempts] == [1, 2]
    assert {envelope["message"]["orderingKey"] for _, envelope, _ in endpoint.attempts} == {"user-1"}
    endpoint.close()


def test_a_failing_message_blocks_its_own_key_and_no_other(either: Transport) -> None:
    def judge(envelope: dict, earlier: int) -> int:
        attributes = envelope["message"]["attributes"]
        return 500 if (attributes["user"], attributes["n"], earlier) == ("a", "3", 0) else 204

    def accepted_of(user: str) -> list[int]:
        mine = [envelope["message"]["attributes"] for envelope in endpoint.accepted]
        return first_times([int(attributes["n"]) for attributes in mine if attributes["user"] == user])

    endpoint = Endpoint(judge)
    topic = either.topic()
    backoff = {"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 1}}
    either.subscribe(topic, push_config=endpoint.push_config, enable_message_ordering=True, retry_policy=backoff)
    futures = [
        either.publisher.publish(topic, b"x", ordering_key=user, user=user, n=str(number))
        for number in range(50)
        for user in ("a", f"other-{number % 10}")
    ]
    for future in futures:
        future.result(timeout=10)
    endpoint.wait(lambda: len(accepted_of("a")) == 50)

    assert accepted_of("a") == list(range(50))
    for other in range(10):
        assert accepted_of(f"other-{other}") == list(range(other, 50, 10))
    retried_at = [at for at, seen, _ in endpoint.attempts if seen["message"]["attributes"] == {"user": "a", "n": "3"}][
        1
    ]
    others = {
        tuple(seen["message"]["attributes"].items())
        for at, seen, _ in endpoint.attempts
        if at < retried_at and seen["message"]["attributes"]["user"] != "a"
    }
    assert len(others) == 50
    endpoint.close()


def test_an_answer_of_500_brings_the_same_message_again(either: Transport) -> None:
    endpoint = Endpoint(lambda envelope, earlier: 204 if earlier else 500)
    topic = either.topic()
    either.subscribe(topic, push_config=endpoint.push_config)
    number = either.publish(topic, b"again")
    endpoint.wait(lambda: len(endpoint.attempts) == 2)
    assert [envelope["message"]["messageId"] for _, envelope, _ in endpoint.attempts] == [number, number]
    assert [data_of(envelope) for _, envelope, _ in endpoint.attempts] == [b"again", b"again"]
    endpoint.close()


def dead_letter_after_five(transport: Transport, **settings: object) -> None:
    endpoint = Endpoint(lambda envelope, earlier: 503 if data_of(envelope) == b"poison" else 204)
    topic, graveyard = transport.topic(), transport.topic()
    dead = transport.subscribe(graveyard)
    subscription = transport.subscribe(
        topic,
        push_config=endpoint.push_config,
        dead_letter_policy={"dead_letter_topic": graveyard, "max_delivery_attempts": 5},
        **settings,
    )
    transport.publish(topic, b"poison", ordering_key="user-1", kind="bad")
    transport.publish(topic, b"good", ordering_key="user-1")
    (buried,) = transport.pull(dead, 1, wait_s=15)

    assert buried.message.data == b"poison"
    attributes = dict(buried.message.attributes)
    assert attributes["kind"] == "bad"
    assert attributes[f"{DEAD_LETTER}DeliveryCount"] == "5"
    assert attributes[f"{DEAD_LETTER}Subscription"] == subscription.split("/")[-1]
    assert attributes[f"{DEAD_LETTER}SubscriptionProject"] == "laptop"
    assert attributes[f"{DEAD_LETTER}TopicPublishTime"].startswith("20")
    endpoint.wait(lambda: [data_of(envelope) for envelope in endpoint.accepted] == [b"good"])
    assert len(endpoint.attempts) == 6
    endpoint.close()


def test_after_five_attempts_a_message_is_a_dead_letter_and_its_key_goes_on(ours: Transport) -> None:
    dead_letter_after_five(ours, enable_message_ordering=True, retry_policy=FAST_RETRY)


@pytest.mark.slow
@pytest.mark.parametrize("either", ["google"], indirect=True)
def test_googles_emulator_agrees_about_dead_letters(either: Transport) -> None:
    dead_letter_after_five(either)  # with ordering it never buries a message


def test_a_key_is_refused_after_a_failed_publish_until_it_is_resumed(either: Transport) -> None:
    topic = either.topic()
    subscription = either.subscribe(topic)
    either.publish(topic, b"before", ordering_key="u")
    either.server.pause()
    try:
        with pytest.raises(GoogleAPICallError):
            either.publisher.publish(topic, b"lost", "u", retry=None, timeout=0.5).result(timeout=10)
    finally:
        either.server.resume()
    with pytest.raises(PublishToPausedOrderingKeyException):
        either.publish(topic, b"refused", ordering_key="u")
    either.publish(topic, b"another key", ordering_key="v")
    either.publisher.resume_publish(topic, "u")
    either.publish(topic, b"after", ordering_key="u")
    texts: set[bytes] = set()
    while not {b"before", b"another key", b"after"} <= texts:  # "lost" may have been accepted without an answer
        texts |= {item.message.data for item in either.pull(subscription, 1)}
    assert b"refused" not in texts


def test_a_streaming_subscriber_gets_what_is_published(either: Transport) -> None:
    topic = either.topic()
    subscription = either.subscribe(topic)
    texts: list[bytes] = []
    everything = threading.Event()

    def receive(message: pubsub_v1.subscriber.message.Message) -> None:
        message.ack()
        texts.append(message.data)
        if len(texts) >= 20:
            everything.set()

    stream = either.subscriber.subscribe(subscription, receive)
    for number in range(20):
        either.publisher.publish(topic, b"%d" % number)
    assert everything.wait(10)
    stream.cancel()
    stream.result(timeout=10)
    assert sorted(texts) == sorted(b"%d" % number for number in range(20))


def test_mistakes_are_named(either: Transport) -> None:
    topic = either.topic()
    with pytest.raises(AlreadyExists):
        either.publisher.create_topic(name=topic)
    with pytest.raises(NotFound):
        either.publish(f"{PROJECT}/topics/unknown", b"x")
    with pytest.raises(NotFound):
        either.subscribe(f"{PROJECT}/topics/unknown")
    with pytest.raises(NotFound):
        either.subscriber.pull(subscription=f"{PROJECT}/subscriptions/unknown", max_messages=1)
    with pytest.raises(InvalidArgument):
        either.publish(topic, b"")
    with pytest.raises(InvalidArgument):
        either.publisher.create_topic(name=f"{PROJECT}/topics/1")


def test_topics_and_subscriptions_are_listed_changed_and_deleted(either: Transport) -> None:
    topic = either.topic()
    subscription = either.subscribe(topic)
    assert topic in {found.name for found in either.publisher.list_topics(project=PROJECT)}
    assert subscription in {found.name for found in either.subscriber.list_subscriptions(project=PROJECT)}

    change = {"name": subscription, "topic": topic, "ack_deadline_seconds": 33}
    either.subscriber.update_subscription(
        request={"subscription": change, "update_mask": {"paths": ["ack_deadline_seconds"]}}
    )
    assert either.subscriber.get_subscription(subscription=subscription).ack_deadline_seconds == 33

    either.publisher.delete_topic(topic=topic)
    with pytest.raises(NotFound):
        either.publisher.get_topic(topic=topic)
    assert either.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    either.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(NotFound):
        either.subscriber.get_subscription(subscription=subscription)


def test_settings_that_the_broker_does_not_honour_are_refused(ours: Transport) -> None:
    topic = ours.topic()
    with pytest.raises(InvalidArgument, match="filter"):
        ours.subscribe(topic, filter='attributes.kind = "like"')


def test_deliveries_rest_as_long_as_the_retry_policy_says(ours: Transport) -> None:
    endpoint = Endpoint(lambda envelope, earlier: 204 if earlier == 4 else 500)
    topic = ours.topic()
    backoff = {"minimum_backoff": {"nanos": 100_000_000}, "maximum_backoff": {"nanos": 300_000_000}}
    ours.subscribe(topic, push_config=endpoint.push_config, retry_policy=backoff)
    ours.publish(topic, b"x")
    endpoint.wait(lambda: len(endpoint.attempts) == 5)
    times = [at for at, _, _ in endpoint.attempts]
    for rest, expected in zip(map(float.__sub__, times[1:], times), (0.1, 0.2, 0.3, 0.3), strict=True):
        assert expected <= rest < expected + 0.25
    endpoint.close()


def test_a_slow_endpoint_holds_up_neither_itself_nor_others(ours: Transport, endpoint: Endpoint) -> None:
    all_eight = threading.Barrier(9)

    def slowly(envelope: dict, earlier: int) -> int:
        all_eight.wait(10)
        return 204

    slow = Endpoint(slowly)
    topic = ours.topic()
    ours.subscribe(topic, push_config=slow.push_config)
    ours.subscribe(topic, push_config=endpoint.push_config)
    for _ in range(8):
        ours.publisher.publish(topic, b"x")
    endpoint.wait(lambda: len(endpoint.attempts) == 8)
    all_eight.wait(10)  # passes only when eight pushes are under way at once
    slow.wait(lambda: len(slow.accepted) == 8)
    slow.close()


def test_a_moved_endpoint_gets_what_the_old_one_could_not_take(ours: Transport, endpoint: Endpoint) -> None:
    broken = Endpoint(lambda envelope, earlier: 500)
    topic = ours.topic()
    subscription = ours.subscribe(topic, push_config=broken.push_config, retry_policy=FAST_RETRY)
    ours.publish(topic, b"moved")
    broken.wait(lambda: len(broken.attempts) >= 1)
    ours.subscriber.modify_push_config(subscription=subscription, push_config=endpoint.push_config)
    endpoint.wait(lambda: [data_of(envelope) for envelope in endpoint.accepted] == [b"moved"])
    ours.subscriber.modify_push_config(subscription=subscription, push_config={})
    ours.publish(topic, b"pulled")
    assert [item.message.data for item in ours.pull(subscription, 1)] == [b"pulled"]
    broken.close()


def test_a_dead_endpoint_costs_no_log_and_loses_nothing(ours: Transport) -> None:
    dead = Endpoint()
    dead.close()
    topic = ours.topic()
    ours.subscribe(topic, push_config=dead.push_config, retry_policy=FAST_RETRY)
    logged = ours.server.log_path.stat().st_size
    for number in range(100):
        ours.publisher.publish(topic, b"%d" % number)
    time.sleep(1.0)  # some 700 failed deliveries
    assert ours.server.log_path.stat().st_size - logged < 1000
    alive = Endpoint(port=dead._server.server_port)
    alive.wait(lambda: len({data_of(envelope) for envelope in alive.accepted}) == 100)
    alive.close()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Transport]:
    with BrokerServer(tmp_path) as server:
        yield Transport(server)


def test_a_kill_loses_nothing_that_was_accepted(fragile: Transport) -> None:
    topic = fragile.topic()
    subscription = fragile.subscribe(topic)
    kept = [fragile.publish(topic, b"first")]
    threading.Timer(0.2, fragile.server.kill).start()
    futures = []
    while not futures or not futures[0].done() or futures[-1].exception(timeout=10) is None:
        futures += [fragile.publisher.publish(topic, b"x" * 500, retry=None, timeout=2) for _ in range(20)]
    kept += [future.result() for future in futures if future.exception(timeout=10) is None]
    assert 20 < len(kept) <= len(futures)

    fragile.server.start()
    fragile.connect()
    received = fragile.pull(subscription, len(kept))
    assert received[0].message.data == b"first"
    assert set(kept) <= {item.message.message_id for item in received + fragile.pull(subscription, 40, wait_s=0.3)}


def test_a_restart_brings_back_no_acknowledged_message_and_no_used_number(fragile: Transport) -> None:
    topic = fragile.topic()
    subscription = fragile.subscribe(topic)
    used = fragile.publish(topic, b"done")
    fragile.acknowledge(subscription, fragile.pull(subscription, 1))
    fragile.server.stop()
    fragile.server.start()
    fragile.connect()
    assert fragile.pull(subscription, 1, wait_s=0.5) == []
    assert int(fragile.publish(topic, b"next")) > int(used)


def test_push_ordering_and_attempts_survive_a_kill(fragile: Transport) -> None:
    refusing = Endpoint(lambda envelope, earlier: 500)
    topic, graveyard = fragile.topic(), fragile.topic()
    dead = fragile.subscribe(graveyard)
    policy = {"dead_letter_topic": graveyard, "max_delivery_attempts": 10}
    subscription = fragile.subscribe(
        topic,
        push_config=refusing.push_config,
        enable_message_ordering=True,
        retry_policy={"minimum_backoff": {"nanos": 50_000_000}, "maximum_backoff": {"nanos": 50_000_000}},
        dead_letter_policy=policy,
    )
    for number in range(3):
        fragile.publish(topic, b"%d" % number, ordering_key="u")
    refusing.wait(lambda: len(refusing.attempts) == 6)
    fragile.server.kill()
    before = len(refusing.attempts)
    assert {data_of(envelope) for _, envelope, _ in refusing.attempts} == {b"0"}
    fragile.server.start()
    fragile.connect()
    refusing.wait(lambda: len({data_of(envelope) for _, envelope, _ in refusing.attempts}) == 2)

    (buried,) = fragile.pull(dead, 1)
    assert buried.message.data == b"0"
    assert dict(buried.message.attributes)[f"{DEAD_LETTER}DeliveryCount"] == "10"
    zero = [envelope for _, envelope, _ in refusing.attempts if data_of(envelope) == b"0"]
    assert len(zero) in (10, 11)  # the kill may have come before an attempt was written down
    assert before >= 6
    fragile.subscriber.delete_subscription(subscription=subscription)
    refusing.close()
