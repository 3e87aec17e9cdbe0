"""The story of an event: stored once, folded once, whatever the order, the batches and the outages."""

import json
import random
import time
import uuid
from dataclasses import replace

import numpy as np
import pytest

from core.catalog import content_key
from core.errors import StoreUnavailable
from core.flows.ingest import Ingested, Message, Rejected, ingest
from core.flows.services import Services
from core.interaction import Event, Interaction, InteractionType, Onboarding
from core.profile.codec import decode
from core.profile.state import UserState
from core.stores.postgres.connect import ConnectionPool
from core.stores.protocols import StoredState
from core.stores.valkey import ValkeyHotStates, client
from core.wiring import services_for

NOW = time.time()
AWAY = "redis://127.0.0.1:9/0"


def event(
    user: str, content_id: str = "heat-1995", kind: InteractionType = InteractionType.LIKE, **facts: object
) -> Interaction:
    values = {"event_id": uuid.uuid4().hex, "occurred_at": NOW - 60} | facts
    return Interaction(user_id=user, content_id=content_id, type=kind, **values)  # type: ignore[arg-type]


def message(user: str, *events: Event, rejected: tuple[Rejected, ...] = ()) -> Message:
    return Message(uuid.uuid4().hex, user, events, rejected)


def stored(services: Services, user: str) -> StoredState:
    found = services.log.load_state(user)
    assert found is not None
    return found


def state(services: Services, user: str) -> UserState:
    return decode(user, stored(services, user).blob)


def hot(services: Services, user: str) -> StoredState | None:
    return ValkeyHotStates(client(services.settings.stores), 60).get_with_adapter(user)[0]


def rejected_reasons(sql: ConnectionPool, message_id: str) -> list[str]:
    query = "SELECT reason FROM rejected_events WHERE message_id = %s ORDER BY id"
    return [reason for (reason,) in sql.run(lambda c: c.execute(query, (message_id,)).fetchall())]


def test_an_event_is_stored_and_folded_and_copied_to_the_hot_store(services: Services, user: str) -> None:
    liked = event(user)
    assert ingest(services, message(user, liked), NOW) == Ingested(1, 0, 0)
    assert [item.event for item in services.log.events(user)] == [liked]
    assert state(services, user).history["key"].tolist() == [content_key("heat-1995")]
    assert hot(services, user) == stored(services, user)


def test_a_second_delivery_changes_nothing(services: Services, user: str) -> None:
    delivery = message(user, event(user), event(user, "ronin-1998"))
    ingest(services, delivery, NOW)
    before, counted = stored(services, user), services.popularity.read(NOW)
    assert ingest(services, delivery, NOW) == Ingested(0, 2, 0)
    assert stored(services, user) == before
    assert services.popularity.read(NOW) == counted


def test_a_second_delivery_makes_the_hot_copy_that_the_first_could_not(services: Services, user: str) -> None:
    delivery = message(user, event(user))
    ingest(services, delivery, NOW)
    ValkeyHotStates(client(services.settings.stores), 60).delete(user)
    ingest(services, delivery, NOW)
    assert hot(services, user) == stored(services, user)


def test_the_order_of_arrival_does_not_matter(services: Services, user: str) -> None:
    kinds = list(InteractionType)
    rng = random.Random(7)
    happened = [
        event(
            user, f"title-{rng.randrange(6)}", rng.choice(kinds), occurred_at=NOW - i, progress=rng.random(), rating=4.0
        )
        for i in range(40)
    ]
    ingest(services, message(user, *happened), NOW)
    other = f"{user}-other"
    shuffled = [replace(one, user_id=other) for one in rng.sample(happened, len(happened))]
    for start in range(0, 40, 7):
        ingest(services, message(other, *shuffled[start : start + 7]), NOW)
    one, two = state(services, user), state(services, other)
    assert one.history.tobytes() == two.history.tobytes()
    assert (one.counts, one.seq) == (two.counts, two.seq)


def test_how_events_are_batched_leaves_no_trace(services: Services, user: str) -> None:
    """More titles than the history holds, so that what moves out of it matters."""
    happened = [event(user, f"title-{i % 290}", occurred_at=NOW - 10_000 + i) for i in range(600)]
    ingest(services, message(user, *happened), NOW)
    other = f"{user}-other"
    for start in range(0, 600, 50):
        batch = [replace(one, user_id=other) for one in happened[start : start + 50]]
        ingest(services, message(other, *batch), NOW)
    assert stored(services, user).blob == stored(services, other).blob


def test_an_onboarding_becomes_part_of_the_state(services: Services, user: str) -> None:
    ingest(services, message(user, Onboarding("o1", user, NOW, ("drama",), region="DE")), NOW)
    about = state(services, user).onboarding
    assert about is not None
    assert (about.genres, about.region) == (("drama",), "DE")


def test_what_is_no_event_is_kept_with_its_reason_once(services: Services, user: str, sql: ConnectionPool) -> None:
    delivery = message(user, event(user), rejected=(Rejected("type: Field required", b'{"content_id": "a"}'),))
    assert ingest(services, delivery, NOW) == Ingested(1, 0, 1)
    assert ingest(services, delivery, NOW) == Ingested(0, 1, 1)
    assert rejected_reasons(sql, delivery.message_id) == ["type: Field required"]


def test_a_message_without_a_user_is_only_kept(services: Services, sql: ConnectionPool) -> None:
    poison = Message(uuid.uuid4().hex, "", (), (Rejected("data is not JSON", b"\xff"),))
    assert ingest(services, poison, NOW) == Ingested(0, 0, 1)
    assert rejected_reasons(sql, poison.message_id) == ["data is not JSON"]


def test_an_event_that_the_database_cannot_hold_costs_no_other(
    services: Services, user: str, sql: ConnectionPool
) -> None:
    delivery = message(user, event(user), event(user, "nul\x00"), event(user, "ronin-1998"))
    assert ingest(services, delivery, NOW) == Ingested(2, 0, 1)
    assert len(state(services, user).history) == 2
    assert len(rejected_reasons(sql, delivery.message_id)) == 1


def test_each_viewers_first_like_of_a_title_counts_as_popularity(services: Services, user: str) -> None:
    services.popularity.replace({}, NOW)
    day_s = 86_400.0
    half_life_s = services.settings.ranking.popularity_half_life_days * day_s
    old, new, disliked = (f"{user}-{name}" for name in ("old", "new", "disliked"))
    delivery = message(
        user,
        event(user, new, occurred_at=NOW),
        event(user, new, InteractionType.WATCH_COMPLETE, occurred_at=NOW),
        event(user, old, occurred_at=NOW - half_life_s),
        event(user, disliked, InteractionType.DISLIKE),
    )
    for _ in range(2):
        ingest(services, delivery, NOW)
    somebody_else = f"{user}-else"
    ingest(services, message(somebody_else, event(somebody_else, new, occurred_at=NOW)), NOW)
    for kind in (InteractionType.DISLIKE, InteractionType.SEARCH_CLICK, InteractionType.LIKE):
        ingest(services, message(user, event(user, new, kind, occurred_at=NOW)), NOW)
    counted = services.popularity.read(NOW)
    assert counted == pytest.approx({new: 2.0, old: 0.5}), "who comes back to a title is no crowd"
    truth = services.log.popularity(NOW - 10 * half_life_s, half_life_s, NOW)
    assert {name: truth[name] for name in counted} == pytest.approx(counted, rel=1e-5)


def test_a_corrupt_state_is_rebuilt_from_the_log(services: Services, user: str, sql: ConnectionPool) -> None:
    first, second = event(user), event(user, "ronin-1998")
    ingest(services, message(user, first), NOW)
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    assert ingest(services, message(user, second), NOW) == Ingested(1, 0, 0)
    untouched = f"{user}-untouched"
    ingest(services, message(untouched, *(replace(one, user_id=untouched) for one in (first, second))), NOW)
    assert stored(services, user).blob == stored(services, untouched).blob


def test_without_the_hot_store_nothing_is_lost_and_the_copy_comes_later(services: Services, user: str) -> None:
    stores = replace(services.settings.stores, redis_url=AWAY)
    cut_off = services_for(replace(services.settings, stores=stores))
    assert ingest(cut_off, message(user, event(user)), NOW) == Ingested(1, 0, 0)
    assert hot(services, user) is None
    assert services.states.refresh_stale(NOW) >= 1
    assert hot(services, user) == stored(services, user)


def test_without_the_log_the_message_must_come_again(services: Services, user: str) -> None:
    stores = replace(services.settings.stores, sql_dsn="host=127.0.0.1 port=9 dbname=none user=none")
    cut_off = services_for(replace(services.settings, stores=stores))
    for delivery in (message(user, event(user)), message("", rejected=(Rejected("no user_id", b"{}"),))):
        with pytest.raises(StoreUnavailable):
            ingest(cut_off, delivery, NOW)
    assert hot(services, user) is None


def test_an_erased_users_late_event_creates_nobody(services: Services, user: str, sql: ConnectionPool) -> None:
    from core.stores.pseudonyms import user_hash

    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash(user),)))
    assert ingest(services, message(user, event(user)), NOW).stored == 0
    assert services.log.load_state(user) is None
    assert hot(services, user) is None


def test_a_message_larger_than_one_transaction_is_applied_whole(services: Services, user: str) -> None:
    happened = [event(user, f"title-{i % 3}") for i in range(1100)]
    assert ingest(services, message(user, *happened), NOW) == Ingested(1100, 0, 0)
    assert stored(services, user).seq == 1100
    assert np.sum(state(services, user).counts) == 1100


def test_logs_name_no_user(
    services: Services, user: str, sql: ConnectionPool, capsys: pytest.CaptureFixture[str]
) -> None:
    from core import telemetry

    telemetry.configure("DEBUG")
    ingest(services, message(user, event(user)), NOW)
    sql.run(lambda c: c.execute("UPDATE user_states SET state = '' WHERE user_id = %s", (user,)))
    ingest(services, message(user, event(user)), NOW)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"severity", "time", "message"} <= set(lines[0])
    assert lines[0]["severity"] == "ERROR"
    assert user not in json.dumps(lines)
