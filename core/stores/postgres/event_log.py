"""The event log and the user states folded from it: the truth."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.errors import InvalidInput
from core.interaction import Event, Interaction, InteractionType, Onboarding, from_record, signal_strength, to_record
from core.stores.deadline import remaining_s
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.locks import among_writers
from core.stores.protocols import Appended, Due, Fold, SequencedEvent, StoredState
from core.stores.pseudonyms import UNKEYED, Pseudonyms

PAGE = 1000  # events per round trip of a replay
MOST_TITLES = 200_000  # that are counted anew: what nobody has heard of is of no use, and callers can make up any
MOST_EVENTS = 1_000_000  # the latest, that are counted anew: older ones weigh less

# Types that are positive whatever their details; ratings and progress depend on theirs (signal_strength).
_ALWAYS_POSITIVE = [str(kind) for kind in InteractionType if signal_strength(Interaction("", "", "", kind, 0.0)) > 0]
_POSITIVE = f"""(
    type IN ({", ".join(f"'{kind}'" for kind in _ALWAYS_POSITIVE)})
    OR (type = '{InteractionType.RATING_EXPLICIT}' AND (payload ->> 'rating')::float8 > 3)
    OR (type = '{InteractionType.WATCH_PROGRESS}' AND (payload ->> 'progress')::float8 > 0)
)"""

CREATE_STATE = "INSERT INTO user_states (user_id) VALUES (%s) ON CONFLICT DO NOTHING"
_LOCK_STATE = "SELECT version, seq, state, adaptation_due FROM user_states WHERE user_id = %s FOR NO KEY UPDATE"
# A statement of its own after the lock, so that its snapshot has what the previous holder wrote; a null means "erased".
_KNOWN = """
SELECT event_id FROM interactions WHERE user_id = %s AND event_id = ANY(%s)
UNION ALL SELECT NULL FROM erasures WHERE user_hash = ANY(%s)
"""
_INSERT = """
INSERT INTO interactions (user_id, event_id, seq, type, content_id, occurred_at, payload)
SELECT %s, event_id, seq, type, content_id, to_timestamp(occurred_at), payload::jsonb
FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::float8[], %s::text[])
     AS new (event_id, seq, type, content_id, occurred_at, payload)
"""
_SAVE_STATE = """
UPDATE user_states SET version = %s, seq = %s, state = %s, adaptation_due = %s, updated_at = now() WHERE user_id = %s
"""
_LOAD_STATE = "SELECT version, seq, state FROM user_states WHERE user_id = %s AND version > 0"
# Nothing changed, so there is no disk to wait for. (ROLLBACK would make the driver forget its prepared statements.)
DO_NOT_WAIT = "SET LOCAL synchronous_commit = off"
DROP_CREATED = "DELETE FROM user_states WHERE user_id = %s AND version = 0"
_EVENTS = "SELECT seq, payload FROM interactions WHERE user_id = %s AND seq > %s ORDER BY seq LIMIT %s"
_LATEST = """
SELECT seq, payload FROM interactions WHERE user_id = %s AND type <> 'impression' ORDER BY seq DESC LIMIT %s
"""
_CHECKPOINT = "SELECT seq, state FROM checkpoints WHERE user_id = %s"
_REJECT = """
INSERT INTO rejected_events (message_id, reason, payload, user_hash) SELECT %s, %s, %s, %s
WHERE NOT EXISTS (SELECT FROM erasures WHERE user_hash = ANY(%s)) ON CONFLICT DO NOTHING
"""
_MARK_STALE = "UPDATE user_states SET hot_stale_at = coalesce(hot_stale_at, now()) WHERE user_id = %s"
_STALE = """
SELECT user_id, version, seq, state FROM user_states
WHERE hot_stale_at IS NOT NULL AND version > 0 ORDER BY hot_stale_at LIMIT %s
"""
_CLEAR_STALE = "UPDATE user_states SET hot_stale_at = NULL WHERE user_id = %s AND version <= %s"
# A clock ahead of ours counts as now; the floor keeps power() from underflowing, which PostgreSQL reports as an error.
_POPULARITY = f"""
SELECT content_id, sum(power(2.0::float8,
           greatest(least(extract(epoch FROM occurred_at)::float8 - %(now)s, 0) / %(half_life)s, -1000)))
FROM (
    SELECT content_id, min(occurred_at) AS occurred_at
    FROM (
        SELECT user_id, content_id, occurred_at FROM interactions
        WHERE occurred_at >= to_timestamp(%(since)s) AND content_id IS NOT NULL AND {_POSITIVE}
        ORDER BY occurred_at DESC LIMIT {MOST_EVENTS}
    ) AS latest
    GROUP BY user_id, content_id
) AS liked
GROUP BY content_id ORDER BY 2 DESC LIMIT {MOST_TITLES}
"""
_OUTCOMES = f"""
SELECT content_id, shown, sum(power(2.0::float8,
           greatest(least(extract(epoch FROM occurred_at)::float8 - %(now)s, 0) / %(half_life)s, -1000)))
FROM (
    SELECT content_id, shown, min(occurred_at) AS occurred_at
    FROM (
        SELECT user_id, event_id, content_id, type = 'impression' AS shown, occurred_at FROM interactions
        WHERE occurred_at >= to_timestamp(%(since)s) AND content_id IS NOT NULL
              AND ((type = 'impression' AND (payload ->> 'strategy') IS NOT NULL)
                   OR ((payload ->> 'request_id') IS NOT NULL AND {_POSITIVE}))
        ORDER BY occurred_at DESC LIMIT {MOST_EVENTS}
    ) AS latest
    GROUP BY user_id, content_id, shown, CASE WHEN shown THEN event_id END
) AS told
GROUP BY content_id, shown ORDER BY 3 DESC LIMIT {2 * MOST_TITLES}
"""
_EVIDENCE = "SELECT payload FROM interactions WHERE type <> 'impression' ORDER BY user_id, occurred_at, seq"


class PostgresEventLog:
    """EventLog over PostgreSQL. Two round trips per append: lock and insert; save and commit."""

    def __init__(self, pool: ConnectionPool, pseudonyms: Pseudonyms = UNKEYED) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    def append(self, user_id: str, events: Sequence[Event], fold: Fold, due: Due | None = None) -> Appended:
        """See EventLog. `fold` and `due` may run twice when the connection broke; what they raise undoes everything."""
        distinct: dict[str, Event] = {}
        for event in events:
            distinct.setdefault(event.event_id, event)
        tombstones = self._pseudonyms.all_of(user_id)
        new = [*distinct.values()]
        return self._pool.run(lambda connection: _append(connection, user_id, new, fold, due, tombstones))

    def load_state(self, user_id: str) -> StoredState | None:
        query = (_LOAD_STATE, (user_id,))
        row = self._pool.run(lambda c: c.execute(*query, prepare=True, binary=True).fetchone(), prompt=True)
        return StoredState(version=row[0], seq=row[1], blob=row[2]) if row else None

    def events(self, user_id: str, after_seq: int = 0) -> Iterator[SequencedEvent]:
        """In pages, so a long history neither fills memory nor holds a connection while the caller works."""
        while True:
            page = (user_id, after_seq, PAGE)
            rows = self._pool.run(lambda c, page=page: c.execute(_EVENTS, page, prepare=True).fetchall())  # type: ignore[misc]
            for seq, payload in rows:
                yield SequencedEvent(seq, from_record(payload))
            if len(rows) < PAGE:
                return
            after_seq = rows[-1][0]

    def latest(self, user_id: str, limit: int) -> list[SequencedEvent]:
        rows = self._pool.run(lambda c: c.execute(_LATEST, (user_id, limit), prepare=True).fetchall())
        return [SequencedEvent(seq, from_record(payload)) for seq, payload in reversed(rows)]

    def checkpoint(self, user_id: str) -> StoredState | None:
        row = self._pool.run(lambda c: c.execute(_CHECKPOINT, (user_id,), binary=True).fetchone())
        return StoredState(version=0, seq=row[0], blob=row[1]) if row else None

    def reject(self, reason: str, payload: bytes, message_id: str, user_id: str = "") -> None:
        hashes = self._pseudonyms.all_of(user_id) if user_id else []
        row = (message_id, reason, payload, hashes[0] if hashes else None, hashes)
        self._pool.run(lambda connection: _reject(connection, user_id, row))

    def mark_hot_stale(self, user_id: str) -> None:
        self._pool.run(lambda c: c.execute(_MARK_STALE, (user_id,)))

    def stale_hot(self, limit: int) -> list[tuple[str, StoredState]]:
        rows = self._pool.run(lambda c: c.execute(_STALE, (limit,), binary=True).fetchall())
        return [(user_id, StoredState(version=version, seq=seq, blob=blob)) for user_id, version, seq, blob in rows]

    def clear_hot_stale(self, user_id: str, version: int) -> None:
        self._pool.run(lambda c: c.execute(_CLEAR_STALE, (user_id, version)))

    def popularity(self, since: float, half_life_s: float, now: float) -> dict[str, float]:
        arguments = {"since": since, "half_life": half_life_s, "now": now}
        return dict(self._pool.run(lambda connection: _counted(connection, _POPULARITY, arguments)))

    def outcomes(self, since: float, half_life_s: float, now: float) -> tuple[dict[str, float], dict[str, float]]:
        arguments = {"since": since, "half_life": half_life_s, "now": now}
        rows = self._pool.run(lambda connection: _counted(connection, _OUTCOMES, arguments))
        shown, liked = ({name: count for name, kind, count in rows if kind is wanted} for wanted in (True, False))
        return shown, liked

    def evidence(self) -> Iterator[Event]:
        with self._pool.unlimited() as connection, connection.transaction(), connection.cursor("evidence") as cursor:
            cursor.itersize = 5 * PAGE
            cursor.execute(_EVIDENCE)
            for (payload,) in cursor:
                yield from_record(payload)


def _counted(connection: Connection, statement: str, arguments: Mapping[str, float]) -> list[tuple[Any, ...]]:
    """The rows; Declined when counting takes more than half of the time that a request has left: the server itself ends
    it, because a wait that the client ends looks like a server that is gone."""
    left_s = remaining_s()
    with connection.transaction():
        if left_s < math.inf:
            limit_ms = str(max(round(left_s * 500), 1))
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (limit_ms,))
        return connection.execute(statement, arguments).fetchall()


def _reject(connection: Connection, user_id: str, row: Sequence[object]) -> None:
    with connection.transaction():
        if user_id:
            among_writers(connection, [user_id])
        connection.execute(_REJECT, row)


def _append(
    connection: Connection,
    user_id: str,
    events: Sequence[Event],
    fold: Fold,
    due: Due | None,
    tombstones: Sequence[bytes],
) -> Appended:
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute(CREATE_STATE, (user_id,), prepare=True)
        locked = connection.execute(_LOCK_STATE, (user_id,), prepare=True, binary=True)
        found = connection.execute(_KNOWN, (user_id, [e.event_id for e in events], tombstones), prepare=True)
        version, seq, blob, marked = locked.fetchone() or (0, 0, b"", False)  # the first round trip ends here
        before = StoredState(version=version, seq=seq, blob=blob) if version else None
        known = {event_id for (event_id,) in found.fetchall()}
        unknown = [event for event in events if event.event_id not in known]
        if None in known or not unknown:
            connection.execute(DO_NOT_WAIT)
            connection.execute(DROP_CREATED, (user_id,), prepare=True)
            connection.execute("COMMIT")
            return Appended((), None) if None in known else Appended((), before, marked)
        new = tuple(SequencedEvent(seq + place, event) for place, event in enumerate(unknown, 1))
        state = StoredState(blob=fold(before, new), version=version + 1, seq=new[-1].seq)
        marked = marked or (due is not None and due(state.blob))
        connection.execute(_INSERT, _columns(user_id, new), prepare=True)
        connection.execute(_SAVE_STATE, (state.version, state.seq, state.blob, marked, user_id), prepare=True)
        connection.execute("COMMIT")
    return Appended(new, state, marked)


def _columns(user_id: str, new: Sequence[SequencedEvent]) -> tuple[object, ...]:
    events = [entry.event for entry in new]
    records = [to_record(event) for event in events]
    try:
        payloads = [json.dumps(record, allow_nan=False) for record in records]
    except ValueError as error:
        raise InvalidInput(f"an event holds a number that JSON cannot: {error}") from error
    return (
        user_id,
        [event.event_id for event in events],
        [entry.seq for entry in new],
        [record["type"] for record in records],
        [None if isinstance(event, Onboarding) else event.content_id for event in events],
        [event.occurred_at for event in events],
        payloads,
    )
