"""What every flow works with: the stores, the snapshot, the settings. Built once per instance by core.wiring."""

from __future__ import annotations

from dataclasses import dataclass

from core.config import Settings
from core.embedding.model_store import EncoderHolder
from core.experiments.store import Experiments
from core.flows.answer_memory import AnswerMemory
from core.flows.experiment_memory import ExperimentMemory
from core.flows.live import LiveMemory
from core.flows.observations import ObservationRecorder
from core.flows.outcomes import OutcomeMemory
from core.flows.pattern_memory import PatternMemory
from core.flows.routing_memory import RoutingMemory
from core.flows.trending import Trending
from core.patterns.store import Patterns
from core.snapshot.publish import SnapshotHolder
from core.snapshot.snapshot import Snapshot
from core.stores.batched_limits import BatchedRateLimits
from core.stores.dead_letters import DeadLetters
from core.stores.impressions import Impressions
from core.stores.personal_data import PersonalData
from core.stores.protocols import (
    Adapters,
    Bucket,
    Catalog,
    Embeddings,
    EventLog,
    PopularityCounters,
    Publisher,
    Transitions,
)
from core.stores.retention import Retention
from core.stores.tiered import TieredStates


@dataclass(frozen=True, slots=True)
class Services:
    """One instance's stores and memories. What is kept in memory is refreshed by requests, never in the background."""

    settings: Settings
    log: EventLog
    states: TieredStates
    adapters: Adapters
    catalog: Catalog
    popularity: PopularityCounters
    trending: Trending
    outcome_counters: PopularityCounters
    outcomes: OutcomeMemory
    transitions: Transitions
    live: LiveMemory
    publisher: Publisher
    snapshots: SnapshotHolder
    bucket: Bucket
    models: Bucket
    embeddings: Embeddings
    encoders: EncoderHolder
    patterns: Patterns
    pattern_memory: PatternMemory
    experiments: Experiments
    experiment_memory: ExperimentMemory
    observations: ObservationRecorder
    impressions: Impressions
    personal_data: PersonalData
    retention: Retention
    dead_letters: DeadLetters
    limits: BatchedRateLimits
    routing: RoutingMemory
    answers: AnswerMemory

    def snapshot(self, now: float) -> tuple[Snapshot, tuple[str, ...]]:
        """The snapshot in hand, and ("snapshot",) when a newer one could not be looked for.

        Raises StoreUnavailable when there is none at all.
        """
        held = self.snapshots.current(now)
        return held, ("snapshot",) if self.snapshots.failure else ()
