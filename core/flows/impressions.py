"""What was shown, told to the event log: best effort, bounded and counted, never in the way of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Protocol

from core.candidates.signals import STRATEGY_OF
from core.flows.observations import exposure_records
from core.flows.services import Services


class Shown(Protocol):
    """What is told of an answer that was shown; each property as core.flows.recommend.Answer explains it."""

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
    events = impressions(answer, now) if services.settings.impressions else []
    parts = [f'"user_id": {quoted(answer.user_id)}', f'"events": [{", ".join(events)}]']
    if answer.variants:
        parts.append(f'"exposures": {json.dumps(exposure_records(answer.variants, now))}')
    topic = services.settings.stores.interactions_topic
    return services.publisher.publish_best_effort(topic, answer.user_id, f"{{{', '.join(parts)}}}".encode())


def impressions(answer: Shown, now: float) -> list[str]:
    """The event of every title shown, as JSON: put together by hand, because most of it is the same in all of them and
    the encoder takes five times as long."""
    latency_ms: dict[str, float] = {}
    for signal, spent_ms in answer.elapsed_ms.items():
        strategy = STRATEGY_OF.get(signal, signal)
        latency_ms[strategy] = latency_ms.get(strategy, 0.0) + spent_ms
    of_strategy = {
        strategy: f'"strategy": {quoted(strategy)}, "latency_ms": {round(latency_ms.get(strategy, 0.0), 3)}'
        for strategy in {item.strategy for item in answer.items}
    }
    request = quoted(answer.request_id)
    of_all = f'"type": "impression", "occurred_at": {float(now)!r}, "request_id": {request}'
    return [
        f'{{"event_id": {request[:-1]}:{position}", "content_id": {quoted(item.content_id)}, "position": {position}, '
        f"{of_strategy[item.strategy]}{_pattern(item.pattern_id)}, {of_all}}}"
        for position, item in enumerate(answer.items)
    ]


def _pattern(pattern_id: str | None) -> str:
    return f', "pattern_id": {quoted(pattern_id)}' if pattern_id else ""
