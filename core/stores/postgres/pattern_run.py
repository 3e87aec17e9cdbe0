"""One run of the bank's maintenance in PostgreSQL: a lock for the run, a transaction for every step, a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from core.errors import Conflict
from core.interaction import Interaction, InteractionType, signal_strength
from core.patterns.known import KnownPattern
from core.patterns.session import Trajectory
from core.patterns.store import Applications, BankView, Changes, StoredSession
from core.stores.postgres import pattern_rows as rows
from core.stores.postgres.connect import Connection
from core.stores.postgres.locks import among_all

LOCK = 0x534F4E41_50415454  # "SONAPATT": held by the run that maintains the bank
ATTEMPTS = 5  # at a step whose patterns somebody else changes meanwhile
SUCCESS_S = 86_400.0  # after an answer, within which its titles may prove right or wrong

_POSITIVE_TYPES = [str(kind) for kind in InteractionType if signal_strength(Interaction("", "", "", kind, 0.0)) > 0]
_NEGATIVE_TYPES = [str(InteractionType.DISLIKE), str(InteractionType.SKIP_CONTENT)]
_START = """
INSERT INTO pattern_runs (kind, dry_run, status, as_of) VALUES (%s, %s, 'running', to_timestamp(%s)) RETURNING id
"""
_ABANDONED = "UPDATE pattern_runs SET status = 'interrupted', finished_at = now() WHERE status = 'running'"
_REPORT = "UPDATE pattern_runs SET steps = %s WHERE id = %s"
_FINISH = "UPDATE pattern_runs SET steps = %s, status = 'finished', finished_at = clock_timestamp() WHERE id = %s"
_ALL = f"SELECT {rows.COLUMNS} FROM reasoning_patterns p ORDER BY p.pattern_id"
_SESSIONS = """
SELECT session_id, user_id, extract(epoch FROM started_at)::float8, extract(epoch FROM ended_at)::float8, seq, anchors,
       circumstances, results, pattern_id
FROM pattern_sessions WHERE ended_at >= to_timestamp(%s) ORDER BY session_id
"""
# An answer is one application of each pattern that lifted a title in it, however many titles that were.
_USES = """
WITH shown AS (
    SELECT i.user_id, i.payload ->> 'request_id' AS request_id, i.payload ->> 'pattern_id' AS pattern_id,
           i.content_id, i.occurred_at
    FROM interactions i
    WHERE i.payload ? 'pattern_id' AND i.type = 'impression' AND i.received_at > %(after)s AND i.received_at <= %(upto)s
), judged AS (
    SELECT s.user_id, s.request_id, s.pattern_id, max(s.occurred_at) AS at,
           bool_or(e.type = ANY(%(good)s) OR (e.type = 'rating_explicit' AND (e.payload ->> 'rating')::float8 > 3)
                   OR (e.type = 'watch_progress' AND (e.payload ->> 'progress')::float8 > 0.5)) AS good,
           bool_or(e.type = ANY(%(bad)s)
                   OR (e.type = 'rating_explicit' AND (e.payload ->> 'rating')::float8 < 3)) AS bad
    FROM shown s LEFT JOIN interactions e ON e.user_id = s.user_id AND e.content_id = s.content_id
        AND e.type <> 'impression' AND e.occurred_at >= s.occurred_at
        AND e.occurred_at < s.occurred_at + make_interval(secs => %(within)s)
    GROUP BY s.user_id, s.request_id, s.pattern_id
)
SELECT j.pattern_id, coalesce(m.segment, ''), count(*), count(*) FILTER (WHERE j.good),
       count(*) FILTER (WHERE j.bad AND NOT coalesce(j.good, false)), extract(epoch FROM max(j.at))::float8
FROM judged j LEFT JOIN pattern_members m ON m.user_id = j.user_id
GROUP BY 1, 2 ORDER BY 1, 2
"""
_WINDOW = "SELECT counted_until, clock_timestamp() - make_interval(secs => %s) FROM pattern_bank FOR UPDATE"
_COUNTED = "UPDATE pattern_bank SET counted_until = greatest(counted_until, %s)"
_ADD_UP = """
INSERT INTO pattern_applications AS a (pattern_id, segment, applications, successes, failures)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (pattern_id, segment) DO UPDATE SET applications = a.applications + excluded.applications,
    successes = a.successes + excluded.successes, failures = a.failures + excluded.failures
"""
_HEIRS = "SELECT pattern_id, coalesce(became, '') FROM pattern_removals"
_APPLICATIONS = """
SELECT pattern_id, segment, applications, successes, failures FROM pattern_applications ORDER BY pattern_id, segment
"""
_FORGET_REMOVALS = "DELETE FROM pattern_removals WHERE removed_at < to_timestamp(%s) RETURNING version"
_RAISE_FLOOR = "UPDATE pattern_bank SET floor = greatest(floor, %s)"
_FORGET_SESSIONS = "DELETE FROM pattern_sessions WHERE ended_at < to_timestamp(%s)"
_FORGET_APPLICATIONS = """
DELETE FROM pattern_applications a WHERE NOT EXISTS (
    SELECT FROM reasoning_patterns p WHERE p.pattern_id = a.pattern_id)
"""
# Whoever was erased since their sessions were read has none any more.
_PUT_MEMBERS = """
INSERT INTO pattern_members (user_id, segment) SELECT * FROM unnest(%s::text[], %s::text[]) AS new (user_id, segment)
WHERE EXISTS (SELECT FROM pattern_sessions s WHERE s.user_id = new.user_id)
"""
# A relationship that nobody walks falls back to what the build gave it (reinforcement 1).
_REINFORCED = "SELECT extract(epoch FROM reinforced_until)::float8 FROM pattern_bank FOR UPDATE"
_REINFORCED_UNTIL = "UPDATE pattern_bank SET reinforced_until = to_timestamp(%s)"
_FADE_EDGES = """
UPDATE content_relationships
SET reinforcement = CASE WHEN abs(reinforcement - 1) < 0.001 THEN 1 ELSE 1 + (reinforcement - 1) * %s END
WHERE reinforcement <> 1
"""
_WALK_EDGES = """
UPDATE content_relationships e
SET reinforcement = least(%(highest)s, e.reinforcement + %(rate)s * w.times)
FROM (
    SELECT anchor AS source, liked.key AS target, count(*) AS times
    FROM pattern_sessions s, jsonb_object_keys(s.anchors) AS anchor, jsonb_each(s.results) AS liked
    WHERE s.ended_at > to_timestamp(%(after)s) AND s.ended_at <= to_timestamp(%(upto)s) AND liked.value::float8 > 0
    GROUP BY 1, 2) AS w
WHERE e.source_id = w.source AND e.target_id = w.target AND e.reinforcement < %(highest)s
"""
HIGHEST_REINFORCEMENT = 2.0
DAY_S = 86_400.0


@contextmanager
def run_maintenance(connection: Connection, kind: str, now: float, dry_run: bool) -> Iterator[PostgresRun]:
    """Wait for the run before, begin one, and close its report. The lock goes with the connection, so a killed run
    holds nobody up; its report says that it was interrupted."""
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    connection.execute(_ABANDONED)
    row = connection.execute(_START, (kind, dry_run, now)).fetchone()
    run = PostgresRun(connection, int(row[0]) if row else 0, dry_run)
    if not dry_run:
        yield run
    else:
        with connection.transaction(force_rollback=True):
            yield run
    connection.execute(_FINISH, (json.dumps(run.reports), run.run_id))


class PostgresRun:
    """Maintenance on one connection. In a dry run every step is a savepoint of one transaction that is undone."""

    def __init__(self, connection: Connection, run_id: int, dry_run: bool) -> None:
        self._connection, self.run_id, self._dry_run = connection, run_id, dry_run
        self.reports: dict[str, Mapping[str, Any]] = {}

    def step(self, name: str, work: Callable[[BankView], Changes]) -> Mapping[str, Any]:
        for attempt in range(ATTEMPTS):
            try:
                report = self._once(name, work)
                break
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
        return report

    def _once(self, name: str, work: Callable[[BankView], Changes]) -> Mapping[str, Any]:
        connection = self._connection
        with connection.transaction():
            version, _ = connection.execute("SELECT version, floor FROM pattern_bank").fetchone() or (0, 0)
            changes = work(PostgresView(connection))
            rows.apply(connection, changes, version)
            if changes.members is not None:
                among_all(connection)
                connection.execute("DELETE FROM pattern_members")
                connection.execute(_PUT_MEMBERS, (list(changes.members), list(changes.members.values())))
            report = {"put": len(changes.put), "removed": len(changes.remove), **changes.report}
            reports = {**self.reports, name: report}
            connection.execute(_REPORT, (json.dumps(reports), self.run_id))
        self.reports = reports
        return report


class PostgresView:
    """The bank in the transaction of one step."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def patterns(self) -> list[KnownPattern]:
        return [rows.pattern_from(row) for row in self._connection.execute(_ALL).fetchall()]

    def sessions(self, since: float) -> list[StoredSession]:
        found = self._connection.execute(_SESSIONS, (since,)).fetchall()
        return [StoredSession(Trajectory(*facts), pattern_id) for *facts, pattern_id in found]

    def take_uses(self, until_s_ago: float) -> list[Applications]:
        connection = self._connection
        after, upto = connection.execute(_WINDOW, (until_s_ago,)).fetchone() or (None, None)
        window = {
            "after": after, "upto": upto, "good": _POSITIVE_TYPES, "bad": _NEGATIVE_TYPES, "within": SUCCESS_S,
        }  # fmt: skip
        found = connection.execute(_USES, window).fetchall()
        connection.execute(_COUNTED, (upto,))
        heirs: dict[str, str] = dict(connection.execute(_HEIRS).fetchall()) if found else {}
        uses = [Applications(heir(name, heirs), *facts) for name, *facts in found]
        uses = [one for one in uses if one.pattern_id]
        for one in uses:
            arguments = (one.pattern_id, one.segment, one.applications, one.successes, one.failures)
            connection.execute(_ADD_UP, arguments, prepare=True)
        return uses

    def applications(self) -> list[Applications]:
        return [Applications(*row) for row in self._connection.execute(_APPLICATIONS).fetchall()]

    def forget(self, before: float) -> int:
        connection = self._connection
        forgotten = [version for (version,) in connection.execute(_FORGET_REMOVALS, (before,)).fetchall()]
        if forgotten:
            connection.execute(_RAISE_FLOOR, (max(forgotten),))
        connection.execute(_FORGET_APPLICATIONS)
        return connection.execute(_FORGET_SESSIONS, (before,)).rowcount

    def reinforce(self, upto: float, rate: float, decay_per_day: float) -> int:
        connection = self._connection
        (after,) = connection.execute(_REINFORCED).fetchone() or (None,)
        if after is None or after >= upto:
            return 0
        days = min((upto - after) / DAY_S, 3650.0)  # the first run fades nothing that is not there
        changed = connection.execute(_FADE_EDGES, (decay_per_day**days,)).rowcount
        walked = {"after": after, "upto": upto, "rate": rate, "highest": HIGHEST_REINFORCEMENT}
        changed += connection.execute(_WALK_EDGES, walked).rowcount
        connection.execute(_REINFORCED_UNTIL, (upto,))
        return changed


def heir(name: str, became: Mapping[str, str]) -> str:
    """What a pattern has become in the end; "" when nothing."""
    for _ in range(len(became) + 1):
        if name not in became:
            return name
        name = became[name]
        if not name:
            return ""
    return ""
