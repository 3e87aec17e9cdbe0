"""A user's rows in every table of PostgreSQL, to be handed out or deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping

from core.stores.personal_data import Rows
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.event_log import CREATE_STATE, user_hash

# Every table with a user_id; a test compares them with the schema.
TABLES = (
    "interactions",
    "user_states",
    "user_lora_adapters",
    "adaptations",
    "pattern_sessions",
    "pattern_members",
    "exposures",
    "conversions",
)
REJECTED = "rejected_events"  # holds what could not be read, so the id is searched for in the bytes
_LOCK = "SELECT FROM user_states WHERE user_id = %s FOR UPDATE"
_TOMBSTONE = "INSERT INTO erasures (user_hash) VALUES (%s) ON CONFLICT DO NOTHING"
_EXPORT = {table: f"SELECT to_jsonb(t) FROM {table} AS t WHERE user_id = %s" for table in TABLES}
_DELETE = {table: f"DELETE FROM {table} WHERE user_id = %s" for table in TABLES}
# The id in quotes, as JSON writes it in either way, so that nobody's id is found within another's.
_DELETE_REJECTED = f"DELETE FROM {REJECTED} WHERE position(%s in payload) > 0 OR position(%s in payload) > 0"


class PostgresPersonalData:
    """PersonalData over PostgreSQL."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def export(self, user_id: str) -> Mapping[str, Rows]:
        def work(connection: Connection) -> Mapping[str, Rows]:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return {
                    table: [row for (row,) in connection.execute(statement, (user_id,))]
                    for table, statement in _EXPORT.items()
                }

        return self._pool.run(work)

    def erase(self, user_id: str) -> Mapping[str, int]:
        return self._pool.run(lambda connection: _erase(connection, user_id))


def _erase(connection: Connection, user_id: str) -> dict[str, int]:
    """Under the user's row lock, which every writer takes before it looks for the tombstone."""
    quoted = [json.dumps(user_id, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for ascii in (True, False)]
    with connection.transaction():
        connection.execute(CREATE_STATE, (user_id,))
        connection.execute(_LOCK, (user_id,))
        connection.execute(_TOMBSTONE, (user_hash(user_id),))
        deleted = {table: connection.execute(statement, (user_id,)).rowcount for table, statement in _DELETE.items()}
        deleted[REJECTED] = connection.execute(_DELETE_REJECTED, quoted).rowcount
    return deleted
