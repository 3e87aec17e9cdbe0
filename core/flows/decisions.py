"""What an answer was made of, so that somebody can say later why it was like that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol

from core.adaptation.codec import UserAdapter
from core.config import RankingSettings, TelemetrySettings
from core.flows.route import Routed
from core.telemetry import count, exporting, logger, measure

log = logger("decisions")


class Decided(Protocol):
    """What is told of an answer; each property as core.flows.recommend.Answer explains it."""

    @property
    def request_id(self) -> str: ...
    @property
    def snapshot(self) -> str: ...
    @property
    def state_seq(self) -> int: ...
    @property
    def variants(self) -> Mapping[str, str]: ...
    @property
    def degraded(self) -> tuple[str, ...]: ...
    @property
    def items(self) -> tuple: ...
    @property
    def known_events(self) -> int: ...
    @property
    def weights(self) -> Mapping[str, float]: ...
    @property
    def routed(self) -> Routed | None: ...


class Timed(Protocol):
    """What is measured of a ranking: strategy -> milliseconds, and whether a pattern matched."""

    @property
    def elapsed_ms(self) -> Mapping[str, float]: ...
    @property
    def pattern_match(self) -> bool: ...


def record_decision(
    told: TelemetrySettings,
    answer: Decided,
    settings: RankingSettings,
    ranked: Timed,
    adapter: UserAdapter | None,
) -> None:
    """Measure the strategies, count the answer by its kind, and log, where that is wanted, snapshot, place in the
    user's log, adapter, route, settings that are not the defaults, the strategies' weights, variants, what was missing,
    and every title with the parts of its score.

    With the request id the impressions in the event log say who saw it; with snapshot and place in the log, a replay
    gives the same scores. The line itself names no user.
    """
    if exporting():
        for strategy, spent_ms in ranked.elapsed_ms.items():
            measure("sona.strategy.duration", spent_ms, strategy=strategy)
        count("sona.answers", kind="empty" if not answer.items else "personal" if answer.known_events else "new_user")
        count("sona.patterns", outcome="match" if ranked.pattern_match else "none")
    if not told.decisions:
        return
    usual = asdict(RankingSettings())
    log.info(
        "decision",
        request_id=answer.request_id,
        snapshot=answer.snapshot,
        state_seq=answer.state_seq,
        adapter_version=adapter.version if adapter else 0,
        adapter_generation=adapter.generation if adapter else "",
        settings={name: value for name, value in asdict(settings).items() if value != usual[name]},
        route=answer.routed.routing.route if answer.routed else "",
        weights={name: round(weight, 4) for name, weight in answer.weights.items()},
        variants=dict(answer.variants),
        degraded=list(answer.degraded),
        titles={item.content_id: item.parts for item in answer.items},
    )
