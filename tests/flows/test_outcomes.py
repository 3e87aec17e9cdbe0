"""What was shown and liked of it: from events through the shared counters, and back from the log when they are lost."""

import time
import uuid
from dataclasses import replace

import pytest

from core.candidates.arms import Outcomes
from core.catalog import Title
from core.errors import Declined
from core.flows.ingest import Message, ingest
from core.flows.outcomes import HALF_LIFE_S, OutcomeMemory
from core.flows.publish_snapshot import publish_snapshot
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.stores.deadline import within
from core.stores.gcs import ensure_bucket
from core.stores.postgres.connect import ConnectionPool
from core.stores.valkey import ValkeyPopularity, client

NOW = 1_790_000_000.0
COUNTERS = f"outcomes:{{{HALF_LIFE_S:g}}}"
IMPRESSION, LIKE, SKIP = InteractionType.IMPRESSION, InteractionType.LIKE, InteractionType.SKIP_CONTENT


@pytest.fixture
def world(services: Services, clean_tables: None) -> Services:
    """Two new titles in an empty log, and empty counters."""
    ensure_bucket(services.settings.stores)
    titles = [
        Title("new-crime", "a", year=2026, genres=("crime",)),
        Title("new-love", "b", year=2026, genres=("romance",)),
    ]
    services.catalog.upsert(titles)
    publish_snapshot(services, NOW, activate_it=True)
    client(services.settings.stores).delete(COUNTERS)
    return services


def event(content_id: str, kind: InteractionType, request_id: str | None = "r", age_s: float = 0.0) -> Interaction:
    strategy = "content" if kind is IMPRESSION else None
    return Interaction(uuid.uuid4().hex, "", content_id, kind, NOW - age_s, request_id=request_id, strategy=strategy)


def tell(services: Services, *events: Interaction) -> None:
    user = f"user-{uuid.uuid4().hex}"
    ingest(services, Message(uuid.uuid4().hex, user, events), NOW)


def known(services: Services) -> Outcomes | None:
    """What an instance knows that has just started."""
    memory = OutcomeMemory(services.outcome_counters, services.log, 30.0)
    return memory.outcomes(services.snapshot(NOW)[0], NOW)


def of(services: Services, outcomes: Outcomes | None, content_id: str) -> tuple[float, float]:
    assert outcomes is not None
    row = services.snapshot(NOW)[0].row(content_id)
    return round(float(outcomes.shown[row]), 4), round(float(outcomes.liked[row]), 4)


def test_answers_and_what_came_of_them_are_counted_as_events_arrive(world: Services) -> None:
    assert known(world) is None  # and from now on there are counters to add to
    tell(world, event("new-crime", IMPRESSION), event("new-love", IMPRESSION), event("new-crime", LIKE))
    tell(world, event("new-crime", IMPRESSION), event("new-crime", SKIP), event("new-love", LIKE, None))
    outcomes = known(world)
    assert of(world, outcomes, "new-crime") == (2, 1)
    assert of(world, outcomes, "new-love") == (1, 0), "a like that names no answer came from elsewhere"
    genres = world.snapshot(NOW)[0].vocabulary.genres
    assert dict(zip(genres, outcomes.genre_shown.tolist(), strict=True)) == {"crime": 2, "romance": 1}


def test_lost_counters_are_counted_anew_from_the_log(world: Services) -> None:
    known(world)
    tell(
        world,
        event("new-crime", IMPRESSION, age_s=HALF_LIFE_S),
        event("new-crime", LIKE),
        event("new-love", LIKE, None),
    )
    counted = known(world)
    client(world.settings.stores).delete(COUNTERS)
    recounted = known(world)
    assert of(world, recounted, "new-crime") == of(world, counted, "new-crime") == (0.5, 1)
    assert of(world, recounted, "new-love") == (0, 0)
    tell(world, event("new-crime", LIKE))
    assert of(world, known(world), "new-crime") == (0.5, 2), "and counting goes on"


def test_one_viewer_speaks_for_one_and_for_no_answer(world: Services) -> None:
    known(world)
    made_up = [replace(event("new-crime", IMPRESSION), strategy=None) for _ in range(3)]
    tell(world, *(event("new-crime", LIKE) for _ in range(5)), *made_up)
    assert of(world, known(world), "new-crime") == (0, 1)
    client(world.settings.stores).delete(COUNTERS)
    assert of(world, known(world), "new-crime") == (0, 1)


def test_lost_counters_come_back_with_the_next_event(world: Services) -> None:
    known(world)
    tell(world, event("new-crime", LIKE))
    client(world.settings.stores).delete(COUNTERS)
    tell(world, event("new-crime", LIKE))
    assert world.outcome_counters.read(NOW)["liked:title:new-crime"] == pytest.approx(2.0)


def test_a_count_that_a_request_has_no_time_for_is_left_to_who_has(world: Services, sql: ConnectionPool) -> None:
    tell(world, event("new-crime", LIKE))
    client(world.settings.stores).delete(COUNTERS)
    with sql.unlimited() as other, other.transaction():
        other.execute("LOCK TABLE interactions IN ACCESS EXCLUSIVE MODE")  # no count ends before this does
        with within(0.3), pytest.raises(Declined):
            world.log.outcomes(0.0, HALF_LIFE_S, NOW)
        began = time.monotonic()
        with within(0.3):
            assert known(world) is None
        assert 0.1 < time.monotonic() - began < 0.28, "half of its time is left for the answer"
        assert known(world) is None, "and nobody tries at once again"
    assert world.log.load_state("nobody") is None, "the store is not taken for one that is gone"
    tell(world, event("new-crime", LIKE))
    assert of(world, known(world), "new-crime") == (0, 2)


def test_a_lost_store_leaves_the_last_outcomes_in_use(world: Services) -> None:
    known(world)
    tell(world, event("new-crime", IMPRESSION))
    away = client(world.settings.stores)
    memory = OutcomeMemory(world.outcome_counters, world.log, 30.0)
    snapshot = world.snapshot(NOW)[0]
    assert of(world, memory.outcomes(snapshot, NOW), "new-crime") == (1, 0)
    away.connection_pool.connection_kwargs["port"] = 9
    memory.counters = ValkeyPopularity(away, HALF_LIFE_S, "outcomes")
    assert of(world, memory.outcomes(snapshot, NOW + 60), "new-crime") == (1, 0)
