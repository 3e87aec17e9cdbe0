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
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from core import config, telemetry
from core.config import Settings
from core.embedding.batch import encoder_version_of
from core.embedding.model_store import EncoderHolder
from core.errors import SonaError, StoreUnavailable
from core.experiments.store import Experiments
from core.flows.experiment_memory import ExperimentMemory
from core.flows.observations import ObservationRecorder
from core.flows.pattern_memory import PatternMemory
from core.flows.routing_memory import RoutingMemory
from core.flows.services import Services
from core.flows.trending import Trending
from core.patterns.store import Patterns
from core.routing.model_choice import parse_models
from core.snapshot.publish import SnapshotHolder
from core.stores.batched_limits import BatchedRateLimits
from core.stores.breaker import Breaker, Guarded
from core.stores.personal_data import PersonalData
from core.stores.protocols import (
    Adapters,
    Bucket,
    Catalog,
    Embeddings,
    EventLog,
    HotStates,
    PopularityCounters,
    RateLimits,
)
from core.stores.pubsub import PubsubPublisher
from core.stores.tiered import TieredStates
from core.stores.valkey import ValkeyHotStates, ValkeyPopularity, client
from core.stores.valkey_limits import ValkeyRateLimits
from core.stores.valkey_routing import ValkeyRouteCounters

DAY_S = 86_400.0


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
    stores = settings.stores
    pool = PerProcess(lambda: Guarded(_pool(settings), Breaker("cold_store"), passing=("unlimited",)))
    log = cast(EventLog, PerProcess(lambda: _event_log(pool)))
    adapters = cast(Adapters, PerProcess(lambda: _adapters(pool)))
    bucket = cast(Bucket, PerProcess(lambda: _bucket(settings)))
    models = cast(Bucket, PerProcess(lambda: _bucket(settings, stores.models_bucket)))
    cache = Path(settings.cache_dir)
    patterns = cast(Patterns, PerProcess(lambda: _patterns(pool)))
    experiments = cast(Experiments, PerProcess(lambda: _experiments(pool)))
    half_life_s = settings.ranking.popularity_half_life_days * DAY_S
    valkey, breaker = client(stores), Breaker("hot_store")
    hot = cast(HotStates, Guarded(ValkeyHotStates(valkey, stores.state_ttl_s), breaker))
    popularity = cast(PopularityCounters, Guarded(ValkeyPopularity(valkey, half_life_s), breaker))
    return Services(
        settings=settings,
        log=log,
        states=TieredStates(hot, log, adapters, _hot_adapter),
        adapters=adapters,
        catalog=cast(Catalog, PerProcess(lambda: _catalog(pool))),
        popularity=popularity,
        trending=Trending(popularity, log, half_life_s, settings.ranking.counters_max_age_s),
        publisher=PubsubPublisher(stores),
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
        personal_data=cast(PersonalData, PerProcess(lambda: _personal_data(pool))),
        limits=BatchedRateLimits(cast(RateLimits, Guarded(ValkeyRateLimits(valkey), breaker))),
        routing=RoutingMemory(
            ValkeyRouteCounters(valkey), parse_models(settings.router.models), settings.ranking.counters_max_age_s
        ),
    )


def _pool(settings: Settings) -> Any:
    from core.stores.postgres.connect import pool

    return pool(settings.stores)


def _event_log(pool: Any) -> EventLog:
    from core.stores.postgres.event_log import PostgresEventLog

    return PostgresEventLog(pool)


def _adapters(pool: Any) -> Adapters:
    from core.stores.postgres.adapters import PostgresAdapters

    return PostgresAdapters(pool)


def _patterns(pool: Any) -> Patterns:
    from core.stores.postgres.patterns import PostgresPatterns

    return PostgresPatterns(pool)


def _experiments(pool: Any) -> Experiments:
    from core.stores.postgres.experiments import PostgresExperiments

    return PostgresExperiments(pool)


def _personal_data(pool: Any) -> PersonalData:
    from core.stores.postgres.personal_data import PostgresPersonalData

    return PostgresPersonalData(pool)


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
    telemetry.configure(settings.log_level)
    built = services_for(settings)
    _flush_at_exit(built.publisher.flush)
    atexit.register(lambda: built.routing.flush(time.time()))
    told = settings.telemetry
    if end := telemetry.start_exporting(told.exporter, told.endpoint, told.trace_share):
        _flush_at_exit(end)
    return built


# What using a service for the first time would import, by its name in Services.
_SLOW_IMPORTS = {
    "log": "core.stores.postgres.event_log",
    "publisher": "google.pubsub_v1",
    "snapshots": "google.cloud.storage",
    "encoders": "core.embedding.encoder",
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


def _warm_up_encoder(built: Services) -> None:
    """Load the encoder that the snapshot's text vectors are from and run it once; nothing where there are none."""
    try:
        version = built.snapshots.current(time.time()).text_version
        if version:
            built.encoders.get(encoder_version_of(version)).embed(["warm up"])
    except SonaError as error:
        telemetry.logger("wiring").warning("started without a text encoder", reason=str(error))


def _flush_at_exit(flush: Callable[[], None]) -> None:
    """Send what is buffered when the instance is told to stop.

    gunicorn turns SIGTERM into an orderly exit of each worker; where nobody handles the signal, we do the same.
    """
    atexit.register(flush)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
