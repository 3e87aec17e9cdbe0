"""Which implementation stands behind each protocol: the only module that knows, apart from the laptop edition.

Everything is built without connecting. What is slow to import is imported by the first call that needs it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from core import config, telemetry
from core.attention.select import types_of
from core.candidates.calendar import parse_calendar
from core.config import Settings, listed
from core.embedding.batch import encoder_version_of
from core.embedding.model_store import EncoderHolder
from core.errors import SonaError, StoreUnavailable
from core.experiments.store import Experiments
from core.exporting import start_exporting
from core.flows.answer_memory import AnswerMemory
from core.flows.experiment_memory import ExperimentMemory
from core.flows.live import LiveMemory
from core.flows.observations import ObservationRecorder
from core.flows.outcomes import HALF_LIFE_S, OutcomeMemory
from core.flows.pattern_memory import PatternMemory
from core.flows.routing_memory import RoutingMemory
from core.flows.services import Services
from core.flows.trending import Trending
from core.patterns.store import Patterns
from core.routing.counters import RouteCounters
from core.routing.model_choice import parse_models
from core.routing.router import shipped_router
from core.snapshot.publish import SnapshotHolder
from core.stores.batched_limits import BatchedRateLimits
from core.stores.breaker import Breaker, Guarded
from core.stores.dead_letters import PubsubDeadLetters
from core.stores.impressions import Impressions
from core.stores.personal_data import PersonalData
from core.stores.protocols import (
    Adapters,
    Answers,
    Bucket,
    Catalog,
    Embeddings,
    EventLog,
    HotStates,
    PopularityCounters,
    Publisher,
    RateLimits,
    Transitions,
)
from core.stores.pseudonyms import Pseudonyms, pseudonyms
from core.stores.pubsub import PubsubPublisher
from core.stores.retention import Retention
from core.stores.tiered import TieredStates
from core.stores.valkey import ValkeyHotStates, ValkeyPopularity, client
from core.stores.valkey_answers import ValkeyAnswers
from core.stores.valkey_limits import ValkeyRateLimits
from core.stores.valkey_routing import ValkeyRouteCounters
from core.stores.valkey_transitions import ValkeyTransitions

DAY_S = 86_400.0
_NEVER_WAITING = ("publish_best_effort", "flush")  # of the publisher


class PerProcess:
    """Stands in for an object that its first use builds, in every process anew: connections do not survive a fork."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._built: tuple[int, Any] = (0, None)

    def __getattr__(self, name: str) -> Any:
        pid, built = self._built
        if pid != os.getpid():
            with self._lock:
                pid, built = self._built
                if pid != os.getpid():
                    built = self._build()
                    self._built = (os.getpid(), built)
        return getattr(built, name)


def services_for(settings: Settings) -> Services:
    """Everything the flows work with, for the given settings. Nothing connects before it is used."""
    stores, names = settings.stores, pseudonyms(settings.privacy.keys)
    pool = PerProcess(lambda: Guarded(_pool(settings), Breaker("cold_store"), passing=("unlimited",)))
    log = cast(EventLog, PerProcess(lambda: _event_log(pool, names)))
    adapters = cast(Adapters, PerProcess(lambda: _adapters(pool, names)))
    storage = Breaker("bucket", patient=True)  # a snapshot takes longer than a request may
    bucket = cast(Bucket, PerProcess(lambda: Guarded(_bucket(settings), storage)))
    models = cast(Bucket, PerProcess(lambda: Guarded(_bucket(settings, stores.models_bucket), storage)))
    cache = Path(settings.cache_dir)
    patterns = cast(Patterns, PerProcess(lambda: _patterns(pool, names)))
    experiments = cast(Experiments, PerProcess(lambda: _experiments(pool, names)))
    half_life_s = settings.ranking.popularity_half_life_days * DAY_S
    valkey, breaker = client(stores), Breaker("hot_store")
    hot = cast(HotStates, Guarded(ValkeyHotStates(valkey, stores.state_ttl_s, names), breaker))
    popularity = cast(PopularityCounters, Guarded(ValkeyPopularity(valkey, half_life_s), breaker))
    answered = cast(PopularityCounters, Guarded(ValkeyPopularity(valkey, HALF_LIFE_S, "outcomes"), breaker))
    transitions = cast(Transitions, Guarded(ValkeyTransitions(valkey), breaker))
    parse_calendar(settings.ranking.events)  # a calendar that cannot be read stops the instance, not its requests
    return Services(
        settings=settings,
        log=log,
        states=TieredStates(hot, log, adapters, _hot_adapter),
        adapters=adapters,
        catalog=cast(Catalog, PerProcess(lambda: _catalog(pool))),
        popularity=popularity,
        trending=Trending(popularity, log, half_life_s, settings.ranking.counters_max_age_s),
        outcome_counters=answered,
        outcomes=OutcomeMemory(answered, log, settings.ranking.counters_max_age_s),
        transitions=transitions,
        live=LiveMemory(transitions, settings.ranking.counters_max_age_s),
        publisher=cast(Publisher, Guarded(PubsubPublisher(stores), Breaker("broker"), passing=_NEVER_WAITING)),
        snapshots=SnapshotHolder(bucket, cache, settings.snapshot_max_age_s),
        bucket=bucket,
        models=models,
        embeddings=cast(Embeddings, PerProcess(lambda: _embeddings(pool))),
        encoders=EncoderHolder(models, cache.with_name(f"{cache.name}-models"), settings.embedding.threads),
        patterns=patterns,
        pattern_memory=PatternMemory(patterns, settings.patterns.max_age_s, settings.patterns.capacity),
        experiments=experiments,
        experiment_memory=ExperimentMemory(experiments, settings.snapshot_max_age_s),
        observations=ObservationRecorder(experiments),
        impressions=cast(Impressions, PerProcess(lambda: _impressions(pool))),
        personal_data=cast(PersonalData, PerProcess(lambda: _personal_data(pool, names))),
        dead_letters=PubsubDeadLetters(stores, listed(settings.privacy.dead_letters), lambda: _looking_alone(pool)),
        retention=cast(Retention, PerProcess(lambda: _retention(pool))),
        limits=BatchedRateLimits(cast(RateLimits, Guarded(ValkeyRateLimits(valkey), breaker))),
        routing=RoutingMemory(
            cast(RouteCounters, Guarded(ValkeyRouteCounters(valkey), breaker)),
            parse_models(settings.router.models),
            settings.ranking.counters_max_age_s,
        ),
        answers=AnswerMemory(
            cast(Answers, Guarded(ValkeyAnswers(valkey, settings.answer_ttl_s, names), breaker)), settings.answer_ttl_s
        ),
    )


def _pool(settings: Settings) -> Any:
    from core.stores.postgres.connect import pool

    return pool(settings.stores)


def _event_log(pool: Any, names: Pseudonyms) -> EventLog:
    from core.stores.postgres.event_log import PostgresEventLog

    return PostgresEventLog(pool, names)


def _adapters(pool: Any, names: Pseudonyms) -> Adapters:
    from core.stores.postgres.adapters import PostgresAdapters

    return PostgresAdapters(pool, names)


def _patterns(pool: Any, names: Pseudonyms) -> Patterns:
    from core.stores.postgres.patterns import PostgresPatterns

    return PostgresPatterns(pool, names)


def _experiments(pool: Any, names: Pseudonyms) -> Experiments:
    from core.stores.postgres.experiments import PostgresExperiments

    return PostgresExperiments(pool, names)


def _impressions(pool: Any) -> Impressions:
    from core.stores.postgres.impressions import PostgresImpressions

    return PostgresImpressions(pool)


def _personal_data(pool: Any, names: Pseudonyms) -> PersonalData:
    from core.stores.postgres.personal_data import PostgresPersonalData

    return PostgresPersonalData(pool, names)


def _looking_alone(pool: Any) -> AbstractContextManager[None]:
    from core.stores.postgres.locks import looking_alone

    return looking_alone(pool)


def _retention(pool: Any) -> Retention:
    from core.stores.postgres.retention import PostgresRetention

    return PostgresRetention(pool)


def _hot_adapter(blob: bytes) -> bytes:
    """A stored adapter's bytes as few as the hot store should hold."""
    from core.adaptation.codec import decode, encode

    return encode(decode(blob))


def _catalog(pool: Any) -> Catalog:
    from core.stores.postgres.catalog import PostgresCatalog

    return PostgresCatalog(pool)


def _embeddings(pool: Any) -> Embeddings:
    from core.stores.postgres.embeddings import PostgresEmbeddings

    return PostgresEmbeddings(pool)


def snapshots_bucket(settings: Settings) -> Bucket:
    """Where snapshots lie, for those who need no other store."""
    return _bucket(settings)


def _bucket(settings: Settings, name: str = "") -> Bucket:
    from core.stores.gcs import GcsBucket

    return GcsBucket(settings.stores, name)


def migrate_database(settings: Settings) -> tuple[str, list[str]]:
    """Bring the schema to the newest version and grant the workloads' rights; the version and the users still missing.

    Needs Cloud SQL only. Raises StoreUnavailable without it.
    """
    from core.stores.postgres.migrate import grant, migrate

    return migrate(settings.stores), grant(settings.stores)


@cache
def services() -> Services:
    """The instance's services, built once. Raises ConfigurationError naming what is missing."""
    settings = config.settings()
    telemetry.configure(settings.log_level, settings.stores.project)
    built = services_for(settings)
    _flush_at_exit(built.publisher.flush)
    atexit.register(lambda: built.routing.flush(time.time()))
    told = settings.telemetry
    if end := start_exporting(told, settings.stores.project):
        _flush_at_exit(end)
    return built


# What using a service for the first time would import, by its name in Services.
_SLOW_IMPORTS = {
    "log": "core.stores.postgres.event_log",
    "publisher": "google.pubsub_v1",
    "snapshots": "google.cloud.storage",
    "encoders": "core.embedding.encoder",
    "router": "core.embedding.encoder",
    "patterns": "core.stores.postgres.patterns",
    "experiments": "core.stores.postgres.experiments",
}


def warm_up(*names: str) -> None:
    """Do at import, before the port opens, what the first request would wait for. `names`: services it will use.

    Without a snapshot the instance still starts: it answers 503 until one is published.
    """
    built = services()
    for name in names:
        import_module(_SLOW_IMPORTS[name])
    if "snapshots" in names:
        try:
            snapshot = built.snapshots.current(time.time())
            if "patterns" in names:
                built.pattern_memory.index(snapshot, time.time())
        except StoreUnavailable as error:
            telemetry.logger("wiring").warning("started without a snapshot", reason=str(error))
    if "experiments" in names:
        built.experiment_memory.running(time.time())
    if "encoders" in names:
        _warm_up_encoder(built)
    if "router" in names:
        _warm_up_router(built)


def _warm_up_encoder(built: Services) -> None:
    """Load the encoder that the snapshot's text vectors are from and run it once; nothing where there are none."""
    try:
        version = built.snapshots.current(time.time()).text_version
        if version:
            built.encoders.get(encoder_version_of(version)).embed(["warm up"])
    except SonaError as error:
        telemetry.logger("wiring").warning("started without a text encoder", reason=str(error))


def _warm_up_router(built: Services) -> None:
    """Load the encoder that the shipped router reads and route once, for functions that need no snapshot."""
    router = shipped_router()
    try:
        types_of(router.route(built.encoders.get(router.encoder).token_vectors(["warm up"])[0]))
    except SonaError as error:
        telemetry.logger("wiring").warning("started without a text encoder", reason=str(error))


def _flush_at_exit(flush: Callable[[], None]) -> None:
    """Send what is buffered when the instance is told to stop.

    gunicorn turns SIGTERM into an orderly exit of each worker; where nobody handles the signal, we do the same.
    """
    atexit.register(flush)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
