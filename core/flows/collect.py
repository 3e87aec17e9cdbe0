"""The way in: events of one user become one message, and are accepted only when the broker has it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.flows.services import Services
from core.interaction import Event, to_record


def collect(services: Services, user_id: str, events: Sequence[Event]) -> str:
    """Publish the events in order and return the message id. Raises StoreUnavailable: then nothing was accepted."""
    records = [{name: value for name, value in to_record(event).items() if name != "user_id"} for event in events]
    data = json.dumps({"user_id": user_id, "events": records}, allow_nan=False).encode()
    topic = services.settings.stores.interactions_topic
    return services.publisher.publish(topic, user_id, data, {})
