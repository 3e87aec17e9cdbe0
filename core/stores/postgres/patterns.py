"""The ReasoningBank in PostgreSQL: patterns with pgvector embeddings, numbered by the bank's version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from core.numeric.vectors import Floats
from core.patterns.known import KnownPattern
from core.patterns.session import Trajectory
from core.patterns.store import BankChanges, Run
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.locks import among_writers
from core.stores.postgres.pattern_rows import COLUMNS, next_version, pattern_from, take_back, vector_text, write
from core.stores.postgres.pattern_run import run_maintenance
from core.stores.pseudonyms import UNKEYED, Pseudonyms

CANDIDATES = 4  # of the index per wanted pattern: HNSW finds approximately, and other spaces are filtered out

_CHANGED = f"""
SELECT {COLUMNS} FROM reasoning_patterns p WHERE p.version > %s AND p.version <= %s ORDER BY p.pattern_id
"""
_REMOVED = "SELECT pattern_id FROM pattern_removals WHERE version > %s AND version <= %s ORDER BY pattern_id"
_BANK = "SELECT version, floor FROM pattern_bank"
_KNOWN_SESSIONS = "SELECT session_id, pattern_id, seq FROM pattern_sessions WHERE session_id = ANY(%s)"
_ERASED = "SELECT user_hash FROM erasures WHERE user_hash = ANY(%s)"
_PUT_SESSION = """
INSERT INTO pattern_sessions
    (session_id, user_id, pattern_id, started_at, ended_at, seq, anchors, circumstances, results)
VALUES (%s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s, %s, %s)
ON CONFLICT (session_id) DO UPDATE SET ended_at = excluded.ended_at, seq = excluded.seq, results = excluded.results,
    circumstances = excluded.circumstances
"""
_ONE = f"SELECT {COLUMNS} FROM reasoning_patterns p WHERE p.pattern_id = %s"
# The cast and the condition are those of the index on vectors of this many dimensions.
_NEAREST = f"""
SELECT {COLUMNS}, 1 - (p.embedding::halfvec(DIMS) <=> %s::halfvec(DIMS)) FROM (
    SELECT * FROM reasoning_patterns WHERE vector_dims(embedding) = DIMS
    ORDER BY embedding::halfvec(DIMS) <=> %s::halfvec(DIMS) LIMIT %s) AS p
WHERE p.space = %s ORDER BY 14 DESC, 1 LIMIT %s
"""
_LOOK_AT = "SELECT set_config('hnsw.ef_search', %s, true)"
_RUNS = """
SELECT kind, dry_run, status, extract(epoch FROM started_at)::float8, extract(epoch FROM finished_at)::float8,
       extract(epoch FROM as_of)::float8, steps
FROM pattern_runs ORDER BY id DESC LIMIT %s
"""


class PostgresPatterns:
    """Patterns over PostgreSQL. See core.patterns.store."""

    def __init__(self, pool: ConnectionPool, pseudonyms: Pseudonyms = UNKEYED) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    def add(self, sessions: Sequence[tuple[Trajectory, KnownPattern]]) -> int:
        if not sessions:
            return 0
        users = sorted({trajectory.user_id for trajectory, _ in sessions})
        tombstones = {tombstone: user for user in users for tombstone in self._pseudonyms.all_of(user)}
        return self._pool.run(lambda connection: _add(connection, sessions, tombstones))

    def put(self, pattern: KnownPattern) -> bool:
        return self._pool.run(lambda connection: _put_one(connection, pattern))

    def changes(self, since: int) -> BankChanges:
        return self._pool.run(lambda connection: _changes(connection, since), prompt=since > 0)

    def nearest(self, space: str, query: Floats, limit: int) -> list[KnownPattern]:
        statement = _NEAREST.replace("DIMS", str(len(query)))
        text = vector_text(query)
        arguments = (text, text, CANDIDATES * limit, space, limit)

        def search(connection: Connection) -> list[KnownPattern]:
            with connection.pipeline():  # one round trip
                connection.execute("BEGIN")
                connection.execute(_LOOK_AT, (str(min(max(CANDIDATES * limit, 40), 1000)),))
                found = connection.execute(statement, arguments, prepare=True)
                connection.execute("COMMIT")
                rows = found.fetchall()
            return [pattern_from(row[:-1], row[-1]) for row in rows]

        return self._pool.run(search)

    def size(self) -> int:
        row = self._pool.run(lambda c: c.execute("SELECT count(*) FROM reasoning_patterns").fetchone())
        return int(row[0]) if row else 0

    @contextmanager
    def maintenance(self, kind: str, now: float, dry_run: bool) -> Iterator[Any]:
        with self._pool.unlimited() as connection, run_maintenance(connection, kind, now, dry_run) as run:
            yield run

    def runs(self, limit: int) -> list[Run]:
        return [Run(*row) for row in self._pool.run(lambda c: c.execute(_RUNS, (limit,)).fetchall())]


def _changes(connection: Connection, since: int) -> BankChanges:
    with connection.transaction():
        version, floor = connection.execute(_BANK).fetchone() or (0, 0)
        whole = since < floor or since == 0 or since > version
        after = 0 if whole else since
        put = [pattern_from(row) for row in connection.execute(_CHANGED, (after, version)).fetchall()]
        gone = [] if whole else [name for (name,) in connection.execute(_REMOVED, (after, version)).fetchall()]
    return BankChanges(version, put, gone, whole)


def _add(
    connection: Connection, sessions: Sequence[tuple[Trajectory, KnownPattern]], tombstones: Mapping[bytes, str]
) -> int:
    latest = {trajectory.session_id: (trajectory, pattern) for trajectory, pattern in sessions}
    with connection.transaction():
        among_writers(connection, sorted(set(tombstones.values())))
        version = next_version(connection)
        known = {row[0]: row[1:] for row in connection.execute(_KNOWN_SESSIONS, (list(latest),)).fetchall()}
        erased = {tombstones[row[0]] for row in connection.execute(_ERASED, (list(tombstones),)).fetchall()}
        fresh = [
            (trajectory, pattern)
            for name, (trajectory, pattern) in latest.items()
            if trajectory.user_id not in erased
            and (name not in known or (known[name][0] == pattern.pattern_id and known[name][1] < trajectory.seq))
        ]
        for trajectory, pattern in fresh:
            connection.execute(_PUT_SESSION, _session_arguments(trajectory, pattern), prepare=True)
        write(connection, [pattern for _, pattern in fresh], version)
        if not fresh:
            take_back(connection)
    return len(fresh)


def _session_arguments(trajectory: Trajectory, pattern: KnownPattern) -> tuple[Any, ...]:
    return (
        trajectory.session_id, trajectory.user_id, pattern.pattern_id, trajectory.started_at, trajectory.ended_at,
        trajectory.seq, json.dumps(dict(trajectory.anchors)), json.dumps(dict(trajectory.circumstances)),
        json.dumps(dict(trajectory.results)),
    )  # fmt: skip


def _put_one(connection: Connection, pattern: KnownPattern) -> bool:
    with connection.transaction():
        version = next_version(connection)
        row = connection.execute(_ONE, (pattern.pattern_id,)).fetchone()
        same = row is not None and equal(pattern_from(row), pattern)
        if same:
            take_back(connection)
        else:
            write(connection, [pattern], version)
    return not same


def equal(stored: KnownPattern, pattern: KnownPattern) -> bool:
    """Whether a pattern is stored just so, but for the times and the rounding of its embedding."""
    return (
        stored.space == pattern.space
        and np.allclose(stored.embedding, pattern.embedding, atol=2e-3)
        and (stored.results, stored.anchors, stored.context) == (pattern.results, pattern.anchors, pattern.context)
        and (stored.quality, stored.size, stored.segment) == (pattern.quality, pattern.size, pattern.segment)
    )
