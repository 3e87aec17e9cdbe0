"""The deployed functions on real stores: their real entry points, a small catalogue, a snapshot, tokens."""

import itertools
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from function_client import SECRET, Function, envelope

from core import wiring
from core.catalog import Availability, Title
from core.config import StoreSettings, settings
from core.flows.services import Services
from core.interaction import Event, Interaction, InteractionType
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.publish import activate, publish
from core.stores.gcs import GcsBucket, ensure_bucket
from core.stores.pubsub_admin import ensure_topic

FUNCTIONS = Path(__file__).parents[2] / "functions"
GENRES = ("drama", "comedy", "crime", "science fiction", "family")
DIRECTORS = ("Ada Arkin", "Ben Boyle", "Cy Corra", "Di Danso", "Eve Engel", "Flo Farrow", "Gus Grant", "Hal Holm")
TASTES = (("drama", "crime"), ("comedy", "science fiction"))
DAY_S = 86_400.0


def title(number: int) -> Title:
    """Forty titles: five genres of eight, every fifth a series, a director for every five."""
    genre = GENRES[number % 5]
    second = GENRES[(number * 3 + 1) % 5]
    return Title(
        content_id=f"title-{number:02d}",
        title=f"Title {number}",
        type="series" if number % 5 == 4 and number >= 20 else "movie",
        year=1985 + number,
        genres=(genre,) if genre == second else (genre, second),
        keywords=(f"theme {number % 7}", f"place {number % 4}"),
        cast=(f"Actor {number % 6}", f"Actor {number % 11}"),
        directors=(DIRECTORS[number // 5],),
        runtime_minutes=60 + 3 * number,
        language=("en", "de", "fr")[number % 3],
        maturity=(0, 6, 12, 16)[number % 4],
        overview=f"A {genre} about theme {number % 7} in place {number % 4}.",
        availability=(Availability("kinoplus", "DE", 0.0),) if number % 2 else (Availability("flimmer", "US", 0.0),),
    )


TITLES = tuple(title(number) for number in range(40))


def audience(now: float) -> list[Event]:
    """Twenty viewers with ten interactions each: half like drama and crime, half comedy and science fiction."""
    rng = random.Random(11)
    events: list[Event] = []
    for viewer in range(20):
        mine = [t.content_id for t in TITLES if t.genres[0] in TASTES[viewer % 2]]
        for step, content_id in enumerate([*rng.sample(mine, 9), rng.choice(TITLES).content_id]):
            kind = rng.choice([InteractionType.WATCH_COMPLETE, InteractionType.LIKE, InteractionType.WATCH_COMPLETE])
            at = now - (20 - step) * DAY_S / 2
            events.append(Interaction(f"{viewer}-{step}", f"viewer-{viewer}", content_id, kind, at, device="tv"))
    return events


@pytest.fixture(scope="module")
def catalogue() -> tuple[Title, ...]:
    """What is published; a module may have its own."""
    return TITLES


@pytest.fixture(scope="module")
def deployment(
    postgres_dsn: str,
    valkey_url: str,
    gcs_endpoint: str,
    pubsub_endpoint: str,
    tmp_path_factory: pytest.TempPathFactory,
    catalogue: tuple[Title, ...],
) -> Iterator[Services]:
    """The instance's services, with the environment that the functions read and an active snapshot."""
    home = tmp_path_factory.mktemp("deployment")
    (home / "secret").write_text(SECRET)
    run = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "EDITION": "laptop",
            "CACHE_DIR": str(home / "cache"),
            "STORES_SQL_DSN": postgres_dsn,
            "STORES_REDIS_URL": valkey_url,
            "STORES_STORAGE_ENDPOINT": gcs_endpoint,
            "STORES_PUBSUB_ENDPOINT": pubsub_endpoint,
            "STORES_SNAPSHOTS_BUCKET": f"snapshots-{run}",
            "STORES_INTERACTIONS_TOPIC": f"interactions-{run}",
            "AUTH_LOCAL_SECRET_FILE": str(home / "secret"),
            "RANKING_STRATEGY_DEADLINE_MS": "10000",  # a busy machine leaves no strategy out
            "PRIVACY_KEYS": f"{SECRET}, an older key that is still known to everybody",
        }.items():
            environment.setenv(f"SONA_{name}", value)
        settings.cache_clear()
        wiring.services.cache_clear()
        stores = settings().stores
        ensure_topic(stores, stores.interactions_topic)
        publish_snapshot(stores, home, catalogue)
        yield wiring.services()
    settings.cache_clear()
    wiring.services.cache_clear()


def publish_snapshot(stores: StoreSettings, home: Path, catalogue: tuple[Title, ...] = TITLES) -> None:
    ensure_bucket(stores)
    bucket, now = GcsBucket(stores), time.time()
    folder = build(catalogue, collect_interactions(audience(now)), now, home / "snapshots")
    activate(bucket, publish(folder, bucket))


@pytest.fixture(scope="module")
def function(deployment: Services) -> Callable[[str], Function]:
    @cache
    def named(name: str) -> Function:
        return Function(functions_framework.create_app(name, str(FUNCTIONS / f"{name}.py")).test_client())

    return named


@pytest.fixture(scope="module")
def recommend(function: Callable[[str], Function]) -> Function:
    return function("recommend")


@pytest.fixture(scope="module")
def collect(function: Callable[[str], Function]) -> Function:
    return function("collect")


@pytest.fixture(scope="module")
def profiles(function: Callable[[str], Function]) -> Function:
    return function("profiles")


@pytest.fixture(scope="module")
def ingest(function: Callable[[str], Function]) -> Function:
    return function("ingest")


@pytest.fixture
def push(ingest: Function) -> Callable[..., dict[str, Any]]:
    """Deliver events of one user as Pub/Sub would and return the function's answer."""
    numbers = itertools.count()

    def deliver(user: str, *events: dict[str, Any], message_id: str = "") -> dict[str, Any]:
        data = json.dumps({"user_id": user, "events": list(events)}).encode()
        answer = ingest.post("/push/ingest", envelope(data, message_id or f"{user}-{next(numbers)}"), None)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return dict(answer.get_json())

    return deliver
