"""Bring the schema to the newest version. Safe when several instances start at once."""

from __future__ import annotations

from pathlib import Path

from core.config import StoreSettings
from core.stores.postgres.connect import connect, pool, translated

LOCK = 0x534F4E41  # "SONA": the advisory lock that lets one migration run at a time


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
