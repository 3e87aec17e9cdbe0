"""What was shown, told to the event log: best effort, bounded and counted, never in the way of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from core.candidates.signals import STRATEGY_OF
from core.flows.observations import exposure_records
from core.flows.services import Services


class Shown(Protocol):
    @property
    def request_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def items(self) -> tuple: ...
    @property
    def variants(self) -> Mapping[str, str]: ...
    @property
    def elapsed_ms(self) -> Mapping[str, float]: ...


def publish_impressions(services: Services, answer: Shown, now: float) -> bool:
    """One message for the whole answer, with the experiments that it took part in; False when it had to be dropped."""
    latency_ms: dict[str, float] = {}
    for signal, spent_ms in answer.elapsed_ms.items():
        strategy = STRATEGY_OF.get(signal, signal)
        latency_ms[strategy] = latency_ms.get(strategy, 0.0) + spent_ms
    events = [
        {
            "event_id": f"{answer.request_id}:{position}",
            "content_id": item.content_id,
            "type": "impression",
            "occurred_at": now,
            "request_id": answer.request_id,
            "position": position,
            "strategy": item.strategy,
            "latency_ms": round(latency_ms.get(item.strategy, 0.0), 3),
            **({"pattern_id": item.pattern_id} if item.pattern_id else {}),
        }
        for position, item in enumerate(answer.items)
        if services.settings.impressions
    ]
    told: dict[str, Any] = {"user_id": answer.user_id, "events": events}
    if answer.variants:
        told["exposures"] = exposure_records(answer.variants, now)
    data = json.dumps(told).encode()
    topic = services.settings.stores.interactions_topic
    return services.publisher.publish_best_effort(topic, answer.user_id, data)
