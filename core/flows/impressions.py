"""What was shown, told to the event log: best effort, bounded and counted, never in the way of an answer."""

from __future__ import annotations

import json
from typing import Protocol

from core.flows.services import Services


class Shown(Protocol):
    @property
    def request_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def items(self) -> tuple: ...


def publish_impressions(services: Services, answer: Shown, now: float) -> bool:
    """One message for the whole answer; False when it had to be dropped."""
    events = [
        {
            "event_id": f"{answer.request_id}:{position}",
            "content_id": item.content_id,
            "type": "impression",
            "occurred_at": now,
            "request_id": answer.request_id,
        }
        for position, item in enumerate(answer.items)
    ]
    data = json.dumps({"user_id": answer.user_id, "events": events}).encode()
    topic = services.settings.stores.interactions_topic
    return services.publisher.publish_best_effort(topic, answer.user_id, data)
