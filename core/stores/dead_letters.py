"""Messages that were delivered too often in vain: looked through, taken out or left.

Pub/Sub keeps them in subscriptions of their own. Looking is pulling: what is not taken goes back at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from core.config import StoreSettings
from core.errors import StoreUnavailable
from core.stores.pubsub import STORE, channel_arguments, translated

AT_ONCE = 100
PULL_S = 1.0  # waiting for another one ends the look
LOOK_S = 30.0  # in all; below the time for which Pub/Sub lends a message
SOURCE = "CloudPubSubDeadLetterSource"  # begins the names of the attributes that Pub/Sub adds


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """source: name of the subscription that could not deliver it; attributes: those of its sender."""

    message_id: str
    source: str
    ordering_key: str
    data: bytes
    attributes: Mapping[str, str]


class DeadLetters(Protocol):
    """What waits for somebody to look at it."""

    def look(self, taken: Callable[[DeadLetter], bool]) -> int:
        """Show every one to `taken`, which says whether it is done with and goes; returns how many went.

        What `taken` raises ends the look, and that one stays. Raises StoreUnavailable without the broker, and when
        time ran out before all were shown: then repeat it, what went stays gone.
        """


class PubsubDeadLetters:
    """DeadLetters over Pub/Sub. subscriptions: names within the project; none, and there are no dead letters. alone:
    keeps other looks out while one lasts, which would not see what it has on loan."""

    def __init__(
        self,
        stores: StoreSettings,
        subscriptions: Sequence[str],
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._stores = stores
        self._alone = alone
        self._subscriptions = tuple(subscriptions)

    def look(self, taken: Callable[[DeadLetter], bool]) -> int:
        if not self._subscriptions:
            return 0
        from google.pubsub_v1 import SubscriberClient
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        with (
            self._alone(),
            translated(),
            SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(self._stores))) as client,
        ):
            paths = [client.subscription_path(self._stores.project, name) for name in self._subscriptions]
            return sum(_look(client, path, taken) for path in paths)


def _look(client: Any, path: str, taken: Callable[[DeadLetter], bool]) -> int:
    done, lent, give_up = 0, dict[str, None](), time.monotonic() + LOOK_S
    try:
        while received := _pull(client, path):
            lent |= dict.fromkeys(each.ack_id for each in received)
            if time.monotonic() >= give_up:
                raise StoreUnavailable(STORE, f"there are more dead letters than can be shown in {LOOK_S:g} s")
            for each in received:
                if taken(_letter(each.message)):
                    client.acknowledge(subscription=path, ack_ids=[each.ack_id], timeout=PULL_S)
                    del lent[each.ack_id]
                    done += 1
    finally:
        for start in range(0, len(lent), AT_ONCE):
            ids = list(lent)[start : start + AT_ONCE]
            client.modify_ack_deadline(subscription=path, ack_ids=ids, ack_deadline_seconds=0, timeout=PULL_S)
    return done


def _pull(client: Any, path: str) -> list[Any]:
    """The next ones; none when there are no others."""
    from google.api_core.exceptions import DeadlineExceeded

    try:
        answer = client.pull(subscription=path, max_messages=AT_ONCE, timeout=PULL_S, retry=None)
    except DeadlineExceeded:
        return []
    return list(answer.received_messages)


def _letter(message: Any) -> DeadLetter:
    attributes = dict(message.attributes)
    source = attributes.get(f"{SOURCE}Subscription", "")
    own = {name: value for name, value in attributes.items() if not name.startswith(SOURCE)}
    return DeadLetter(message.message_id, source, message.ordering_key, bytes(message.data), own)
