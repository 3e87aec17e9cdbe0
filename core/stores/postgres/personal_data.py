"""A user's rows in every table of PostgreSQL, to be handed out or deleted."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import ConfigurationError
from core.stores.personal_data import Rows, quoted
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.event_log import CREATE_STATE
from core.stores.postgres.locks import alone
from core.stores.pseudonyms import Pseudonyms

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
    "checkpoints",
)
REJECTED = "rejected_events"  # holds what could not be read, so the id is searched for in the bytes
_LOCK = "SELECT FROM user_states WHERE user_id = %s FOR UPDATE"
_TOMBSTONE = "INSERT INTO erasures (user_hash, key_name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_EXPORT = {table: f"SELECT to_jsonb(t) FROM {table} AS t WHERE user_id = %s" for table in TABLES}
_DELETE = {table: f"DELETE FROM {table} WHERE user_id = %s" for table in TABLES}
# The id in quotes, as JSON writes it in either way, so that nobody's id is found within another's.
_REJECTED = f"FROM {REJECTED} AS t WHERE position(%s in payload) > 0 OR position(%s in payload) > 0"
_EXPORT_REJECTED, _DELETE_REJECTED = f"SELECT to_jsonb(t) {_REJECTED}", f"DELETE {_REJECTED}"


class PostgresPersonalData:
    """PersonalData over PostgreSQL."""

    def __init__(self, pool: ConnectionPool, pseudonyms: Pseudonyms) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    def export(self, user_id: str) -> Mapping[str, Rows]:
        def work(connection: Connection) -> Mapping[str, Rows]:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                found = {table: connection.execute(statement, (user_id,)) for table, statement in _EXPORT.items()}
                found[REJECTED] = connection.execute(_EXPORT_REJECTED, quoted(user_id))
                return {table: [row for (row,) in rows] for table, rows in found.items()}

        return self._pool.run(work)

    def erase(self, user_id: str) -> Mapping[str, int]:
        """See PersonalData. Raises ConfigurationError without a key: an id would be found by trying ids."""
        if not self._pseudonyms.key_name:
            raise ConfigurationError("set SONA_PRIVACY_KEYS: a tombstone needs a key")
        tombstone = (self._pseudonyms.of(user_id), self._pseudonyms.key_name)
        return self._pool.run(lambda connection: _erase(connection, user_id, tombstone))


def _erase(connection: Connection, user_id: str, tombstone: tuple[bytes, str]) -> dict[str, int]:
    """Under the locks that every writer takes, or shares, before it looks for the tombstone."""
    with connection.transaction():
        connection.execute(CREATE_STATE, (user_id,))
        connection.execute(_LOCK, (user_id,))
        alone(connection, user_id)
        connection.execute(_TOMBSTONE, tombstone)
        deleted = {table: connection.execute(statement, (user_id,)).rowcount for table, statement in _DELETE.items()}
        deleted[REJECTED] = connection.execute(_DELETE_REJECTED, quoted(user_id)).rowcount
    return deleted
