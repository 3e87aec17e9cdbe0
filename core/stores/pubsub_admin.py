"""Topics and push subscriptions for the laptop edition; in the cloud Terraform owns them."""

from __future__ import annotations

import socket
from datetime import timedelta

from core.config import StoreSettings
from core.errors import ConfigurationError, StoreUnavailable
from core.stores.pubsub import STORE, channel_arguments, translated

TIMEOUT_S = 5.0


def ensure_topic(stores: StoreSettings, topic: str) -> None:
    """Create the topic unless it exists. Raises StoreUnavailable at once when no broker listens."""
    from google.api_core.exceptions import AlreadyExists
    from google.pubsub_v1 import PublisherClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    _probe(stores)
    with translated(), PublisherClient(transport=PublisherGrpcTransport(**channel_arguments(stores))) as publisher:
        try:
            publisher.create_topic(name=publisher.topic_path(stores.project, topic), timeout=TIMEOUT_S, retry=None)
        except AlreadyExists:
            return


def ensure_push_subscription(
    stores: StoreSettings,
    topic: str,
    push_endpoint: str,
    *,
    dead_letter_topic: str = "",
    name: str = "",
    ack_deadline_s: int = 60,
    max_attempts: int = 100,
    min_backoff_s: float = 0.5,
    max_backoff_s: float = 10.0,
) -> str:
    """Create the ordered push subscription of a topic, or give the existing one these policies; returns its name.

    Messages that failed `max_attempts` times go to the dead letter topic, if one is given: by default after a quarter
    of an hour. What can never be applied is not among them, because ingest keeps it apart.
    """
    from google.api_core.exceptions import AlreadyExists
    from google.pubsub_v1 import DeadLetterPolicy, PushConfig, SubscriberClient, Subscription
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    _probe(stores)
    with translated(), SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(stores))) as subscriber:
        path: str = subscriber.subscription_path(stores.project, name or f"{topic}-push")
        wanted = Subscription(
            name=path,
            topic=_topic_path(stores, topic),
            push_config=PushConfig(push_endpoint=push_endpoint),
            ack_deadline_seconds=ack_deadline_s,
            enable_message_ordering=True,
            retry_policy={
                "minimum_backoff": timedelta(seconds=min_backoff_s),
                "maximum_backoff": timedelta(seconds=max_backoff_s),
            },
        )
        if dead_letter_topic:
            dead_letters = _topic_path(stores, dead_letter_topic)
            wanted.dead_letter_policy = DeadLetterPolicy(
                dead_letter_topic=dead_letters, max_delivery_attempts=max_attempts
            )
        try:
            subscriber.create_subscription(wanted, timeout=TIMEOUT_S, retry=None)
        except AlreadyExists:
            changed = {"paths": ["push_config", "retry_policy", "dead_letter_policy"]}
            wish = {"subscription": wanted, "update_mask": changed}
            subscriber.update_subscription(request=wish, timeout=TIMEOUT_S, retry=None)
    return path


def ensure_pull_subscription(stores: StoreSettings, topic: str, name: str, ack_deadline_s: int = 60) -> None:
    """Create a subscription that keeps what comes to the topic until somebody takes it, unless it exists."""
    from google.api_core.exceptions import AlreadyExists
    from google.pubsub_v1 import SubscriberClient, Subscription
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    _probe(stores)
    with translated(), SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(stores))) as subscriber:
        path: str = subscriber.subscription_path(stores.project, name)
        wanted = Subscription(name=path, topic=_topic_path(stores, topic), ack_deadline_seconds=ack_deadline_s)
        try:
            subscriber.create_subscription(wanted, timeout=TIMEOUT_S, retry=None)
        except AlreadyExists:
            return


def _probe(stores: StoreSettings) -> None:
    """A call to a stand-in that is not there would be tried again for minutes."""
    host, separator, port = stores.pubsub_endpoint.rpartition(":")
    if not separator or not port.isdigit():
        raise ConfigurationError("set SONA_STORES_PUBSUB_ENDPOINT to host:port; Google's topics belong to Terraform")
    try:
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S).close()
    except OSError as error:
        raise StoreUnavailable(STORE, type(error).__name__) from error


def _topic_path(stores: StoreSettings, topic: str) -> str:
    return f"projects/{stores.project}/topics/{topic}"
