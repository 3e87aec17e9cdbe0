"""Publishing to Pub/Sub with google-cloud-pubsub.

A waited message is one unary call in the caller's thread: no batching delay, no thread that would be throttled between
requests, and no ordering key that stays refused after a failure, as the batching publisher's do until resume_publish.
Best-effort messages go out in batches, in order, one request at a time, and never more than a bounded number of them.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from core.config import StoreSettings
from core.errors import Declined, InvalidInput, StoreSilent, StoreUnavailable
from core.telemetry import count

STORE = "broker"  # the name in StoreUnavailable
MAX_OUTSTANDING = 1000  # best-effort messages kept in memory; more are dropped and counted
BATCH = 100  # best-effort messages per request; Pub/Sub allows 1000 messages and 10 MB
# Best-effort messages gather for so long, or until so many wait: a call of its own per answer would cost as much as
# the answer. Nothing runs in the background, so what waits goes out with a later message, or with `flush`.
GATHER_S = 0.25
GATHER = 64

# gRPC waits up to two minutes before it tries a lost server again; a broker that came back must be found at once.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def channel_arguments(stores: StoreSettings) -> dict[str, Any]:
    """Arguments for a transport of google.pubsub_v1: a plain channel to a stand-in, or a secured one to Google."""
    import grpc
    from google.auth.credentials import AnonymousCredentials

    if stores.pubsub_endpoint:
        channel = grpc.insecure_channel(stores.pubsub_endpoint, options=CHANNEL_OPTIONS)
        return {"channel": channel, "credentials": AnonymousCredentials()}
    return {"channel": _secure_channel}


def _secure_channel(host: str, **arguments: Any) -> Any:
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    arguments["options"] = [*arguments.get("options", ()), *CHANNEL_OPTIONS]
    return PublisherGrpcTransport.create_channel(host, **arguments)


@contextmanager
def translated() -> Iterator[None]:
    """Google's errors as SONA errors."""
    from google.api_core.exceptions import (
        DeadlineExceeded,
        GoogleAPIError,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        RetryError,
    )
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except InvalidArgument as error:
        raise InvalidInput(f"the broker refuses this message: {error.message}") from error
    except (NotFound, PermissionDenied, ResourceExhausted) as error:  # of one topic; the others may do
        raise Declined(STORE, type(error).__name__) from error
    except (DeadlineExceeded, RetryError) as error:
        cause = getattr(error, "cause", None) or error  # of a RetryError: what the last attempt met
        raise StoreSilent(STORE, type(cause).__name__) from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise StoreUnavailable(STORE, type(error).__name__) from error


def _count_dropped(messages: int) -> None:
    """What an answer has shown, and no log will ever say."""
    count("sona.events", messages, outcome="dropped")


class PubsubPublisher:
    """Publisher over Pub/Sub; connects when first used, in the process that uses it."""

    def __init__(self, stores: StoreSettings, max_outstanding: int = MAX_OUTSTANDING) -> None:
        self._stores = stores
        self._max_outstanding = max_outstanding
        self._lock = threading.Lock()
        self._pid = 0
        self._client: Any = None
        self._outbox: _Outbox

    @property
    def dropped(self) -> int:
        """Best-effort messages that were refused or failed."""
        return self._outbox.dropped if self._client is not None else 0

    def publish(self, topic: str, ordering_key: str, data: bytes, attributes: Mapping[str, str]) -> str:
        """Raises StoreUnavailable within `publish_timeout_s`, InvalidInput for what the broker never accepts."""
        from google.api_core import exceptions
        from google.api_core.retry import Retry, if_exception_type
        from google.pubsub_v1 import PublisherClient, PubsubMessage

        timeout_s = self._stores.publish_timeout_s
        passing = if_exception_type(exceptions.ServiceUnavailable, exceptions.Aborted, exceptions.InternalServerError)
        with translated():
            message = PubsubMessage(data=data, ordering_key=ordering_key, attributes=dict(attributes))
            client: PublisherClient = self._connected()
            answer = client.publish(
                topic=client.topic_path(self._stores.project, topic),
                messages=[message],
                retry=Retry(passing, initial=0.02, maximum=0.5, multiplier=2.0, timeout=timeout_s),
                timeout=timeout_s,
            )
        return str(answer.message_ids[0])

    def publish_best_effort(self, topic: str, ordering_key: str, data: bytes) -> bool:
        if self._pid != os.getpid():
            try:
                with translated():
                    self._connected()
            except StoreUnavailable:  # no credentials
                _count_dropped(1)
                return False
        return self._outbox.offer(self._client.topic_path(self._stores.project, topic), ordering_key, data)

    def flush(self) -> None:
        """Wait until nothing is outstanding, for at most `publish_timeout_s`."""
        if self._client is not None:
            self._outbox.wait_until_empty(self._stores.publish_timeout_s)

    def _connected(self) -> Any:
        """The client of this process: gRPC channels do not survive a fork."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._connect()
                    self._pid = os.getpid()
        return self._client

    def _connect(self) -> None:
        from google.pubsub_v1 import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        transport = PublisherGrpcTransport(**channel_arguments(self._stores))
        self._outbox = _Outbox(transport, self._max_outstanding, self._stores.publish_timeout_s)
        self._client = PublisherClient(transport=transport)


class _Outbox:
    """Messages nobody waits for: one request in flight, `limit` in memory; what fails is dropped and counted."""

    def __init__(self, transport: Any, limit: int, timeout_s: float) -> None:
        self._transport = transport
        self._limit = limit
        self._timeout_s = timeout_s
        self._waiting: deque[tuple[str, str, bytes]] = deque()  # topic, ordering key, data
        self._in_flight = 0
        self._sent_at = -math.inf
        self._changed = threading.Condition()
        self.dropped = 0

    def offer(self, topic: str, ordering_key: str, data: bytes) -> bool:
        """Take one message for a topic (its full name); False when the outbox is full."""
        with self._changed:
            if len(self._waiting) + self._in_flight >= self._limit:
                self.dropped += 1
                _count_dropped(1)
                return False
            self._waiting.append((topic, ordering_key, data))
        self._send()
        return True

    def wait_until_empty(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and (self._waiting or self._in_flight):
            self._send(at_once=True)
            with self._changed:
                self._changed.wait_for(lambda: not self._in_flight, deadline - time.monotonic())

    def _send(self, at_once: bool = False) -> None:
        with self._changed:
            now = time.monotonic()
            if self._in_flight or not self._waiting:
                return
            if not at_once and len(self._waiting) < GATHER and now - self._sent_at < GATHER_S:
                return
            self._sent_at = now
            topic = self._waiting[0][0]
            batch: list[tuple[str, bytes]] = []
            while self._waiting and self._waiting[0][0] == topic and len(batch) < BATCH:
                batch.append(self._waiting.popleft()[1:])
            self._in_flight = len(batch)
        self._publish(topic, batch)

    def _publish(self, topic: str, batch: list[tuple[str, bytes]]) -> None:
        from google.api_core.gapic_v1.routing_header import to_grpc_metadata
        from google.pubsub_v1 import PublishRequest

        request = PublishRequest(topic=topic)
        messages = PublishRequest.pb(request).messages  # the wrapper's own messages take ten times as long to make
        for ordering_key, data in batch:
            messages.add(ordering_key=ordering_key, data=data)
        call = self._transport.publish.future(
            request, timeout=self._timeout_s, metadata=[to_grpc_metadata([("topic", topic)])]
        )
        call.add_done_callback(partial(self._sent, len(batch)))

    def _sent(self, messages: int, call: Any) -> None:
        with self._changed:
            self._in_flight = 0
            if call.exception() is not None:
                self.dropped += messages
                _count_dropped(messages)
            self._changed.notify_all()
        self._send()
