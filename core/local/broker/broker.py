"""The broker without its network: topics, subscriptions, and what becomes of a message."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from core.errors import Conflict, InvalidInput, NotFound
from core.local.broker.backlog import Backlog, Entry
from core.local.broker.journal import Journal, Undelivered, delete_undelivered, insert_undelivered
from core.local.broker.messages import Message, Subscription, Topic

UNSUPPORTED = ("bigquery_config", "cloud_storage_config", "bigtable_config", "filter", "enable_exactly_once_delivery")

RETENTION_S = 7 * 86400  # Pub/Sub's default: what nobody took until then is given up


class Broker:
    """Every change is in the journal before it is answered; acknowledgements alone are not awaited."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._push: Callable[[Backlog], None] = lambda _: None
        self._lock = threading.Lock()
        self.topics: dict[str, Any] = {}
        self.backlogs: dict[str, Backlog] = {}
        self._recover()

    def on_push(self, push: Callable[[Backlog], None]) -> None:
        """Call push(backlog) for every subscription, and later for each that is new or has another endpoint."""
        with self._lock:
            self._push = push
            present = list(self.backlogs.values())
        for backlog in present:
            push(backlog)

    def topic(self, name: str) -> Any:
        """The topic's configuration. Raises NotFound."""
        if name not in self.topics:
            raise NotFound(f"there is no topic {name}")
        return self.topics[name]

    def backlog(self, subscription: str) -> Backlog:
        """The subscription's backlog. Raises NotFound."""
        if subscription not in self.backlogs:
            raise NotFound(f"there is no subscription {subscription}")
        return self.backlogs[subscription]

    def add_topic(self, config: Any) -> None:
        """Raises Conflict when it exists."""
        with self._lock:
            if config.name in self.topics:
                raise Conflict(f"the topic {config.name} exists")
            self._journal.execute("INSERT INTO topics VALUES (?, ?)", config.name, config.SerializeToString()).result()
            self.topics[config.name] = config

    def remove_topic(self, name: str) -> None:
        """Its subscriptions stay, with what they have to deliver. Raises NotFound."""
        self.topic(name)
        for backlog in self._receivers(name):
            self.configure(backlog, lambda config: config.MergeFrom(Subscription(topic="_deleted-topic_")))
        with self._lock:
            self._journal.execute("DELETE FROM topics WHERE name = ?", name).result()
            self.topics.pop(name, None)

    def add_subscription(self, config: Any) -> None:
        """Completes `config` with Pub/Sub's defaults. Raises Conflict, NotFound (a topic), InvalidInput."""
        self._complete(config)
        with self._lock:
            self.topic(config.topic)
            if config.name in self.backlogs:
                raise Conflict(f"the subscription {config.name} exists")
            number = self._number(1)
            self._journal.execute(
                "INSERT INTO subscriptions VALUES (?, ?)", number, config.SerializeToString()
            ).result()
            self.backlogs[config.name] = backlog = Backlog(number, config, self.fail)
        self._push(backlog)

    def configure(self, backlog: Backlog, change: Callable[[Any], None]) -> Any:
        """Apply `change` to a copy of the configuration and use that from now on. Raises as `add_subscription`."""
        config = Subscription.FromString(backlog.config.SerializeToString())
        change(config)
        self._complete(config)
        update = "UPDATE subscriptions SET config = ? WHERE number = ?"
        with self._lock:
            self._journal.execute(update, config.SerializeToString(), backlog.number).result()
            moved = config.push_config.push_endpoint != backlog.config.push_config.push_endpoint
            backlog.config = config
        if moved:
            backlog.wake()
            self._push(backlog)
        return config

    def remove_subscription(self, name: str) -> None:
        """With everything it had to deliver. Raises NotFound."""
        backlog = self.backlog(name)
        with self._lock:
            self.backlogs.pop(name, None)
            self._journal.execute("DELETE FROM subscriptions WHERE number = ?", backlog.number)
            self._journal.execute("DELETE FROM undelivered WHERE subscription = ?", backlog.number).result()
        backlog.close()

    def publish(
        self, topic: str, messages: Sequence[Any], also: Callable[[sqlite3.Connection], None] | None = None
    ) -> "tuple[Sequence[int], Future[None]]":
        """Number and date the messages, in place, and give them to every subscription once the journal has them.

        `also` joins the transaction. Returns the numbers and what to wait for before accepting. Raises NotFound.
        """
        with self._lock:
            self.topic(topic)
            receivers = self._receivers(topic)
            first, now_ms = self._number(len(messages)), time.time_ns() // 1_000_000
            arrivals = []
            for number, message in enumerate(messages, first):
                message.message_id = str(number)
                message.publish_time.FromMilliseconds(now_ms)
                arrivals.append((number, message.ordering_key, 0, message.SerializeToString()))

            def commit(db: sqlite3.Connection) -> None:
                for backlog in receivers:
                    insert_undelivered(db, [Undelivered(backlog.number, *arrival) for arrival in arrivals])
                if also is not None:
                    also(db)

            def committed() -> None:
                for backlog in receivers:
                    backlog.add([Entry(*arrival) for arrival in arrivals])

            return range(first, first + len(messages)), self._journal.submit(commit, committed)

    def acknowledge(self, backlog: Backlog, messages: list[int]) -> None:
        """Forget delivered messages. When the broker is killed before the commit, they are delivered again."""
        done = [message for message in messages if backlog.remove(message)]
        if done:
            self._journal.submit(partial(delete_undelivered, subscription=backlog.number, messages=done))

    def fail(self, backlog: Backlog, entry: Entry) -> None:
        """A delivery was refused or not answered in time: again after a rest, after the last attempt a dead letter."""
        entry.failures += 1
        policy = backlog.config.dead_letter_policy
        if policy.dead_letter_topic in self.topics and entry.failures >= policy.max_delivery_attempts:
            self._bury(backlog, entry)
            return
        count = "UPDATE undelivered SET failures = ? WHERE subscription = ? AND message = ?"
        self._journal.execute(count, entry.failures, backlog.number, entry.message)
        backlog.rest(entry, retry_delay_s(backlog.config, entry.failures))

    def payload(self, backlog: Backlog, entry: Entry) -> bytes | None:
        """The serialised message; None if it was removed meanwhile."""
        if entry.payload is not None:
            return entry.payload
        query = "SELECT payload FROM undelivered WHERE subscription = ? AND message = ?"
        found = self._journal.execute(query, backlog.number, entry.message).result()
        return found[0][0] if found else None

    def close(self) -> None:
        """Stop delivering, commit what is waiting and close the journal."""
        for backlog in self.backlogs.values():
            backlog.close()
        self._journal.close()

    def _recover(self) -> None:
        def rows(query: str, *values: object) -> list[tuple]:
            return self._journal.execute(query, *values).result()

        # A message's number is the time of its publication in microseconds, or a little more.
        rows("DELETE FROM undelivered WHERE message < ?", (time.time_ns() - RETENTION_S * 10**9) // 1000)
        self.topics = {name: Topic.FromString(config) for name, config in rows("SELECT name, config FROM topics")}
        for number, stored in rows("SELECT number, config FROM subscriptions"):
            config = Subscription.FromString(stored)
            self.backlogs[config.name] = backlog = Backlog(number, config, self.fail)
            left = "SELECT message, ordering_key, failures FROM undelivered WHERE subscription = ? ORDER BY message"
            backlog.add([Entry(message, key, failures, None) for message, key, failures in rows(left, number)])
        used = "SELECT max(message) AS number FROM undelivered UNION SELECT max(number) FROM subscriptions"
        newest = rows(f"SELECT max(number) FROM ({used})")
        # Time goes on, so a number is not given twice after everything was delivered and the broker restarted.
        self._next_number = max((newest[0][0] or 0) + 1, time.time_ns() // 1000)

    def _number(self, count: int) -> int:
        first = self._next_number
        self._next_number += count
        return first

    def _receivers(self, topic: str) -> list[Backlog]:
        return [backlog for backlog in self.backlogs.values() if backlog.config.topic == topic]

    def _complete(self, config: Any) -> None:
        for field, value in config.ListFields():
            if field.name in UNSUPPORTED or (field.name == "push_config" and value.HasField("no_wrapper")):
                raise InvalidInput(f"this broker does not support {field.name}")
        config.ack_deadline_seconds = config.ack_deadline_seconds or 10
        policy = config.dead_letter_policy
        if policy.dead_letter_topic:
            self.topic(policy.dead_letter_topic)
            policy.max_delivery_attempts = policy.max_delivery_attempts or 5
        attempts_are_right = 5 <= policy.max_delivery_attempts <= 100 or not policy.dead_letter_topic
        if not (attempts_are_right and 10 <= config.ack_deadline_seconds <= 600):
            raise InvalidInput("ack_deadline_seconds is 10 to 600, max_delivery_attempts 5 to 100")

    def _bury(self, backlog: Backlog, entry: Entry) -> None:
        """Move a message to the dead-letter topic, in one transaction, with the attributes that Pub/Sub adds."""
        payload = self.payload(backlog, entry)
        if payload is None or not backlog.remove(entry.message):
            return
        _, project, _, name = backlog.config.name.split("/")
        message = Message.FromString(payload)
        source = {
            "DeliveryCount": str(entry.failures),
            "Subscription": name,
            "SubscriptionProject": project,
            "TopicPublishTime": f"{message.publish_time.ToDatetime().isoformat(timespec='milliseconds')}+00:00",
        }
        message.attributes.update({f"CloudPubSubDeadLetterSource{key}": value for key, value in source.items()})
        forget = partial(delete_undelivered, subscription=backlog.number, messages=[entry.message])
        self.publish(backlog.config.dead_letter_policy.dead_letter_topic, [message], also=forget)


def retry_delay_s(config: Any, failures: int) -> float:
    """Exponential back-off from the retry policy (Pub/Sub's defaults: 10 to 600 s, when a policy is there but empty).

    Without a policy: pull at once, push from 0.1 to 60 s.
    """
    shortest, longest = (0.1, 60.0) if config.push_config.push_endpoint else (0.0, 0.0)
    if config.HasField("retry_policy"):
        policy = config.retry_policy
        shortest = policy.minimum_backoff.ToTimedelta().total_seconds() if policy.HasField("minimum_backoff") else 10.0
        longest = policy.maximum_backoff.ToTimedelta().total_seconds() if policy.HasField("maximum_backoff") else 600.0
    return min(longest, shortest * 2 ** min(failures - 1, 30))
