"""What people go on to since the snapshot: from events through the shared stream into the next answer."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.catalog import Title, content_key
from core.errors import StoreUnavailable
from core.flows.ingest import Message, ingest
from core.flows.live import READ_AT_ONCE, LiveMemory
from core.flows.publish_snapshot import publish_snapshot
from core.flows.recommend import compose
from core.flows.services import Services
from core.interaction import Interaction, InteractionType
from core.ranking.query import Query
from core.snapshot.snapshot import Snapshot
from core.stores.gcs import ensure_bucket
from core.stores.protocols import Succession
from core.stores.valkey import client
from core.stores.valkey_transitions import KEY
from core.wiring import services_for

NOW = time.time()
LIKE, VIEW, SKIP = InteractionType.LIKE, InteractionType.WATCH_PROGRESS, InteractionType.SKIP_CONTENT
NAMES = [f"film-{number:02d}" for number in range(30)]


class Away:
    def __getattr__(self, name: str) -> object:
        raise StoreUnavailable("hot_store", "away")


@pytest.fixture
def world(services: Services, clean_tables: None) -> Iterator[Services]:
    """Thirty titles that nobody has seen, a snapshot of an hour ago in a bucket of its own, and an empty stream."""
    stores = replace(services.settings.stores, snapshots_bucket=f"live-{uuid.uuid4().hex}")
    services = services_for(replace(services.settings, stores=stores))
    ensure_bucket(stores)
    services.catalog.upsert([Title(name, name, year=2020, genres=("drama",)) for name in NAMES])
    publish_snapshot(services, NOW - 3600, activate_it=True)
    client(services.settings.stores).delete(KEY)
    yield services
    client(services.settings.stores).delete(KEY)


def liked(content_id: str, age_s: float = 60.0, kind: InteractionType = LIKE, **facts: object) -> Interaction:
    return Interaction(uuid.uuid4().hex, "", content_id, kind, NOW - age_s, **facts)  # type: ignore[arg-type]


def tell(services: Services, *events: Interaction, user: str | None = None) -> str:
    user = user or f"user-{uuid.uuid4().hex}"
    ingest(services, Message(uuid.uuid4().hex, user, events), NOW)
    return user


def stream(services: Services) -> list[tuple[list[str], str]]:
    """What the stream holds, in names."""
    names = {content_key(name): name for name in NAMES}
    found = services.transitions.read(0.0, 1000)[0]
    return [([names[key] for key in one.earlier], names[one.key]) for one in found]


def known(services: Services, snapshot: Snapshot | None = None) -> dict[str, list[str]]:
    """What an instance knows that has just started."""
    snapshot = snapshot or services.snapshot(NOW)[0]
    transitions = LiveMemory(services.transitions, 30.0).transitions(snapshot, NOW)
    rows = {name: snapshot.row(name) for name in NAMES}
    if transitions is None:
        return {}
    lists = {name: transitions.from_row(row) for name, row in rows.items() if row is not None}
    return {name: [snapshot.content_id(int(row)) for row in found[0]] for name, found in lists.items() if found}


def test_a_like_after_a_like_is_told_once(world: Services) -> None:
    first, second = liked("film-00", 90), liked("film-01", 60)
    user = tell(world, first)
    assert stream(world) == []
    tell(world, second, user=user)
    tell(world, second, user=user)  # delivered again
    assert stream(world) == [(["film-00"], "film-01")]


def test_events_of_one_message_follow_each_other(world: Services) -> None:
    tell(world, liked("film-00", 90), liked("film-01", 80), liked("film-02", 70, SKIP), liked("film-03", 60))
    assert stream(world) == [(["film-00"], "film-01"), (["film-00", "film-01"], "film-03")]


def test_more_of_the_same_title_is_told_once_and_only_when_it_is_liked(world: Services) -> None:
    user = tell(world, liked("film-00", 500))
    for progress in (0.2, 0.4, 0.7, 0.9):
        tell(world, liked("film-01", 400 - 100 * progress, VIEW, progress=progress), user=user)
    tell(world, liked("film-01", 30), user=user)
    assert stream(world) == [(["film-00"], "film-01")]


def test_titles_that_do_not_exist_and_likes_from_before_the_snapshot_are_not_told(world: Services) -> None:
    tell(world, liked("film-00", 9000), liked("film-01", 8000), liked("nothing", 90), liked("film-02", 60))
    assert stream(world) == [(["film-00", "film-01"], "film-02")]


def test_what_happened_before_the_snapshot_does_not_count(world: Services) -> None:
    tell(world, liked("film-00", 90), liked("film-01", 60))
    snapshot = world.snapshot(NOW)[0]
    assert known(world) == {"film-00": ["film-01"]}
    assert known(world, replace(snapshot, version="next", created_at=NOW - 30)) == {}


def test_an_instance_reads_on_at_most_every_so_often(world: Services) -> None:
    snapshot = world.snapshot(NOW)[0]
    memory = LiveMemory(world.transitions, 30.0)
    assert memory.transitions(snapshot, NOW) is None
    tell(world, liked("film-00", 90), liked("film-01", 60))
    assert memory.transitions(snapshot, NOW + 29) is None
    assert len(memory.transitions(snapshot, NOW + 31) or ()) == 1
    assert len(memory.transitions(snapshot, NOW + 62) or ()) == 1  # what was read is not read again


def test_a_long_stream_is_read_in_pieces_that_requests_can_wait_for(world: Services) -> None:
    snapshot = world.snapshot(NOW)[0]
    one = Succession((content_key("film-00"),), content_key("film-01"), NOW)
    for _ in range(3):
        world.transitions.add([one] * (READ_AT_ONCE - 100))
    memory = LiveMemory(world.transitions, 30.0)
    known = [len(memory.transitions(snapshot, NOW) or ()) for _ in range(4)]
    assert known == [READ_AT_ONCE, 2 * READ_AT_ONCE, 3 * READ_AT_ONCE - 300, 3 * READ_AT_ONCE - 300]


def test_without_the_store_the_last_is_in_use_and_events_are_kept(world: Services) -> None:
    snapshot = world.snapshot(NOW)[0]
    tell(world, liked("film-00", 90), liked("film-01", 60))
    memory = LiveMemory(world.transitions, 30.0)
    memory.transitions(snapshot, NOW)
    memory.store = Away()  # type: ignore[assignment]
    assert len(memory.transitions(snapshot, NOW + 60) or ()) == 1
    user = f"user-{uuid.uuid4().hex}"
    away = replace(world, transitions=Away())  # type: ignore[arg-type]
    assert ingest(away, Message("m", user, (liked("film-02", 50), liked("film-03", 40))), NOW).stored == 2


def test_what_others_go_on_to_is_recommended_before_the_next_snapshot(world: Services) -> None:
    """Nobody had seen any of these titles, and all but one pair are equally popular since."""
    for _ in range(6):
        tell(world, liked("film-20", 90), liked("film-21", 60))
        tell(world, liked("film-10", 90), liked("film-11", 60))
    ann = tell(world, liked("film-20", 30))
    settings = replace(world.settings, answer_ttl_s=0, impressions=False)
    services = replace(world, settings=settings, live=LiveMemory(world.transitions, 30.0))
    blind = replace(services, live=LiveMemory(Away(), 30.0))  # type: ignore[arg-type]

    def scores(of: Services) -> dict[str, float]:
        return {item.content_id: item.score for item in compose(of, Query(ann, 20), NOW).items}

    knowing = scores(services)
    assert next(iter(knowing)) == "film-21"
    gained = {name: knowing[name] - without for name, without in scores(blind).items() if name in knowing}
    assert gained["film-21"] > max(gain for name, gain in gained.items() if name != "film-21")
