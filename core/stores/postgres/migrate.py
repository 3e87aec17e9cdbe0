"""Bring the schema to the newest version and give workloads their rights. Safe when several instances start at once."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from core.config import StoreSettings
from core.stores.postgres.connect import Connection, connect, pool, translated

LOCK = 0x534F4E41  # "SONA": the advisory lock that lets one migration run at a time

READ: tuple[str, ...] = (
    "GRANT USAGE ON SCHEMA public TO {user}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}",
)
WRITE: tuple[str, ...] = (
    *READ,
    "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}",
)
KNOWN_USERS = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"


def migrate(stores: StoreSettings) -> str:
    """Upgrade to the newest version and return its name. Raises StoreUnavailable without a server."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import NullPool, create_engine, exc

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(stores, None), poolclass=NullPool)
    with translated(), pool(stores).unlimited() as lock:
        lock.execute("SELECT pg_advisory_lock(%s)", (LOCK,))  # held until this connection closes
        try:
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except exc.OperationalError as error:
            raise error.orig or error from error
    return ScriptDirectory.from_config(config).get_current_head() or ""


def grant(stores: StoreSettings) -> list[str]:
    """Let `sql_readers` read and `sql_writers` change every table's rows, none its form; returns who is not there yet.

    Repeatable: a user that Terraform creates later gets its rights from the next run.
    """
    wanted = [(user, READ) for user in _names(stores.sql_readers)]
    wanted += [(user, WRITE) for user in _names(stores.sql_writers)]
    with pool(stores).unlimited() as connection:
        found = connection.execute(KNOWN_USERS, ([user for user, _ in wanted],)).fetchall()
        known = {str(name) for (name,) in found}
        with connection.transaction():
            for user, statements in wanted:
                if user in known:
                    _execute(connection, statements, user)
    return [user for user, _ in wanted if user not in known]


def _execute(connection: Connection, statements: tuple[str, ...], user: str) -> None:
    for statement in statements:
        connection.execute(sql.SQL(statement).format(user=sql.Identifier(user)))


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
