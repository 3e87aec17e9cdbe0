"""Titles, availability and typed relationships in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from core.catalog import RelationshipType, Title, content_hash, content_key, title_from_record, title_to_record
from core.errors import InvalidInput
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.ways import ways
from core.stores.protocols import Way

TITLES_PER_BATCH = 500
EDGES_PER_BATCH = 5000

_UPSERT_CONTENT = """
INSERT INTO content (content_id, content_key, doc, content_hash)
SELECT id, key, doc::jsonb, hash
FROM unnest(%(ids)s::text[], %(keys)s::bigint[], %(docs)s::text[], %(hashes)s::text[]) AS new (id, key, doc, hash)
ON CONFLICT (content_id) DO UPDATE
SET doc = excluded.doc, content_hash = excluded.content_hash, updated_at = now()
WHERE content.content_hash <> excluded.content_hash
RETURNING content_id
"""
_WINDOWS = """
SELECT id, service, region, to_timestamp(added) AS added_at, to_timestamp(expires) AS expires_at
FROM unnest(%(ids)s::text[], %(services)s::text[], %(regions)s::text[], %(added)s::float8[], %(expires)s::float8[])
     AS new (id, service, region, added, expires)
"""
_DROP_WINDOWS = f"""
DELETE FROM availability old
WHERE old.content_id = ANY(%(titles)s) AND NOT EXISTS (
    SELECT FROM ({_WINDOWS}) AS new
    WHERE (new.id, new.service, new.region, new.added_at) = (old.content_id, old.service, old.region, old.added_at))
RETURNING old.content_id
"""
_UPSERT_WINDOWS = f"""
INSERT INTO availability (content_id, service, region, added_at, expires_at)
{_WINDOWS}
ON CONFLICT (content_id, service, region, added_at) DO UPDATE SET expires_at = excluded.expires_at
WHERE availability.expires_at IS DISTINCT FROM excluded.expires_at
RETURNING content_id
"""
_TITLES = """
SELECT c.content_id, c.doc, (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'service', a.service, 'region', a.region, 'added_at', extract(epoch FROM a.added_at),
        'expires_at', extract(epoch FROM a.expires_at)) ORDER BY a.service, a.region, a.added_at), '[]')
    FROM availability a WHERE a.content_id = c.content_id)
FROM content c WHERE c.content_id > %s ORDER BY c.content_id LIMIT %s
"""
_EXISTS = "SELECT content_id FROM content WHERE content_id = ANY(%s)"
_UPSERT_EDGES = """
INSERT INTO content_relationships (source_id, target_id, type, weight)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[])
ON CONFLICT (source_id, target_id, type) DO UPDATE SET weight = excluded.weight
WHERE content_relationships.weight <> excluded.weight
"""
_REINFORCED = "SELECT source_id, target_id, type, reinforcement FROM content_relationships WHERE reinforcement <> 1"

T = TypeVar("T")


class PostgresCatalog:
    """Catalog over PostgreSQL."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def upsert(self, titles: Iterable[Title]) -> int:
        """See Catalog. A title counts once, whether its facts, its availability or both changed."""
        changed = 0
        for batch in _batches(titles, TITLES_PER_BATCH):
            latest = list({title.content_id: title for title in batch}.values())
            changed += self._pool.run(lambda connection, latest=latest: _upsert(connection, latest))  # type: ignore[misc]
        return changed

    def titles(self) -> Iterator[Title]:
        """All titles by id, in pages; availability ordered by service, region and time."""
        last = ""
        while True:
            page = (last, TITLES_PER_BATCH)
            rows = self._pool.run(lambda c, page=page: c.execute(_TITLES, page).fetchall())  # type: ignore[misc]
            for _, doc, availability in rows:
                yield title_from_record({**doc, "availability": availability})
            if len(rows) < TITLES_PER_BATCH:
                return
            last = rows[-1][0]

    def exists(self, content_ids: Sequence[str]) -> set[str]:
        rows = self._pool.run(lambda c: c.execute(_EXISTS, (list(content_ids),), prepare=True).fetchall())
        return {content_id for (content_id,) in rows}

    def put_relationships(self, edges: Iterable[tuple[str, str, str, float]]) -> int:
        """See Catalog. Returns how many rows were new or got another weight; InvalidInput for an unknown type."""
        changed = 0
        for batch in _batches(edges, EDGES_PER_BATCH):
            weights = {edge[:3]: float(edge[3]) for edge in batch}
            if unknown := {kind for _, _, kind in weights} - set(RelationshipType):
                raise InvalidInput(f"not a type of relationship: {', '.join(sorted(unknown))}")
            columns = [*map(list, zip(*weights, strict=True)), list(weights.values())]
            changed += self._pool.run(lambda c, columns=columns: c.execute(_UPSERT_EDGES, columns).rowcount)  # type: ignore[misc]
        return changed

    def ways(self, content_id: str, via: Sequence[str], hops: int) -> list[Way]:
        return self._pool.run(lambda c: ways(c, content_id, via, hops))

    def reinforcements(self) -> dict[tuple[str, str, str], float]:
        rows = self._pool.run(lambda c: c.execute(_REINFORCED).fetchall())
        return {(source, target, kind): factor for source, target, kind, factor in rows}


def _upsert(connection: Connection, titles: Sequence[Title]) -> int:
    windows = _window_arguments(titles)
    with connection.transaction():
        changed = connection.execute(_UPSERT_CONTENT, _content_arguments(titles)).fetchall()
        changed += connection.execute(_DROP_WINDOWS, windows).fetchall()
        changed += connection.execute(_UPSERT_WINDOWS, windows).fetchall()
    return len(set(changed))


def _content_arguments(titles: Sequence[Title]) -> dict[str, Any]:
    docs = [
        {name: value for name, value in title_to_record(title).items() if name != "availability"} for title in titles
    ]
    keys = [content_key(title.content_id) for title in titles]
    return {
        "ids": [title.content_id for title in titles],
        "keys": [key - (1 << 64) if key >> 63 else key for key in keys],  # bigint is signed
        "docs": [json.dumps(doc) for doc in docs],
        "hashes": [content_hash(title) for title in titles],
    }


def _window_arguments(titles: Sequence[Title]) -> dict[str, Any]:
    windows = {
        (title.content_id, entry.service, entry.region, entry.added_at): entry.expires_at
        for title in titles
        for entry in title.availability
    }
    ids, services, regions, added = ([key[place] for key in windows] for place in range(4))
    return {
        "titles": [title.content_id for title in titles],
        "ids": ids,
        "services": services,
        "regions": regions,
        "added": added,
        "expires": list(windows.values()),
    }


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch
