"""Events older than the window go, and what they made of a user stays: the state, the adapter, and the proof."""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.config import PrivacySettings
from core.errors import StoreUnavailable
from core.flows import retention
from core.flows.ingest import Message, append, ingest
from core.flows.replay import rebuild, replay_user
from core.flows.retention import DAY_S, retain
from core.flows.services import Services
from core.interaction import Event, Interaction, InteractionType
from core.profile.codec import encode, encode_facts
from core.stores.postgres.connect import ConnectionPool
from core.stores.protocols import Adaptation, StoredAdapter

NOW = time.time()
KEPT_DAYS = 100.0


@pytest.fixture
def services(services: Services, clean_tables: None) -> Services:
    privacy = PrivacySettings(events_kept_days=KEPT_DAYS, rejected_kept_days=10.0)
    return replace(services, settings=replace(services.settings, privacy=privacy))


@pytest.fixture
def arrived(sql: ConnectionPool) -> Callable[[str, int, float], None]:
    """Let a user's events up to a seq have come so many days ago."""

    def age(user: str, upto_seq: int, days: float) -> None:
        statement = "UPDATE interactions SET received_at = to_timestamp(%s) WHERE user_id = %s AND seq <= %s"
        sql.run(lambda c: c.execute(statement, (NOW - days * DAY_S, user, upto_seq)))

    return age


def evening(user: str, number: int, titles: int = 30) -> list[Event]:
    kinds = [kind for kind in InteractionType if kind is not InteractionType.RATING_EXPLICIT]
    return [
        Interaction(f"{number}-{step}", user, f"title-{(7 * step + number) % titles}", kinds[step % len(kinds)],
                    NOW - (300 - number) * DAY_S + 60 * step, progress=step % 10 / 10)
        for step in range(20)
    ]  # fmt: skip


def lived(services: Services, user: str, evenings: range) -> None:
    for number in evenings:
        ingest(services, Message(uuid.uuid4().hex, user, tuple(evening(user, number))), NOW)


def test_a_replay_from_the_checkpoint_gives_the_stored_state_byte_for_byte(
    services: Services, user: str, arrived: Callable[..., None], sql: ConnectionPool
) -> None:
    lived(services, user, range(5))
    before = services.log.load_state(user)
    arrived(user, 70, days=200)
    assert retain(services, NOW) == {"users": 1, "events": 70, "rejected": 0, "damaged": 0}
    assert [item.seq for item in services.log.events(user)] == list(range(71, 101))
    assert services.log.load_state(user) == before
    assert replay_user(services, user, NOW)["equal"]
    lived(services, user, range(5, 8))
    arrived(user, 130, days=101)
    assert retain(services, NOW)["events"] == 60
    report = replay_user(services, user, NOW)
    assert (report["equal"], report["events"], report["stored_seq"]) == (True, 160, 160)


def test_who_lost_all_old_events_goes_on_as_who_never_lost_any(
    services: Services, user: str, arrived: Callable[..., None]
) -> None:
    twin = f"{user}-twin"
    for name in (user, twin):
        lived(services, name, range(4))
    arrived(user, 80, days=200)
    assert retain(services, NOW)["events"] == 80
    for name in (user, twin):
        lived(services, name, range(4, 7))
    states = [encode_facts(replace(rebuild(services.log, name), user_id="")) for name in (user, twin)]
    assert states[0] == states[1]


def test_nothing_is_dropped_before_its_checkpoint_is_kept_and_a_killed_run_is_finished_by_the_next(
    services: Services, user: str, arrived: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(services, user, range(3))
    arrived(user, 50, days=200)
    monkeypatch.setattr(retention, "ROWS", 7)  # several transactions
    calls = 0

    class Dying:
        """The store until it goes away after the second batch of rows."""

        def __getattr__(self, name: str) -> object:
            nonlocal calls
            calls += name == "drop"
            if calls == 3:
                raise StoreUnavailable("cold_store")
            return getattr(services.retention, name)

    with pytest.raises(StoreUnavailable):
        retain(replace(services, retention=Dying()), NOW)  # type: ignore[arg-type]
    assert len(list(services.log.events(user))) == 46
    assert replay_user(services, user, NOW)["equal"]
    assert retain(services, NOW)["events"] == 36
    assert retain(services, NOW) == {"users": 0, "events": 0, "rejected": 0, "damaged": 0}
    assert replay_user(services, user, NOW)["equal"]


def test_the_checkpoint_has_the_adapter_of_its_time(
    services: Services, user: str, arrived: Callable[..., None], sql: ConnectionPool
) -> None:
    lived(services, user, range(3))
    for version, folded in enumerate((20, 40, 60), 1):
        adapter = StoredAdapter(b"weights %d" % version, version, folded, "g", NOW)
        services.adapters.save(user, adapter, Adaptation(user, NOW, 0, folded, "s", "g", 0, "accepted", {}))
    arrived(user, 45, days=200)
    retain(services, NOW)
    query = "SELECT adapter_version, adapter_blob, adapter_folded_upto_seq, seq FROM checkpoints WHERE user_id = %s"
    assert sql.run(lambda c: c.execute(query, (user,)).fetchone()) == (2, b"weights 2", 40, 45)


def test_a_damaged_state_is_rebuilt_from_the_checkpoint(
    services: Services, user: str, arrived: Callable[..., None], sql: ConnectionPool
) -> None:
    lived(services, user, range(3))
    whole = encode(rebuild(services.log, user))
    arrived(user, 40, days=200)
    retain(services, NOW)
    sql.run(lambda c: c.execute("UPDATE user_states SET state = 'rubbish' WHERE user_id = %s", (user,)))
    assert encode(rebuild(services.log, user)) == whole
    after = append(services.log, user, [Interaction("new", user, "title-1", InteractionType.LIKE, NOW)])
    assert after.state is not None
    assert after.state.seq == 61


def test_a_damaged_user_keeps_what_there_is_and_stops_nobody_after_them(
    services: Services,
    user: str,
    arrived: Callable[..., None],
    sql: ConnectionPool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(retention, "USERS", 1)
    users = [f"{user}-{number}" for number in range(3)]
    for name in users:
        lived(services, name, range(2))
        arrived(name, 20, days=200)
    checkpoint = "INSERT INTO checkpoints (user_id, seq, state, made_at) VALUES (%s, 5, 'rubbish', now())"
    sql.run(lambda c: c.execute(checkpoint, (users[0],)))
    capsys.readouterr()
    assert retain(services, NOW) == {"users": 2, "events": 40, "rejected": 0, "damaged": 1}
    assert [len(list(services.log.events(name))) for name in users] == [40, 20, 20]
    assert user not in capsys.readouterr().out


def test_what_is_young_stays_and_zero_days_keep_everything(
    services: Services, user: str, arrived: Callable[..., None]
) -> None:
    lived(services, user, range(2))
    arrived(user, 40, days=KEPT_DAYS - 1)
    assert retain(services, NOW)["events"] == 0
    arrived(user, 40, days=5000)
    for_ever = replace(services.settings, privacy=PrivacySettings(events_kept_days=0.0, rejected_kept_days=0.0))
    assert retain(replace(services, settings=for_ever), NOW)["events"] == 0


def test_rejected_events_go_after_their_own_window(services: Services, sql: ConnectionPool) -> None:
    for number in range(3):
        services.log.reject("no event", b"payload %d" % number, f"m{number}")
    statement = "UPDATE rejected_events SET received_at = to_timestamp(%s) WHERE message_id <> 'm2'"
    sql.run(lambda c: c.execute(statement, (NOW - 11 * DAY_S,)))
    assert retain(services, NOW)["rejected"] == 2
    assert sql.run(lambda c: c.execute("SELECT message_id FROM rejected_events").fetchall()) == [("m2",)]
