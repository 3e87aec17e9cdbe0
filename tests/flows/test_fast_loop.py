"""The instant loop in service: an event teaches the fast tier in its own transaction, and the next request uses it."""

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, next_generation, snapshot, snapshot_folder

from core.errors import StoreUnavailable
from core.flows.adapt import adapt
from core.flows.ingest import Message, ingest
from core.flows.recommend import Answer, recommend
from core.flows.replay import replay_user
from core.flows.score import score
from core.flows.services import Services
from core.interaction import Interaction
from core.profile.codec import decode
from core.profile.state import UserState
from core.ranking.query import Query
from core.snapshot.snapshot import Snapshot
from core.stores.postgres.connect import ConnectionPool
from core.stores.protocols import StoredAdapter
from core.stores.valkey import ValkeyHotStates, client


class InHand:
    """A snapshot that is simply there, or none."""

    failure = None

    def __init__(self, held: Snapshot | None) -> None:
        self._held = held

    def current(self, now: float) -> Snapshot:
        if self._held is None:
            raise StoreUnavailable("snapshot", "")
        return self._held


class Requests:
    """A topic that remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def publish(self, topic: str, ordering_key: str, data: bytes, attributes: object) -> str:
        self.sent.append((topic, json.loads(data)))
        return "id"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("world"))


@pytest.fixture
def services(services: Services, world: Snapshot) -> Services:
    settings = replace(services.settings, impressions=False)
    return replace(services, settings=settings, snapshots=InHand(world), publisher=Requests())  # type: ignore[arg-type]


def with_snapshot(services: Services, held: Snapshot | None) -> Services:
    return replace(services, snapshots=InHand(held))  # type: ignore[arg-type]


def tell(services: Services, user: str, events: list[Interaction], at_once: int = 1) -> None:
    for start in range(0, len(events), at_once):
        ingest(services, Message(uuid.uuid4().hex, user, tuple(events[start : start + at_once])), NOW)


def state_of(services: Services, user: str) -> UserState:
    stored = services.log.load_state(user)
    assert stored is not None
    return decode(user, stored.blob)


def adapter_parts(answer: Answer) -> dict[str, float]:
    return {item.content_id: item.parts.get("adapter", 0.0) for item in answer.items}


def test_the_fast_tier_is_learned_in_the_transaction_of_the_event_and_copied(services: Services, user: str) -> None:
    tell(services, user, likes(user, DRAMAS[:20]))
    fast = state_of(services, user).fast
    assert fast is not None
    assert (fast.generation, fast.updates, fast.useful) == ("g1", 19, True)
    hot, _ = ValkeyHotStates(client(services.settings.stores), 60).get_with_adapter(user)
    assert hot == services.log.load_state(user)


def test_the_next_answer_shows_what_the_fast_tier_adds(services: Services, user: str) -> None:
    tell(services, user, likes(user, DRAMAS[:20]))
    query = Query(user, limit=20)
    answer = recommend(services, query, NOW)
    assert answer.degraded == ()
    assert any(abs(part) > 1e-4 for part in adapter_parts(answer).values())
    for item in answer.items:
        assert item.score == pytest.approx(sum(item.parts.values()), abs=1e-5)
    off = replace(services.settings.ranking, fast_tier=0.0)
    without = recommend(replace(services, settings=replace(services.settings, ranking=off)), query, NOW)
    assert not any(adapter_parts(without).values())


def test_a_score_names_what_the_adapter_added(services: Services, user: str) -> None:
    tell(services, user, likes(user, DRAMAS[:20]))
    scores, degraded = score(services, Query(user), (DRAMAS[30], COMEDIES[30]), NOW)
    assert degraded == ()
    drama, comedy = (one.components["lora_boost"] for one in scores)
    assert drama != 0.0 or comedy != 0.0
    for one in scores:
        assert 0.0 <= one.score <= 1.0
        assert one.score == pytest.approx(sum(one.components.values()), abs=1e-5)


def test_how_events_are_batched_leaves_no_trace_in_the_fast_tier(services: Services, user: str) -> None:
    events = likes(user, DRAMAS[:12] + COMEDIES[:12])
    tell(services, user, events, at_once=1)
    one = services.log.load_state(user)
    services.log._pool.run(  # type: ignore[attr-defined]
        lambda c: [c.execute(f"DELETE FROM {table} WHERE user_id = %s", (user,)) for table in TABLES]
    )
    tell(services, user, events, at_once=7)
    two = services.log.load_state(user)
    assert one is not None
    assert two is not None
    assert one.blob == two.blob


TABLES = ("interactions", "user_states")


def test_replay_gives_the_same_facts_and_the_same_fast_tier(services: Services, user: str) -> None:
    tell(services, user, likes(user, DRAMAS[:20]), at_once=3)
    report = replay_user(services, user, NOW)
    assert (report["equal"], report["fast_tier"], report["events"]) == (True, "equal", 20)


def test_facts_replay_byte_for_byte_where_the_fast_tier_cannot(services: Services, user: str, tmp_path: Path) -> None:
    tell(services, user, likes(user, DRAMAS[:20]), at_once=3)
    without = replay_user(with_snapshot(services, None), user, NOW)
    assert (without["equal"], without["fast_tier"]) == (True, "not_comparable")
    later = Snapshot.open(snapshot_folder(tmp_path, next_generation()))
    assert replay_user(with_snapshot(services, later), user, NOW)["fast_tier"] == "not_comparable"


def test_a_corrupt_state_gets_its_fast_tier_back_from_the_log(
    services: Services, user: str, sql: ConnectionPool
) -> None:
    events = likes(user, DRAMAS[:12])
    tell(services, user, events[:11])
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    tell(services, user, events[11:])
    assert replay_user(services, user, NOW)["fast_tier"] == "equal"


def test_without_a_snapshot_events_are_folded_and_the_fast_tier_stays(services: Services, user: str) -> None:
    events = likes(user, DRAMAS[:12])
    tell(services, user, events[:6])
    before = state_of(services, user).fast
    tell(with_snapshot(services, None), user, events[6:])
    after = state_of(services, user)
    assert len(after.history) == 12
    assert before is not None
    assert after.fast is not None
    assert after.fast.B.tobytes() == before.B.tobytes()


def test_a_new_generation_carries_the_fast_tier_over_with_the_next_event(
    services: Services, user: str, tmp_path: Path
) -> None:
    tell(services, user, likes(user, DRAMAS[:12]))
    later = with_snapshot(services, Snapshot.open(snapshot_folder(tmp_path, next_generation())))
    assert recommend(later, Query(user), NOW).degraded == ()
    tell(later, user, likes(user, DRAMAS[12:13], start=NOW - 3600, first=12))
    fast = state_of(services, user).fast
    assert fast is not None
    assert (fast.generation, fast.updates) == ("g2", 12)


def test_an_adaptation_is_asked_for_by_the_fifth_event_and_then_only_after_an_hour(
    services: Services, user: str
) -> None:
    def sent(titles: tuple[str, ...], first: int, start: float) -> int:
        events = [
            replace(event, occurred_at=start + place) for place, event in enumerate(likes(user, titles, first=first))
        ]
        tell(services, user, events)
        return len(services.publisher.sent)  # type: ignore[attr-defined]

    assert sent(DRAMAS[:4], 0, NOW) == 0
    assert sent(DRAMAS[4:5], 4, NOW + 10) == 1
    assert services.publisher.sent == [("adaptation-requests", {"user_id": user, "seq": 5})]  # type: ignore[attr-defined]
    assert adapt(services, user, 5, NOW).verdict in ("accepted", "rolled_back", "nothing_to_learn")
    assert sent(DRAMAS[5:15], 5, NOW + 60) == 1, "ten more, but within the hour"
    assert sent(DRAMAS[15:16], 15, NOW + 3700) == 2


def test_a_damaged_adapter_is_left_out_and_named(services: Services, user: str) -> None:
    tell(services, user, likes(user, DRAMAS[:12]))
    adapter = StoredAdapter(b"rubbish", 1, 12, "g1", NOW)
    ValkeyHotStates(client(services.settings.stores), 60).put_adapter(user, adapter)
    answer = recommend(services, Query(user), NOW)
    assert answer.degraded == ("adapter",)
    assert len(answer.items) == 20
    assert np.isfinite([item.score for item in answer.items]).all()
