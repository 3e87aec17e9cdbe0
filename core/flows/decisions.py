"""What an answer was made of, so that somebody can say later why it was like that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol

from core.adaptation.codec import UserAdapter
from core.config import RankingSettings, TelemetrySettings
from core.telemetry import exporting, logger, measure

log = logger("decisions")


class Decided(Protocol):
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


def record_decision(
    told: TelemetrySettings,
    answer: Decided,
    settings: RankingSettings,
    elapsed_ms: Mapping[str, float],
    adapter: UserAdapter | None,
) -> None:
    """Measure the strategies, and log snapshot, place in the user's log, adapter, settings that are not the defaults,
    variants and what was missing, where that is wanted.

    With the request id the impressions in the event log say who saw it; with snapshot and place in the log, a replay
    gives the same scores. The line itself names no user.
    """
    if exporting():
        for strategy, spent_ms in elapsed_ms.items():
            measure("sona.strategy.duration", spent_ms, strategy=strategy)
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
        variants=dict(answer.variants),
        degraded=list(answer.degraded),
        titles=len(answer.items),
    )
