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
from core.errors import StoreUnavailable
from core.flows.services import Services
from core.flows.trending import Trending
from core.snapshot.publish import SnapshotHolder
from core.stores.protocols import Adapters, Bucket, Catalog, EventLog
from core.stores.pubsub import PubsubPublisher
from core.stores.tiered import TieredStates
from core.stores.valkey import ValkeyHotStates, ValkeyPopularity, client

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
    pool = PerProcess(lambda: _pool(settings))
    log = cast(EventLog, PerProcess(lambda: _event_log(pool)))
    adapters = cast(Adapters, PerProcess(lambda: _adapters(pool)))
    bucket = cast(Bucket, PerProcess(lambda: _bucket(settings)))
    half_life_s = settings.ranking.popularity_half_life_days * DAY_S
    valkey = client(stores)
    popularity = ValkeyPopularity(valkey, half_life_s)
    return Services(
        settings=settings,
        log=log,
        states=TieredStates(ValkeyHotStates(valkey, stores.state_ttl_s), log, adapters, _hot_adapter),
        adapters=adapters,
        catalog=cast(Catalog, PerProcess(lambda: _catalog(pool))),
        popularity=popularity,
        trending=Trending(popularity, log, half_life_s, settings.ranking.counters_max_age_s),
        publisher=PubsubPublisher(stores),
        snapshots=SnapshotHolder(bucket, Path(settings.cache_dir), settings.snapshot_max_age_s),
        bucket=bucket,
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


def _hot_adapter(blob: bytes) -> bytes:
    """A stored adapter's bytes as few as the hot store should hold."""
    from core.adaptation.codec import decode, encode

    return encode(decode(blob))


def _catalog(pool: Any) -> Catalog:
    from core.stores.postgres.catalog import PostgresCatalog

    return PostgresCatalog(pool)


def _bucket(settings: Settings) -> Bucket:
    from core.stores.gcs import GcsBucket

    return GcsBucket(settings.stores)


@cache
def services() -> Services:
    """The instance's services, built once. Raises ConfigurationError naming what is missing."""
    settings = config.settings()
    telemetry.configure(settings.log_level)
    built = services_for(settings)
    _flush_at_exit(built.publisher.flush)
    return built


# What using a service for the first time would import, by its name in Services.
_SLOW_IMPORTS = {
    "log": "core.stores.postgres.event_log",
    "publisher": "google.pubsub_v1",
    "snapshots": "google.cloud.storage",
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
            built.snapshots.current(time.time())
        except StoreUnavailable as error:
            telemetry.logger("wiring").warning("started without a snapshot", reason=str(error))


def _flush_at_exit(flush: Callable[[], None]) -> None:
    """Send what is buffered when the instance is told to stop.

    gunicorn turns SIGTERM into an orderly exit of each worker; where nobody handles the signal, we do the same.
    """
    atexit.register(flush)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
