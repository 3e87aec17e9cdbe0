"""Rows of patterns: how one is written and read, under which version of the bank, and how one is replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.errors import Conflict
from core.numeric.vectors import Floats
from core.patterns.known import KnownPattern
from core.patterns.store import Changes
from core.stores.postgres.connect import Connection

COLUMNS = """p.pattern_id, p.space, halfvec_send(p.embedding), p.anchors, p.context,
    (SELECT jsonb_object_agg(r.content_id, r.weight) FROM pattern_results r WHERE r.pattern_id = p.pattern_id),
    p.quality, p.confidence, p.size, extract(epoch FROM p.created_at)::float8,
    extract(epoch FROM p.last_used)::float8, p.usage_count,
    p.segment"""
_NEXT = "UPDATE pattern_bank SET version = version + 1 RETURNING version"
_PUT = """
INSERT INTO reasoning_patterns (pattern_id, space, embedding, anchors, context, quality, confidence, size, usage_count,
    segment, created_at, last_used, version)
VALUES (%s, %s, %s::halfvec, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s)
ON CONFLICT (pattern_id) DO UPDATE SET space = excluded.space, embedding = excluded.embedding,
    anchors = excluded.anchors, context = excluded.context, quality = excluded.quality,
    confidence = excluded.confidence, size = excluded.size, usage_count = excluded.usage_count,
    segment = excluded.segment, last_used = excluded.last_used, version = excluded.version
"""
_DROP_RESULTS = "DELETE FROM pattern_results WHERE pattern_id = ANY(%s)"
_PUT_RESULTS = """
INSERT INTO pattern_results (pattern_id, content_id, weight)
SELECT * FROM unnest(%s::text[], %s::text[], %s::float8[])
"""
_REMOVE = "DELETE FROM reasoning_patterns WHERE pattern_id = ANY(%s)"
_REMEMBER_REMOVED = """
INSERT INTO pattern_removals (pattern_id, became, version)
SELECT id, nullif(became, ''), %s FROM unnest(%s::text[], %s::text[]) AS gone (id, became)
ON CONFLICT (pattern_id) DO UPDATE SET became = excluded.became, version = excluded.version, removed_at = now()
"""
_FOLLOW = "UPDATE pattern_sessions SET pattern_id = %s WHERE pattern_id = ANY(%s)"
_NOT_REMOVED = "DELETE FROM pattern_removals WHERE pattern_id = ANY(%s)"


def vector_text(vector: Floats) -> str:
    """pgvector's text form; float16 has no infinity to spare, so values are cut at its largest."""
    return "[" + ",".join(f"{value:.6g}" for value in np.clip(vector, -65504, 65504).tolist()) + "]"


def pattern_from(row: Sequence[Any], similarity: float = 0.0) -> KnownPattern:
    """A pattern from COLUMNS; halfvec_send gives dimensions, two empty bytes, then big-endian halves."""
    pattern_id, space, sent, anchors, context, results, *rest = row
    embedding = np.frombuffer(sent, ">f2", offset=4).astype(np.float32)
    quality, confidence, size, created_at, last_used, usage_count, segment = rest
    return KnownPattern(
        pattern_id, space, embedding, anchors, context, results or {}, quality, confidence, size, created_at, last_used,
        usage_count, segment, similarity,
    )  # fmt: skip


def next_version(connection: Connection) -> int:
    """The version under which this transaction writes; other writers wait until it ends."""
    row = connection.execute(_NEXT, prepare=True).fetchone()
    return int(row[0]) if row else 0


def write(connection: Connection, patterns: Sequence[KnownPattern], version: int) -> None:
    """Insert or replace patterns with their results."""
    if not patterns:
        return
    names = [pattern.pattern_id for pattern in patterns]
    with connection.cursor() as cursor:
        cursor.executemany(_PUT, [_pattern_arguments(pattern, version) for pattern in patterns])
    connection.execute(_NOT_REMOVED, (names,))
    connection.execute(_DROP_RESULTS, (names,))
    edges = [(p.pattern_id, name, float(weight)) for p in patterns for name, weight in p.results.items()]
    if edges:
        connection.execute(_PUT_RESULTS, tuple(map(list, zip(*edges, strict=True))))


def _pattern_arguments(pattern: KnownPattern, version: int) -> tuple[Any, ...]:
    return (
        pattern.pattern_id, pattern.space, vector_text(pattern.embedding), json.dumps(dict(pattern.anchors)),
        json.dumps(pattern.context), pattern.quality, pattern.confidence, pattern.size, pattern.usage_count,
        pattern.segment, pattern.created_at, pattern.last_used, version,
    )  # fmt: skip


def apply(connection: Connection, changes: Changes, read_at: int) -> None:
    """Write what a step wants. Raises Conflict if somebody changed one of its patterns since version `read_at`."""
    version = next_version(connection)
    touched = [*(pattern.pattern_id for pattern in changes.put), *changes.remove]
    late = "SELECT pattern_id FROM reasoning_patterns WHERE pattern_id = ANY(%s) AND version > %s LIMIT 1"
    if connection.execute(late, (touched, read_at)).fetchone():
        raise Conflict("the bank has changed meanwhile")
    if not touched:
        take_back(connection)
        return
    write(connection, changes.put, version)
    remove(connection, changes.remove, version)


def remove(connection: Connection, gone: Mapping[str, str], version: int) -> None:
    """Delete patterns and remember what each became; their sessions follow."""
    names = list(gone)
    connection.execute(_REMOVE, (names,))
    connection.execute(_REMEMBER_REMOVED, (version, names, list(gone.values())))
    heirs: dict[str, list[str]] = {}
    for name, became in gone.items():
        if became:
            heirs.setdefault(became, []).append(name)
    for became, before in heirs.items():
        connection.execute(_FOLLOW, (became, before), prepare=True)


def take_back(connection: Connection) -> None:
    """Take the version back that nothing was written under, so that nobody looks for changes."""
    connection.execute("UPDATE pattern_bank SET version = version - 1")
