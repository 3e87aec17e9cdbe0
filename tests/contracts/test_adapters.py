"""Adapters on PostgreSQL: versions without gaps, one winner, five kept, and a mark until the hot copy is made."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from core.errors import Conflict, InvalidInput, StoreUnavailable
from core.local.postgres_server import PostgresServer
from core.stores.postgres.adapters import KEPT_VERSIONS, PostgresAdapters
from core.stores.postgres.connect import ConnectionPool
from core.stores.protocols import Adaptation, StoredAdapter
from core.stores.pseudonyms import user_hash

NOW = 1.7e9 + 0.25


@pytest.fixture
def adapters(sql: ConnectionPool) -> PostgresAdapters:
    return PostgresAdapters(sql)


def adapter(version: int, blob: bytes = b"\0weights\xff", folded: int = 0) -> StoredAdapter:
    return StoredAdapter(blob, version, folded or 10 * version, f"generation-{version}", NOW + version)


def entry(user: str, upto_seq: int = 10, verdict: str = "accepted") -> Adaptation:
    metrics = {"loss_before": 0.7, "loss_after": 1 / 3}
    return Adaptation(user, NOW + upto_seq, 1, upto_seq, "snapshot-7", "base-1.0.0", 2**40, verdict, metrics)


def save(adapters: PostgresAdapters, user: str, version: int) -> bool:
    return adapters.save(user, adapter(version), entry(user, 10 * version))


def rows(sql: ConnectionPool, user: str, table: str, columns: str = "*") -> list:
    return sql.run(lambda c: c.execute(f"SELECT {columns} FROM {table} WHERE user_id = %s", (user,)).fetchall())


def test_an_unknown_user_has_no_adapter_no_versions_and_no_adaptations(adapters: PostgresAdapters, user: str) -> None:
    assert adapters.load(user) is None
    assert adapters.versions(user) == []
    assert adapters.adaptations(user, 10) == []


@pytest.mark.parametrize("blob", [b"", bytes(range(256)) * 120])
def test_an_adapter_and_its_entry_come_back_as_they_were(adapters: PostgresAdapters, user: str, blob: bytes) -> None:
    assert adapters.save(user, adapter(1, blob), entry(user))
    assert adapters.load(user) == adapter(1, blob)
    assert adapters.adaptations(user, 10) == [entry(user)]


def test_the_newest_version_is_loaded_and_five_are_kept_newest_first(adapters: PostgresAdapters, user: str) -> None:
    for version in range(1, 9):
        assert save(adapters, user, version)
        assert adapters.load(user) == adapter(version)
    assert KEPT_VERSIONS == 5
    assert adapters.versions(user) == [adapter(version) for version in (8, 7, 6, 5, 4)]
    assert [line.upto_seq for line in adapters.adaptations(user, 3)] == [80, 70, 60]
    assert len(adapters.adaptations(user, 100)) == 8, "the log keeps what the versions do not"


def test_every_version_remembers_when_the_first_was_made(
    adapters: PostgresAdapters, sql: ConnectionPool, user: str
) -> None:
    for version in range(1, 8):
        save(adapters, user, version)
    times = "extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8"
    assert sorted(rows(sql, user, "user_lora_adapters", times)) == [(NOW + 1, NOW + v) for v in range(3, 8)]


@pytest.mark.parametrize("version", [0, 1, 2, 4, 100])
def test_any_version_but_the_next_is_a_conflict_and_leaves_nothing(
    adapters: PostgresAdapters, user: str, version: int
) -> None:
    save(adapters, user, 1)
    save(adapters, user, 2)
    with pytest.raises(Conflict, match="2"):
        adapters.save(user, adapter(version, b"late"), entry(user, 99))
    assert adapters.versions(user) == [adapter(2), adapter(1)]
    assert [line.upto_seq for line in adapters.adaptations(user, 10)] == [20, 10]
    assert save(adapters, user, 3), "the connection is as good as before"


@pytest.mark.parametrize("has_state", [False, True])
def test_of_saves_at_once_exactly_one_wins_and_the_others_conflict(
    adapters: PostgresAdapters, sql: ConnectionPool, user: str, has_state: bool
) -> None:
    if has_state:
        sql.run(lambda c: c.execute("INSERT INTO user_states (user_id, version) VALUES (%s, 1)", (user,)))
    start = threading.Barrier(8)

    def attempt(thread: int) -> bool:
        start.wait()
        try:
            return adapters.save(user, adapter(1, f"by {thread}".encode()), entry(user, upto_seq=thread))
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(attempt, range(8)))
    assert won.count(True) == 1
    winner = won.index(True)
    assert adapters.versions(user) == [adapter(1, f"by {winner}".encode())]
    assert adapters.adaptations(user, 10) == [entry(user, upto_seq=winner)]


def test_writers_that_read_again_after_a_conflict_lose_no_version(adapters: PostgresAdapters, user: str) -> None:
    def write_five(thread: int) -> None:
        done = 0
        while done < 5:
            newest = adapters.load(user)
            version = newest.version + 1 if newest else 1
            try:
                adapters.save(user, adapter(version), entry(user, upto_seq=version))
                done += 1
            except Conflict:
                continue

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write_five, range(4)))
    assert [kept.version for kept in adapters.versions(user)] == [20, 19, 18, 17, 16]
    assert [line.upto_seq for line in adapters.adaptations(user, 100)] == list(range(20, 0, -1))


def test_what_changed_nothing_is_only_logged(adapters: PostgresAdapters, user: str) -> None:
    save(adapters, user, 1)
    assert adapters.record(entry(user, 20, "rolled_back"))
    assert adapters.versions(user) == [adapter(1)]
    assert adapters.adaptations(user, 10) == [entry(user, 20, "rolled_back"), entry(user, 10)]
    assert save(adapters, user, 2), "an entry is no version"


def test_measurements_of_a_training_that_diverged_are_logged(adapters: PostgresAdapters, user: str) -> None:
    metrics = {"loss": math.inf, "gain": -math.inf, "norm": math.nan, "auc": 0.1 + 0.2}
    adapters.record(replace(entry(user), verdict="rolled_back", metrics=metrics))
    assert adapters.adaptations(user, 1)[0].metrics == pytest.approx(metrics, rel=0, abs=0, nan_ok=True)


def test_an_erased_user_gets_neither_adapter_nor_entry(
    adapters: PostgresAdapters, sql: ConnectionPool, user: str
) -> None:
    sql.run(lambda c: c.execute("INSERT INTO erasures (user_hash) VALUES (%s)", (user_hash(user),)))
    assert not save(adapters, user, 1)
    assert not save(adapters, user, 7), "whatever the version"
    assert not adapters.record(entry(user))
    for table in ("user_lora_adapters", "adaptations", "user_states"):
        assert rows(sql, user, table) == []


def test_a_user_without_a_state_may_have_an_adapter_and_still_gets_no_state(
    adapters: PostgresAdapters, sql: ConnectionPool, user: str
) -> None:
    assert save(adapters, user, 1)
    assert rows(sql, user, "user_states") == []


@pytest.mark.parametrize("text", ["'; DROP TABLE adaptations; --", "%s %(user)s", '"\\', "ü 漢 🎬", ""])
def test_hostile_text_is_only_text(adapters: PostgresAdapters, user: str, text: str) -> None:
    owner = user + text
    kept = replace(adapter(1), generation=text)
    line = replace(entry(owner), snapshot=text, generation=text, verdict=text, metrics={text: 1.0})
    adapters.save(owner, kept, line)
    assert adapters.load(owner) == kept
    assert adapters.adaptations(owner, 1) == [line]


@pytest.mark.parametrize(
    ("bad_adapter", "bad_entry"),
    [
        ({"generation": "a\0b"}, {}),
        ({"updated_at": math.nan}, {}),
        ({}, {"verdict": "\0"}),
        ({}, {"seed": 2**63}),
        ({}, {"user_id": "somebody else"}),
    ],
)
def test_what_cannot_be_stored_is_invalid_and_leaves_nothing(
    adapters: PostgresAdapters, user: str, bad_adapter: dict, bad_entry: dict
) -> None:
    with pytest.raises(InvalidInput):
        adapters.save(user, replace(adapter(1), **bad_adapter), replace(entry(user), **bad_entry))
    assert adapters.load(user) is None
    assert adapters.adaptations(user, 10) == []


@pytest.mark.usefixtures("clean_tables")
def test_a_saved_version_is_marked_until_its_hot_copy_is_reported(adapters: PostgresAdapters) -> None:
    for user in ("second", "first"):
        save(adapters, user, 1)
    save(adapters, "second", 2)
    assert adapters.stale_hot(10) == [("first", adapter(1)), ("second", adapter(2))], "newest versions, oldest first"
    assert adapters.stale_hot(1) == [("first", adapter(1))]
    adapters.clear_hot_stale("first", 1)
    adapters.clear_hot_stale("second", 1)
    assert adapters.stale_hot(10) == [("second", adapter(2))], "a newer version keeps its mark"
    adapters.clear_hot_stale("second", 2)
    assert adapters.stale_hot(10) == []


def test_an_adaptation_waits_for_the_users_row_no_longer_than_a_statement_may(
    adapters: PostgresAdapters, sql: ConnectionPool, postgres_dsn: str, user: str
) -> None:
    sql.run(lambda c: c.execute("INSERT INTO user_states (user_id, version) VALUES (%s, 1)", (user,)))
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT FROM user_states WHERE user_id = %s FOR NO KEY UPDATE", (user,))
        with pytest.raises(StoreUnavailable):
            save(adapters, user, 1)
        with pytest.raises(StoreUnavailable):
            adapters.record(entry(user))
    assert save(adapters, user, 1)


def test_a_killed_server_is_reported_at_once_and_what_was_saved_is_there_afterwards(
    adapters: PostgresAdapters, postgres_server: PostgresServer, user: str
) -> None:
    save(adapters, user, 1)
    postgres_server.kill()
    calls: list[Callable[[], object]] = [
        lambda: save(adapters, user, 2),
        lambda: adapters.record(entry(user)),
        lambda: adapters.load(user),
        lambda: adapters.versions(user),
        lambda: adapters.adaptations(user, 1),
        lambda: adapters.due(0, 1, 1),
        lambda: adapters.stale_hot(1),
        lambda: adapters.clear_hot_stale(user, 1),
    ]
    try:
        for call in calls:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable) as raised:
                call()
            assert raised.value.store == "cold_store"
            assert time.monotonic() - started < 1.0
    finally:
        postgres_server.start()
    assert save(adapters, user, 2)
    assert adapters.versions(user) == [adapter(2), adapter(1)]
