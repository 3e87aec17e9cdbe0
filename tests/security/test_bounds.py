"""Nothing that callers can fill grows without bound in a process or in the hot store."""

import itertools
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.api import auth
from core.catalog import Title
from core.config import AuthSettings, Settings, StoreSettings
from core.experiments.store import Exposure
from core.flows.ingest import Message, ingest
from core.flows.observations import ObservationRecorder, Observations
from core.flows.pattern_memory import ROOM, PatternMemory
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.local.tokens import sign_local_token
from core.patterns.known import KnownPattern
from core.patterns.store import BankChanges
from core.ranking.query import Filters
from core.ranking.rules import _MASKS, MASKS_PER_SNAPSHOT, filtered
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.publish import activate, publish
from core.snapshot.snapshot import Snapshot
from core.stores.batched_limits import CALLERS, BatchedRateLimits
from core.stores.gcs import ensure_bucket
from core.stores.protocols import Succession
from core.stores.valkey import client
from core.wiring import services_for

NOW = time.time()
TITLES = tuple(Title(f"title-{n:02d}", f"Title {n}", "movie", 1990 + n, genres=("drama",)) for n in range(12))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    happened = [
        Interaction(f"{viewer}-{n}", f"v{viewer}", TITLES[n].content_id, InteractionType.LIKE, NOW - 9e5 + n)
        for viewer in range(6)
        for n in range(12)
    ]
    return build(TITLES, collect_interactions(happened), NOW, tmp_path_factory.mktemp("snapshots"))


@pytest.fixture
def services(
    folder: Path, postgres_dsn: str, valkey_url: str, gcs_endpoint: str, pubsub_endpoint: str, tmp_path: Path
) -> Services:
    """On real stores, with a snapshot and counters of their own."""
    stores = StoreSettings(
        sql_dsn=postgres_dsn, redis_url=valkey_url, storage_endpoint=gcs_endpoint, pubsub_endpoint=pubsub_endpoint,
        snapshots_bucket=f"bounds-{uuid.uuid4().hex}",
    )  # fmt: skip
    ensure_bucket(stores)
    settings = Settings(edition="laptop", cache_dir=str(tmp_path), stores=stores)
    half_life = 1.0 + time.time() % 1.0  # the counters' key names it
    built = services_for(replace(settings, ranking=replace(settings.ranking, popularity_half_life_days=half_life)))
    activate(built.bucket, publish(folder, built.bucket))
    built.popularity.replace({}, NOW)
    return built


def test_made_up_titles_are_kept_in_the_log_and_not_in_the_counters(services: Services, user: str) -> None:
    events = tuple(
        Interaction(uuid.uuid4().hex, user, name, InteractionType.LIKE, NOW)
        for name in ("title-01", *(f"{user}-{n}" for n in range(300)))
    )
    assert ingest(services, Message(uuid.uuid4().hex, user, events), NOW).stored == 301
    assert set(services.popularity.read(NOW)) == {"title-01"}


def test_a_title_that_is_newer_than_the_snapshot_is_counted(services: Services, user: str) -> None:
    fresh = f"fresh-{uuid.uuid4().hex}"
    services.catalog.upsert([Title(fresh, "Fresh", "movie", 2026, genres=("drama",))])
    event = Interaction("e", user, fresh, InteractionType.LIKE, NOW)
    ingest(services, Message(uuid.uuid4().hex, user, (event,)), NOW)
    assert set(services.popularity.read(NOW)) == {fresh}


def test_every_key_of_the_hot_store_ends_by_itself(services: Services, user: str) -> None:
    ingest(services, Message("m", user, (Interaction("e", user, "title-01", InteractionType.LIKE, NOW),)), NOW)
    services.states.load_with_adapter(user)
    services.states.erase_hot(f"{user}-erased")
    services.limits.take(user, "route", 1.0, 1, 1)
    services.transitions.add([Succession((1,), 2, NOW)])
    valkey = client(services.settings.stores)
    assert [key for key in valkey.scan_iter("user:*") if valkey.ttl(key) < 0] == []
    assert [key for key in valkey.scan_iter("popularity:*") if valkey.ttl(key) < 0] == []
    assert [key for key in valkey.scan_iter("r*") if valkey.ttl(key) < 0] == []
    assert [valkey.ttl(key) > 0 for key in valkey.scan_iter("live:*")] == [True]


def pattern(number: int) -> KnownPattern:
    return KnownPattern(
        pattern_id=f"p{number}", space="s", embedding=np.ones(4, np.float32), anchors={}, context={},
        results={"title-01": 1.0}, quality=number / 1000, confidence=number / 1000, size=1, usage_count=0,
        segment="", created_at=NOW, last_used=NOW,
    )  # fmt: skip


class Growing:
    """A bank that nobody prunes."""

    def __init__(self) -> None:
        self.size = 0

    def changes(self, since: int) -> BankChanges:
        grown = [pattern(number) for number in range(self.size, self.size + 40)]
        self.size += 40
        return BankChanges(self.size, grown, (), since == 0)


def test_an_instance_holds_the_strongest_patterns_and_knows_how_many_there_are(folder: Path) -> None:
    memory, snapshot = PatternMemory(Growing(), 0.0, 50), Snapshot.open(folder)  # type: ignore[arg-type]
    for step in range(20):
        memory.index(snapshot, NOW + step)
        assert len(memory._patterns) <= ROOM * 50
    assert (memory.known(), memory.beyond()) == (800, True)
    assert "p799" in memory._patterns
    assert "p0" not in memory._patterns


def test_filters_that_nobody_repeats_are_forgotten(folder: Path) -> None:
    snapshot = Snapshot.open(folder)
    for year in range(5 * MASKS_PER_SNAPSHOT):
        filtered(snapshot, Filters(year_min=year), NOW)
    assert len(_MASKS[snapshot]) <= MASKS_PER_SNAPSHOT


def test_callers_that_never_come_back_are_forgotten() -> None:
    class Open:
        def take(self, *_: Any) -> float:
            return 0.0

    limits = BatchedRateLimits(Open())
    for number in range(CALLERS + 500):
        limits.take(f"caller-{number}", "r", 1.0, 100, 1)
    assert len(limits._meters) == CALLERS


def test_proven_tokens_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    monkeypatch.setattr(auth, "PROVEN_TOKENS", 20)
    laptop = Settings(edition="laptop", auth=AuthSettings(local_secret_file=str(secret)))
    for number in range(100):
        token = sign_local_token("s" * 40, f"caller-{number}")
        auth.authenticate({"Authorization": f"Bearer {token}"}, laptop)
        assert len(auth._PROVEN) <= 20


def test_exposures_of_ever_new_users_are_forgotten() -> None:
    class Store:
        def record(self, user_id: str, exposures: Any, conversions: Any) -> int:
            return len(exposures)

    recorder = ObservationRecorder(Store(), capacity=30)  # type: ignore[arg-type]
    for number in itertools.islice(itertools.count(), 100):
        recorder.record(Observations(f"u{number}", (Exposure("e", "a", NOW),)))
    assert len(recorder._known) == 30
