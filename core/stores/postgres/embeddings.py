"""Vectors of titles in PostgreSQL with pgvector, several model versions side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from psycopg.sql import SQL, Composed, Literal

from core.catalog import title_from_record
from core.errors import InvalidInput
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.protocols import Coverage, PendingTitle

ROWS_PER_FETCH = 2000
MAX_NEAREST = 1000  # what pgvector's hnsw.ef_search allows, and nothing is found beyond it
_PUBLISHING = 0x50AA_E3BE_DD11  # advisory lock of whoever publishes vectors

_IS_CURRENT = "(e.model_version, e.content_id, e.content_hash) = (%(version)s, c.content_id, c.content_hash)"
_PENDING = f"""
SELECT c.content_id, c.doc, c.content_hash FROM content c
WHERE c.content_id > %(after)s
  AND mod(mod(c.content_key, %(shards)s) + %(shards)s, %(shards)s) = %(shard)s
  AND NOT EXISTS (SELECT FROM content_embeddings e WHERE {_IS_CURRENT})
ORDER BY c.content_id LIMIT %(limit)s
"""
# A title that was erased meanwhile is left out; one that changed meanwhile keeps the hash of what was embedded.
_PUT = """
INSERT INTO content_embeddings (model_version, content_id, content_hash, embedding)
SELECT %s, content_id, %s, %s::real[]::halfvec FROM content WHERE content_id = %s
ON CONFLICT (model_version, content_id) DO UPDATE
SET content_hash = excluded.content_hash, embedding = excluded.embedding, generated_at = now()
WHERE content_embeddings.content_hash <> excluded.content_hash
"""
_COVERAGE = f"""
SELECT count(*), count(e.content_id), count(e.content_id) FILTER (WHERE {_IS_CURRENT}),
       coalesce(bit_xor(hashtextextended(e.content_id || ' ' || e.content_hash, 0)), 0)
FROM content c LEFT JOIN content_embeddings e ON (e.model_version, e.content_id) = (%(version)s, c.content_id)
"""
_VERSIONS = "SELECT model_version FROM content_embeddings GROUP BY 1 ORDER BY max(generated_at) DESC"
_VECTORS = "SELECT content_id, halfvec_send(embedding) FROM content_embeddings WHERE model_version = %s"
_DIMS = "SELECT vector_dims(embedding) FROM content_embeddings WHERE model_version = %s LIMIT 1"
_INDEX = """
CREATE INDEX IF NOT EXISTS {name} ON content_embeddings
USING hnsw ((embedding::halfvec({dims})) halfvec_cosine_ops) WHERE model_version = {version}
"""
# Literals, not parameters: a prepared statement's plan would not know that the partial index applies.
_NEAREST = """
SELECT content_id, 1 - (embedding::halfvec({dims}) <=> {query}::real[]::halfvec({dims})) FROM content_embeddings
WHERE model_version = {version}
ORDER BY embedding::halfvec({dims}) <=> {query}::real[]::halfvec({dims}) LIMIT {limit}
"""


class PostgresEmbeddings:
    """Embeddings over PostgreSQL."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def pending(self, version: str, shard: int, shards: int, after: str, limit: int) -> list[PendingTitle]:
        """See Embeddings."""
        if not 0 <= shard < shards:
            raise InvalidInput(f"there is no shard {shard} of {shards}")
        arguments = {"version": version, "shard": shard, "shards": shards, "after": after, "limit": limit}
        rows = self._pool.run(lambda c: c.execute(_PENDING, arguments).fetchall())
        return [PendingTitle(title_from_record(doc), content_hash) for _, doc, content_hash in rows]

    def put(self, version: str, titles: Sequence[PendingTitle], vectors: NDArray[np.float32]) -> int:
        """See Embeddings."""
        rows = [
            (version, pending.content_hash, vector.tolist(), pending.title.content_id)
            for pending, vector in zip(titles, vectors, strict=True)
        ]
        return self._pool.run(lambda connection: _put(connection, rows))

    def coverage(self, version: str) -> Coverage:
        """See Embeddings."""
        row = self._pool.run(lambda c: c.execute(_COVERAGE, {"version": version}).fetchone())
        titles, embedded, current, digest = row or (0, 0, 0, 0)
        return Coverage(titles, embedded, current, f"{embedded}-{digest & (2**64 - 1):016x}")

    def versions(self) -> list[str]:
        """See Embeddings."""
        return [version for (version,) in self._pool.run(lambda c: c.execute(_VERSIONS).fetchall())]

    def vectors(self, version: str) -> Iterator[tuple[str, NDArray[np.float16]]]:
        """See Embeddings."""
        with (
            self._pool.unlimited() as connection,
            connection.transaction(),
            connection.cursor("vectors", binary=True) as cursor,
        ):
            cursor.itersize = ROWS_PER_FETCH
            for content_id, data in cursor.execute(_VECTORS, (version,)):
                yield content_id, np.frombuffer(data, ">f2", offset=4).astype(np.float16)  # after two uint16

    def index(self, version: str) -> None:
        """See Embeddings."""
        with self._pool.unlimited() as connection:
            if (dims := _dims(connection, version)) is not None:
                name = f"content_embeddings_hnsw_{hashlib.sha256(version.encode()).hexdigest()[:12]}"
                parts = {"name": SQL(name), "dims": Literal(dims), "version": Literal(version)}
                connection.execute(SQL(_INDEX).format(**parts))

    def nearest(self, version: str, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """See Embeddings."""
        k = min(k, MAX_NEAREST)

        def work(connection: Connection) -> list[tuple[str, float]]:
            with connection.transaction():
                connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", (str(max(k, 40)),))
                rows = connection.execute(nearest_statement(version, vector, k)).fetchall()
            return [(content_id, float(similarity)) for content_id, similarity in rows]

        return self._pool.run(work)

    @contextmanager
    def publishing(self) -> Iterator[bool]:
        """See Embeddings. The lock goes with the connection, so a killed job leaves none behind."""
        with self._pool.unlimited() as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_PUBLISHING,)).fetchone()
            yield bool(row and row[0])


def nearest_statement(version: str, vector: NDArray[np.float32], k: int) -> Composed:
    """The k titles of a version with the largest cosine to `vector` (d,), for an index that can only be used with
    d and the version spelled out."""
    parts = {"dims": len(vector), "query": [float(value) for value in vector], "version": version, "limit": k}
    return SQL(_NEAREST).format(**{name: Literal(value) for name, value in parts.items()})


def _put(connection: Connection, rows: Sequence[tuple[object, ...]]) -> int:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_PUT, rows)
        return cursor.rowcount


def _dims(connection: Connection, version: str) -> int | None:
    row = connection.execute(_DIMS, (version,)).fetchone()
    return int(row[0]) if row else None
