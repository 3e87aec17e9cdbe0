"""Old events in PostgreSQL: found by arrival, replaced by a checkpoint, deleted in batches."""

from __future__ import annotations

from typing import Any

from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.protocols import StoredState

_EXPIRED = """
SELECT user_id, max(seq) FROM interactions WHERE received_at < to_timestamp(%s) AND user_id > %s
GROUP BY user_id ORDER BY user_id LIMIT %s
"""
_LOCK = "SELECT FROM user_states WHERE user_id = %s FOR NO KEY UPDATE"
# The adapter of that time is the newest that has learned from nothing later; where only later versions are left, the
# earlier checkpoint's, and without one the oldest.
_ADAPTER = """
SELECT version, adapter_blob, folded_upto_seq, generation FROM (
    SELECT version, adapter_blob, folded_upto_seq, generation,
           CASE WHEN folded_upto_seq <= %(seq)s THEN 0 ELSE 2 END AS rank
    FROM user_lora_adapters WHERE user_id = %(user)s
    UNION ALL
    SELECT adapter_version, adapter_blob, adapter_folded_upto_seq, adapter_generation, 1
    FROM checkpoints WHERE user_id = %(user)s AND adapter_version IS NOT NULL) AS found
ORDER BY rank, CASE WHEN rank = 2 THEN version ELSE -version END LIMIT 1
"""
_KEEP = """
INSERT INTO checkpoints AS c (user_id, seq, state, adapter_version, adapter_blob, adapter_folded_upto_seq,
                              adapter_generation, made_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, to_timestamp(%s))
ON CONFLICT (user_id) DO UPDATE SET seq = excluded.seq, state = excluded.state,
    adapter_version = excluded.adapter_version, adapter_blob = excluded.adapter_blob,
    adapter_folded_upto_seq = excluded.adapter_folded_upto_seq, adapter_generation = excluded.adapter_generation,
    made_at = excluded.made_at
WHERE c.seq < excluded.seq
"""
_DROP = """
DELETE FROM interactions WHERE user_id = %(user)s AND seq IN (
    SELECT i.seq FROM interactions i JOIN checkpoints c ON c.user_id = i.user_id AND i.seq <= c.seq
    WHERE i.user_id = %(user)s ORDER BY i.seq LIMIT %(limit)s)
"""
_DROP_REJECTED = """
DELETE FROM rejected_events WHERE id IN (
    SELECT id FROM rejected_events WHERE received_at < to_timestamp(%s) ORDER BY received_at LIMIT %s)
"""


class PostgresRetention:
    """Retention over PostgreSQL."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def expired(self, before: float, limit: int, after: str = "") -> list[tuple[str, int]]:
        with self._pool.unlimited() as connection:  # it looks at all that is old, once a night
            return [(user_id, int(seq)) for user_id, seq in connection.execute(_EXPIRED, (before, after, limit))]

    def keep(self, user_id: str, state: StoredState, now: float) -> bool:
        return self._pool.run(lambda connection: _keep(connection, user_id, state, now))

    def drop(self, user_id: str, limit: int) -> int:
        arguments = {"user": user_id, "limit": limit}
        return self._pool.run(lambda c: c.execute(_DROP, arguments).rowcount)

    def drop_rejected(self, before: float, limit: int) -> int:
        return self._pool.run(lambda c: c.execute(_DROP_REJECTED, (before, limit)).rowcount)


def _keep(connection: Connection, user_id: str, state: StoredState, now: float) -> bool:
    """Under the user's row lock, which is gone with the row when the user is erased."""
    with connection.transaction():
        if connection.execute(_LOCK, (user_id,)).fetchone() is None:
            return False
        found = connection.execute(_ADAPTER, {"user": user_id, "seq": state.seq}).fetchone()
        version, blob, folded, generation = found or (None, None, None, None)
        values: tuple[Any, ...] = (user_id, state.seq, state.blob, version, blob, folded, generation, now)
        return connection.execute(_KEEP, values).rowcount == 1
