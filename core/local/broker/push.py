"""Push delivery: one POST per message in Pub/Sub's envelope, several at a time, over connections that are kept."""

import base64
import http.client
import json
import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from core.local.broker.backlog import Backlog
from core.local.broker.broker import Broker
from core.local.broker.messages import Message

PARALLEL_PUSHES = 8  # per subscription, so that one slow endpoint does not hold up the others
REPORT_EVERY_S = 60.0
CLOSED_WHILE_IDLE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)

log = logging.getLogger(__name__)


class Pusher:
    """Threads that deliver one subscription to one endpoint, until the subscription has another endpoint or none."""

    def __init__(self, broker: Broker, backlog: Backlog) -> None:
        self._broker = broker
        self._backlog = backlog
        self._endpoint: str = backlog.config.push_config.push_endpoint
        self._reporting = threading.Lock()
        self._unreported = 0
        self._next_report = 0.0

    def start(self) -> None:
        """Begin to deliver."""
        for _ in range(PARALLEL_PUSHES):
            threading.Thread(target=self._deliver, name="push", daemon=True).start()

    def _deliver(self) -> None:
        connection = Connection(self._endpoint)
        while taken := self._backlog.take(1, float("inf"), wanted=self._is_current):
            entry = taken[0]
            payload = self._broker.payload(self._backlog, entry)
            if payload is None:
                continue
            config = self._backlog.config
            body = envelope(config, Message.FromString(payload), entry.failures + 1)
            problem = connection.post(body, config.ack_deadline_seconds)
            if problem:
                self._report(problem)
                self._broker.fail(self._backlog, entry)
            else:
                self._broker.acknowledge(self._backlog, [entry.message])

    def _is_current(self) -> bool:
        return self._backlog.config.push_config.push_endpoint == self._endpoint

    def _report(self, problem: str) -> None:
        """A line a minute at most: a dead endpoint fails thousands of times."""
        with self._reporting:
            self._unreported += 1
            if time.monotonic() < self._next_report:
                return
            failures, self._unreported = self._unreported, 0
            self._next_report = time.monotonic() + REPORT_EVERY_S
        log.warning("%s: %d deliveries failed since the last report; now: %s", self._endpoint, failures, problem)


class Connection:
    """One kept connection to a push endpoint. Not thread-safe."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection = kind(parts.hostname or "", parts.port)

    def post(self, body: bytes, timeout_s: float) -> str:
        """Empty when the answer was 2xx, else what was wrong."""
        self._connection.timeout = timeout_s
        kept = self._connection.sock is not None
        try:
            try:
                status = self._send(body)
            except CLOSED_WHILE_IDLE:
                if not kept:
                    raise
                status = self._send(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return f"{type(error).__name__} {error}"
        return "" if 200 <= status < 300 else f"HTTP {status}"

    def _send(self, body: bytes) -> int:
        try:
            self._connection.request("POST", self._target, body, {"Content-Type": "application/json"})
            with self._connection.getresponse() as response:
                response.read()
                return response.status
        except CLOSED_WHILE_IDLE:
            self._connection.close()
            raise


def envelope(config: Any, message: Any, attempt: int) -> bytes:
    """The JSON body that Pub/Sub posts. It names id and time twice; deliveryAttempt needs a dead-letter policy."""
    published = message.publish_time.ToJsonString()
    content = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
        "orderingKey": message.ordering_key,
    }
    whole = {"message": {key: value for key, value in content.items() if value}, "subscription": config.name}
    if config.HasField("dead_letter_policy"):
        whole["deliveryAttempt"] = attempt
    return json.dumps(whole).encode()
