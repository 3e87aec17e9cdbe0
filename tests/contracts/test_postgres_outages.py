"""PostgreSQL away, hung, restarted or busy: clear words at once, nothing lost, and the next call served."""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.config import StoreSettings
from core.errors import ConfigurationError, StoreUnavailable
from core.interaction import Interaction, InteractionType
from core.local.postgres_server import PostgresServer
from core.stores.postgres.connect import ConnectionPool, pool
from core.stores.postgres.event_log import PostgresEventLog
from core.stores.postgres.migrate import migrate
from core.stores.protocols import Appended, StoredState


@pytest.fixture
def log(sql: ConnectionPool) -> PostgresEventLog:
    return PostgresEventLog(sql)


def add(log: PostgresEventLog, user: str, event_id: str) -> Appended:
    """Append one event; the fold counts."""
    event = Interaction(event_id, user, "heat-1995", InteractionType.LIKE, 1.7e9)
    return log.append(user, [event], lambda before, new: str((int(before.blob) if before else 0) + len(new)).encode())


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of its own."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield postgres_server.dsn.rpartition("/")[0] + f"/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_several_instances_may_migrate_at_once(database: str) -> None:
    stores = StoreSettings(sql_dsn=database)
    with ThreadPoolExecutor(4) as threads:
        versions = set(threads.map(lambda _: migrate(stores), range(4)))
    assert len(versions) == 1
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(versions.pop(),)]
        extensions = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
    assert {"vector", "pg_trgm"} <= extensions


def test_a_busy_row_is_unavailable_rather_than_waited_for(log: PostgresEventLog, postgres_dsn: str, user: str) -> None:
    add(log, user, "a")
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT FROM user_states WHERE user_id = %s FOR UPDATE", (user,))
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            add(log, user, "b")
        assert time.monotonic() - started < 1.9, "only a broken connection is a reason to try again"
    assert add(log, user, "b").state == StoredState(b"2", version=2, seq=2)


def test_busy_connections_are_unavailable_rather_than_waited_for(postgres_dsn: str) -> None:
    connections = pool(StoreSettings(sql_dsn=postgres_dsn, sql_pool_size=1, sql_timeout_s=0.2))
    with pytest.raises(StoreUnavailable, match="busy"):
        connections.run(lambda _: connections.run(lambda inner: inner.execute("SELECT 1")))
    connections.close()


def test_a_killed_server_is_reported_at_once_and_a_restarted_one_serves_the_first_call(
    log: PostgresEventLog, postgres_server: PostgresServer, user: str
) -> None:
    accepted = add(log, user, "before")
    postgres_server.kill()
    try:
        for attempt in (lambda: add(log, user, "during"), lambda: log.load_state(user)):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable) as raised:
                attempt()
            assert raised.value.store == "cold_store"
            assert time.monotonic() - started < 1.0
    finally:
        postgres_server.start()
    assert log.load_state(user) == accepted.state
    assert add(log, user, "after").state == StoredState(b"2", version=2, seq=2)


def test_kept_connections_that_a_restart_broke_are_replaced_within_the_call(
    log: PostgresEventLog, sql: ConnectionPool, postgres_server: PostgresServer, user: str
) -> None:
    with ThreadPoolExecutor(4) as threads:  # several connections are kept
        list(threads.map(lambda _: sql.run(lambda c: c.execute("SELECT pg_sleep(0.05)")), range(4)))
    add(log, user, "a")
    postgres_server.stop()
    postgres_server.start()
    assert add(log, user, "b").state == StoredState(b"2", version=2, seq=2)
    assert [item.seq for item in log.events(user)] == [1, 2]


def test_a_hung_server_is_reported_within_the_timeout(
    log: PostgresEventLog, postgres_server: PostgresServer, user: str
) -> None:
    add(log, user, "a")
    postgres_server.pause()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            log.load_state(user)
        assert time.monotonic() - started < 4.0  # statement timeout 1 s, one more of grace
    finally:
        postgres_server.resume()
    assert add(log, user, "b").state == StoredState(b"2", version=2, seq=2)


def test_without_any_server_configured_the_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match="SONA_STORES_SQL_DSN"):
        PostgresEventLog(pool(StoreSettings())).load_state("u")


def test_a_pool_may_be_used_on_both_sides_of_a_fork(postgres_dsn: str) -> None:
    """functions-framework builds the application before its workers are forked."""
    program = f"""
import os
from core.config import StoreSettings
from core.stores.postgres.connect import pool
connections = pool(StoreSettings(sql_dsn={postgres_dsn!r}))
backend = lambda: connections.run(lambda c: c.info.backend_pid)
parent = backend()
if os.fork() == 0:
    os._exit(0 if backend() != parent and backend() == backend() else 1)
child = os.wait()[1]
assert child == 0 and backend() == parent
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
