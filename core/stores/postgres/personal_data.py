"""A user's rows in every table of PostgreSQL, to be handed out or deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import ConfigurationError
from core.stores.personal_data import Rows, names_user, quoted
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
REJECTED = "rejected_events"  # holds what could not be read: a pseudonym says whose it is, or else the bytes
_LOCK = "SELECT FROM user_states WHERE user_id = %s FOR UPDATE"
_TOMBSTONE = "INSERT INTO erasures (user_hash, key_name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_EXPORT = {table: f"SELECT to_jsonb(t) FROM {table} AS t WHERE user_id = %s" for table in TABLES}
_DELETE = {table: f"DELETE FROM {table} WHERE user_id = %s" for table in TABLES}
# The id in quotes, as JSON writes it in either way; where it stands decides, once the payload is read.
_REJECTED = f"""
SELECT id, user_hash = ANY(%s) IS TRUE, user_hash IS NOT NULL, payload FROM {REJECTED}
WHERE user_hash = ANY(%s) OR position(%s in payload) > 0 OR position(%s in payload) > 0
"""
_EXPORT_REJECTED = f"SELECT to_jsonb(t) - 'user_hash' FROM {REJECTED} AS t WHERE id = ANY(%s)"
_DELETE_REJECTED = f"DELETE FROM {REJECTED} WHERE id = ANY(%s)"
_AT_ONCE = 100  # payloads in memory


class PostgresPersonalData:
    """PersonalData over PostgreSQL."""

    def __init__(self, pool: ConnectionPool, pseudonyms: Pseudonyms) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    def export(self, user_id: str) -> Mapping[str, Rows]:
        hashes = self._pseudonyms.all_of(user_id)

        def work(connection: Connection) -> Mapping[str, Rows]:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                found = {table: connection.execute(statement, (user_id,)) for table, statement in _EXPORT.items()}
                found[REJECTED] = connection.execute(_EXPORT_REJECTED, (_rejected(connection, user_id, hashes),))
                return {table: [row for (row,) in rows] for table, rows in found.items()}

        return self._pool.run(work)

    def erase(self, user_id: str) -> Mapping[str, int]:
        """See PersonalData. Raises ConfigurationError without a key: an id would be found by trying ids."""
        if not self._pseudonyms.key_name:
            raise ConfigurationError("set SONA_PRIVACY_KEYS: a tombstone needs a key")
        tombstone = (self._pseudonyms.of(user_id), self._pseudonyms.key_name)
        hashes = self._pseudonyms.all_of(user_id)
        return self._pool.run(lambda connection: _erase(connection, user_id, tombstone, hashes))


def _erase(
    connection: Connection, user_id: str, tombstone: tuple[bytes, str], hashes: Sequence[bytes]
) -> dict[str, int]:
    """Under the locks that every writer takes, or shares, before it looks for the tombstone."""
    with connection.transaction():
        connection.execute(CREATE_STATE, (user_id,))
        connection.execute(_LOCK, (user_id,))
        alone(connection, user_id)
        connection.execute(_TOMBSTONE, tombstone)
        deleted = {table: connection.execute(statement, (user_id,)).rowcount for table, statement in _DELETE.items()}
        deleted[REJECTED] = connection.execute(_DELETE_REJECTED, (_rejected(connection, user_id, hashes),)).rowcount
    return deleted


def _rejected(connection: Connection, user_id: str, hashes: Sequence[bytes]) -> list[int]:
    """Ids of the rejected events that are the user's, or name the user."""
    with connection.cursor("rejected", binary=True) as found:
        found.itersize = _AT_ONCE
        found.execute(_REJECTED, (hashes, hashes, *quoted(user_id)))
        return [number for number, own, known, payload in found if own or names_user(payload, user_id, known)]
