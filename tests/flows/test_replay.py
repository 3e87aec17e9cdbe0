"""The state holds nothing that the log does not: replaying gives it back, byte for byte."""

import random
import time
import uuid
from dataclasses import replace

import pytest

from core.flows.ingest import Message, ingest
from core.flows.replay import rebuild, replay_user
from core.flows.services import Services
from core.interaction import Event, Interaction, InteractionType, Onboarding
from core.profile.codec import encode
from core.stores.postgres.connect import ConnectionPool

NOW = time.time()


def life(user: str, events: int, titles: int, seed: int) -> list[Event]:
    """A viewer's events in the disorder in which they may arrive."""
    rng = random.Random(seed)
    happened: list[Event] = [
        Interaction(
            uuid.uuid4().hex,
            user,
            f"title-{rng.randrange(titles)}",
            rng.choice(list(InteractionType)),
            NOW - rng.randrange(10_000_000),
            rng.choice([None, rng.random()]),
            rng.choice([1.0, 2.5, 5.0]),
            rng.random() < 0.1,
        )
        for _ in range(events)
    ]
    happened.insert(events // 2, Onboarding("late", user, NOW, ("drama",), language="de"))
    happened.append(Onboarding("early", user, NOW - 99, ("horror",)))
    return happened


@pytest.mark.parametrize(("events", "titles"), [(1, 1), (60, 12), (900, 700)])
def test_replay_gives_the_stored_state_byte_for_byte(services: Services, user: str, events: int, titles: int) -> None:
    happened = life(user, events, titles, seed=events)
    while happened:
        taken = random.Random(len(happened)).randint(1, 90)
        ingest(services, Message(uuid.uuid4().hex, user, tuple(happened[:taken])), NOW)
        happened = happened[taken:]
    report = replay_user(services, user, NOW)
    assert report["equal"] is True
    assert report["events"] == report["stored_seq"] == events + 2
    assert report["stored_bytes"] == len(encode(rebuild(services.log, user)))


def test_replay_sees_a_state_that_is_not_what_the_log_says(services: Services, user: str, sql: ConnectionPool) -> None:
    for name in ("heat-1995", "ronin-1998"):
        event = Interaction(name, user, name, InteractionType.LIKE, NOW)
        ingest(services, Message(name, user, (event,)), NOW)
    forged = rebuild(services.log, user)
    forged = replace(forged, history=forged.history[:1])
    sql.run(lambda c: c.execute("UPDATE user_states SET state = %s WHERE user_id = %s", (encode(forged), user)))
    assert replay_user(services, user, NOW)["equal"] is False


def test_a_user_nobody_knows_replays_to_nothing(services: Services, user: str) -> None:
    report = replay_user(services, user, NOW)
    assert (report["events"], report["stored_seq"], report["equal"]) == (0, 0, True)


def test_a_rebuild_can_stop_at_an_earlier_event(services: Services, user: str) -> None:
    events = tuple(Interaction(f"e{i}", user, f"t{i}", InteractionType.LIKE, NOW + i) for i in range(5))
    ingest(services, Message("m", user, events), NOW)
    assert rebuild(services.log, user, 3).seq == 3
    assert len(rebuild(services.log, user, 3).history) == 3
