"""Who may do what in the database: the workloads read or write rows, only the migration changes tables."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql as statements
from psycopg.conninfo import make_conninfo

from core.config import Settings, StoreSettings
from core.wiring import migrate_database


@pytest.fixture
def users(postgres_dsn: str) -> Iterator[dict[str, str]]:
    """A reader and a writer as Terraform makes them: they may connect, and nothing else."""
    names = {kind: f"sona-fn-{kind}-{uuid.uuid4().hex[:8]}@project.iam" for kind in ("reads", "writes")}
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for name in names.values():
            connection.execute(statements.SQL("CREATE USER {} PASSWORD 'p'").format(statements.Identifier(name)))
        yield names
        for name in names.values():
            connection.execute(statements.SQL("DROP OWNED BY {}").format(statements.Identifier(name)))
            connection.execute(statements.SQL("DROP USER {}").format(statements.Identifier(name)))


def may(dsn: str, user: str, statement: str) -> bool:
    with psycopg.connect(make_conninfo(dsn, user=user, password="p")) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return False
        finally:
            connection.rollback()
    return True


INSERT = "INSERT INTO rejected_events (message_id, reason, payload) VALUES ('m', 'r', '')"


def test_the_migration_gives_every_workload_the_rights_it_needs_and_no_more(
    postgres_dsn: str, users: dict[str, str]
) -> None:
    stores = StoreSettings(sql_dsn=postgres_dsn, sql_readers=users["reads"], sql_writers=users["writes"])
    for user in users.values():
        assert not may(postgres_dsn, user, "SELECT count(*) FROM interactions")

    for _ in range(2):  # every release runs it again
        version, missing = migrate_database(Settings(stores=stores))

    assert version >= "0002"
    assert missing == []
    assert may(postgres_dsn, users["reads"], "SELECT count(*) FROM interactions")
    assert not may(postgres_dsn, users["reads"], INSERT)
    assert may(postgres_dsn, users["writes"], INSERT)
    assert may(postgres_dsn, users["writes"], "DELETE FROM content_relationships")
    for user in users.values():
        assert not may(postgres_dsn, user, "CREATE TABLE mine (id int)")
        assert not may(postgres_dsn, user, "ALTER TABLE content ADD COLUMN mine int")


def test_a_user_that_does_not_exist_yet_is_named_and_does_not_stop_the_others(
    postgres_dsn: str, users: dict[str, str]
) -> None:
    stores = StoreSettings(sql_dsn=postgres_dsn, sql_writers=f"sona-fn-new@project.iam, {users['writes']}")
    _, missing = migrate_database(Settings(stores=stores))
    assert missing == ["sona-fn-new@project.iam"]
    assert may(postgres_dsn, users["writes"], INSERT)
