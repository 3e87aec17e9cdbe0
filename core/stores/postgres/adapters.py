"""Users' adapters in PostgreSQL: the newest version is the truth, the ones before it are kept for a rollback."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from core.errors import Conflict, InvalidInput
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.event_log import CREATE_STATE, DO_NOT_WAIT, DROP_CREATED
from core.stores.protocols import Adaptation, StoredAdapter
from core.stores.pseudonyms import UNKEYED, Pseudonyms

KEPT_VERSIONS = 5  # per user, the newest included

_COLUMNS = "adapter_blob, version, folded_upto_seq, generation, extract(epoch FROM updated_at)::float8"
_VERSIONS = f"SELECT {_COLUMNS} FROM user_lora_adapters WHERE user_id = %s ORDER BY version DESC LIMIT %s"
_LOCK = "SELECT FROM user_states WHERE user_id = %s FOR NO KEY UPDATE"
# A statement of its own after the lock, so that its snapshot has what the previous holder wrote.
_FOUND = """
SELECT coalesce((SELECT max(version) FROM user_lora_adapters WHERE user_id = %s), 0),
       EXISTS (SELECT FROM erasures WHERE user_hash = ANY(%s))
"""
_INSERT = """
INSERT INTO user_lora_adapters (user_id, version, generation, adapter_blob, folded_upto_seq, created_at, updated_at)
SELECT %(user)s, %(version)s, %(generation)s, %(blob)s, %(folded)s,
       coalesce((SELECT max(created_at) FROM user_lora_adapters WHERE user_id = %(user)s), to_timestamp(%(at)s)),
       to_timestamp(%(at)s)
"""
_DROP_OLD = "DELETE FROM user_lora_adapters WHERE user_id = %s AND version <= %s"
_LOG = """
INSERT INTO adaptations (user_id, at, from_seq, upto_seq, snapshot, generation, seed, verdict, metrics)
VALUES (%s, to_timestamp(%s), %s, %s, %s, %s, %s, %s, %s)
"""
_ADAPTATIONS = """
SELECT user_id, extract(epoch FROM at)::float8, from_seq, upto_seq, snapshot, generation, seed, verdict, metrics
FROM adaptations WHERE user_id = %s ORDER BY id DESC LIMIT %s
"""
# Events that came while the adaptation was trained keep the mark: nobody has asked yet whether they are due, and
# asking once too often costs one adaptation that finds nothing to do.
_CLEAR_DUE = "UPDATE user_states SET adaptation_due = false WHERE user_id = %s AND adaptation_due AND seq <= %s"
_NEWEST = "FROM user_lora_adapters WHERE user_id = s.user_id ORDER BY version DESC LIMIT 1"
_DUE = f"""
SELECT s.user_id FROM user_states s
LEFT JOIN LATERAL (SELECT folded_upto_seq {_NEWEST}) AS newest ON true
WHERE s.adaptation_due AND mod(mod(hashtextextended(s.user_id, 0), %(shards)s) + %(shards)s, %(shards)s) = %(shard)s
ORDER BY s.seq - coalesce(newest.folded_upto_seq, 0) DESC, s.user_id LIMIT %(limit)s
"""
_STALE = f"""
SELECT user_id, {_COLUMNS} FROM user_lora_adapters AS s
WHERE hot_stale_at IS NOT NULL AND version = (SELECT version {_NEWEST}) ORDER BY hot_stale_at LIMIT %s
"""
_CLEAR_STALE = """
UPDATE user_lora_adapters SET hot_stale_at = NULL WHERE user_id = %s AND version <= %s AND hot_stale_at IS NOT NULL
"""


class PostgresAdapters:
    """Adapters over PostgreSQL. Two round trips per save: lock and look; write and commit.

    A user who only has an adapter is locked too, by a state row that exists within the transaction alone.
    """

    def __init__(self, pool: ConnectionPool, pseudonyms: Pseudonyms = UNKEYED) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    def load(self, user_id: str) -> StoredAdapter | None:
        found = self._newest_first(user_id, 1)
        return found[0] if found else None

    def versions(self, user_id: str) -> list[StoredAdapter]:
        return self._newest_first(user_id, KEPT_VERSIONS)

    def save(self, user_id: str, adapter: StoredAdapter, entry: Adaptation) -> bool:
        """See Adapters. A save whose commit was not heard of may be tried again and then is a Conflict with itself."""
        if entry.user_id != user_id:
            raise InvalidInput("the entry is about another user than the adapter")
        return self._save(adapter, entry)

    def record(self, entry: Adaptation) -> bool:
        return self._save(None, entry)

    def _save(self, adapter: StoredAdapter | None, entry: Adaptation) -> bool:
        tombstones = self._pseudonyms.all_of(entry.user_id)
        return self._pool.run(lambda connection: _save(connection, adapter, entry, tombstones))

    def adaptations(self, user_id: str, limit: int) -> list[Adaptation]:
        rows = self._pool.run(lambda c: c.execute(_ADAPTATIONS, (user_id, limit), prepare=True).fetchall())
        return [Adaptation(*[*facts, {name: float(value) for name, value in found.items()}]) for *facts, found in rows]

    def due(self, shard: int, shards: int, limit: int) -> list[str]:
        """See Adapters. Raises InvalidInput for a shard that does not exist."""
        if not 0 <= shard < shards:
            raise InvalidInput(f"there is no shard {shard} of {shards}")
        arguments = {"shard": shard, "shards": shards, "limit": limit}
        return [user_id for (user_id,) in self._pool.run(lambda c: c.execute(_DUE, arguments).fetchall())]

    def stale_hot(self, limit: int) -> list[tuple[str, StoredAdapter]]:
        rows = self._pool.run(lambda c: c.execute(_STALE, (limit,), binary=True).fetchall())
        return [(user_id, StoredAdapter(*columns)) for user_id, *columns in rows]

    def clear_hot_stale(self, user_id: str, version: int) -> None:
        self._pool.run(lambda c: c.execute(_CLEAR_STALE, (user_id, version), prepare=True))

    def _newest_first(self, user_id: str, limit: int) -> list[StoredAdapter]:
        arguments = (user_id, limit)
        query = (_VERSIONS, arguments)
        rows = self._pool.run(lambda c: c.execute(*query, prepare=True, binary=True).fetchall(), prompt=True)
        return [StoredAdapter(*row) for row in rows]


def _save(
    connection: Connection, adapter: StoredAdapter | None, entry: Adaptation, tombstones: Sequence[bytes]
) -> bool:
    """Write the entry, with the adapter it led to unless it led to none; False for an erased user."""
    user_id = entry.user_id
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute(CREATE_STATE, (user_id,), prepare=True)
        connection.execute(_LOCK, (user_id,), prepare=True)
        found = connection.execute(_FOUND, (user_id, tombstones), prepare=True)
        newest, erased = found.fetchone() or (0, False)  # the first round trip ends here
        refused = erased or (adapter is not None and adapter.version != newest + 1)
        if refused:
            connection.execute(DO_NOT_WAIT)
        else:
            _write(connection, adapter, entry)
        connection.execute(DROP_CREATED, (user_id,), prepare=True)
        connection.execute("COMMIT")
    if refused and not erased:
        raise Conflict(f"the newest version of this adapter is {newest} by now")
    return not refused


def _write(connection: Connection, adapter: StoredAdapter | None, entry: Adaptation) -> None:
    upto_seq = entry.upto_seq
    if adapter is not None:
        upto_seq = adapter.folded_upto_seq
        new = {
            "user": entry.user_id, "version": adapter.version, "generation": adapter.generation, "blob": adapter.blob,
            "folded": adapter.folded_upto_seq, "at": adapter.updated_at,
        }  # fmt: skip
        connection.execute(_INSERT, new, prepare=True)
        connection.execute(_DROP_OLD, (entry.user_id, adapter.version - KEPT_VERSIONS), prepare=True)
    connection.execute(_LOG, _line(entry), prepare=True)
    connection.execute(_CLEAR_DUE, (entry.user_id, upto_seq), prepare=True)


def _line(entry: Adaptation) -> tuple[object, ...]:
    return (
        entry.user_id,
        entry.at,
        entry.from_seq,
        entry.upto_seq,
        entry.snapshot,
        entry.generation,
        entry.seed,
        entry.verdict,
        json.dumps({name: _number(value) for name, value in entry.metrics.items()}),
    )


def _number(value: float) -> float | str:
    """JSON has no word for what a diverged training measures, so that is written as text."""
    return float(value) if math.isfinite(value) else repr(float(value))
