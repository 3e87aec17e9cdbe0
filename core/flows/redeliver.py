"""The story of the second chance: messages that an outage outlasted go back to where they came from.

Applying one twice changes nothing, so it is published first and taken out of the dead letters afterwards.
"""

from __future__ import annotations

from core.errors import ConfigurationError
from core.flows.privacy import DEAD_LETTERS_NAMED
from core.flows.services import Services
from core.stores.dead_letters import DeadLetter


def redeliver(services: Services) -> dict[str, int]:
    """Publish every dead letter to its topic again. Returns how many were `redelivered`, and how many `left` because
    nobody knows where they came from. Raises StoreUnavailable: then repeat it; ConfigurationError where nobody said
    where dead letters wait."""
    if not services.settings.privacy.dead_letters:
        raise ConfigurationError(f"nobody said where dead letters wait: set {DEAD_LETTERS_NAMED}")
    topics = _topics(services)
    left = 0

    def again(letter: DeadLetter) -> bool:
        nonlocal left
        topic = topics.get(letter.source)
        if topic is None:
            left += 1
            return False
        services.publisher.publish(topic, letter.ordering_key, letter.data, letter.attributes)
        return True

    return {"redelivered": services.dead_letters.look(again), "left": left}


def _topics(services: Services) -> dict[str, str]:
    """Name of a subscription -> its topic. In the cloud it has the name of its function, on the laptop its topic's."""
    by_function = {
        "ingest": services.settings.stores.interactions_topic,
        "adapt": services.settings.adaptation.topic,
    }
    return by_function | {f"{topic}-push": topic for topic in by_function.values()}
