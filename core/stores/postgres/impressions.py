"""Impressions in PostgreSQL, with what viewers made of them."""

from __future__ import annotations

from typing import Any

from core.interaction import Interaction, InteractionType, signal_strength
from core.stores.impressions import DEPTHS, Shown
from core.stores.postgres.connect import Connection, ConnectionPool

LIKED = 0.4  # signal strength from which a reaction is a success: half of a film, a rating above 3.4, a like

_FIXED = {
    kind: signal_strength(Interaction("", "", "", kind, 0.0))
    for kind in InteractionType
    if kind not in (InteractionType.RATING_EXPLICIT, InteractionType.WATCH_PROGRESS)
}
# signal_strength of core.interaction for a row of the log.
STRENGTH = f"""CASE type
    {" ".join(f"WHEN '{kind}' THEN {strength}" for kind, strength in _FIXED.items())}
    WHEN '{InteractionType.RATING_EXPLICIT}'
    THEN 0.9 * greatest(-1, least(1, coalesce((payload ->> 'rating')::float8, 3) - 3))
    WHEN '{InteractionType.WATCH_PROGRESS}' THEN CASE
        WHEN (payload ->> 'progress')::float8 >= 0.9 THEN 1.0
        ELSE 0.8 * coalesce((payload ->> 'progress')::float8, 0) END
END"""

# `logged` is the only scan: a range of the index on occurred_at. `next_at` is when the title was shown to the viewer
# again; `opening` marks one impression per answer, `first` one per answer and strategy, so that nothing is counted
# twice, and nothing has to be sorted for that.
SHOWN = f"""
WITH logged AS MATERIALIZED (
    SELECT user_id, content_id, type, occurred_at, seq, payload ->> 'request_id' AS request_id,
           (payload ->> 'position')::int AS position, coalesce(payload ->> 'strategy', 'unknown') AS strategy,
           (payload ->> 'latency_ms')::float8 AS latency_ms, {STRENGTH} AS strength
    FROM interactions
    WHERE occurred_at >= to_timestamp(%(since)s) AND occurred_at < to_timestamp(%(until)s + %(window)s)
      AND content_id IS NOT NULL
), seen AS (
    SELECT *, row_number() OVER () AS number,
           lead(occurred_at) OVER (PARTITION BY user_id, content_id ORDER BY occurred_at, seq) AS next_at,
           row_number() OVER (PARTITION BY user_id, request_id ORDER BY position) = 1 AS opening,
           row_number() OVER (PARTITION BY user_id, request_id, strategy ORDER BY position) = 1 AS first
    FROM logged WHERE type = 'impression'
), reacted AS (
    SELECT s.number, max(e.strength) AS strength
    FROM seen s JOIN logged e ON e.user_id = s.user_id AND e.content_id = s.content_id AND e.strength > 0
        AND e.occurred_at >= s.occurred_at AND e.occurred_at < s.occurred_at + make_interval(secs => %(window)s)
        AND (e.request_id = s.request_id
             OR e.request_id IS NULL AND (e.occurred_at < s.next_at) IS NOT FALSE)
    GROUP BY s.number
), told AS (
    SELECT s.*, (s.occurred_at AT TIME ZONE 'UTC')::date AS day, coalesce(r.strength, 0) > 0 AS clicked,
           coalesce(r.strength, 0) >= {LIKED} AS liked
    FROM seen s LEFT JOIN reacted r USING (number)
    WHERE s.occurred_at < to_timestamp(%(until)s)
), served AS (
    SELECT x.experiment, x.variant, x.user_id, greatest(x.first_at, e.started_at) AS since,
           least(lead(x.first_at) OVER (PARTITION BY x.experiment, x.user_id ORDER BY x.first_at, x.variant),
                 e.stopped_at) AS until
    FROM exposures x JOIN experiments e ON e.name = x.experiment
    WHERE e.stopped_at IS NULL OR e.stopped_at >= to_timestamp(%(since)s)
), grouped AS MATERIALIZED (
    SELECT 'all' AS by, '' AS name, opening AS opens, told.* FROM told
    UNION ALL SELECT 'strategy', strategy, first, told.* FROM told
    UNION ALL SELECT 'variant', v.experiment || ':' || v.variant, opening, told.*
    FROM told JOIN served v ON v.user_id = told.user_id AND told.occurred_at >= v.since
         AND (told.occurred_at < v.until) IS NOT FALSE
), titles AS (
    SELECT by, name, day, content_id, count(*) AS times
    FROM grouped GROUP BY GROUPING SETS ((by, name, content_id), (by, name, day, content_id))
), spread AS (
    SELECT by, name, day, count(*) AS titles, sum(place * times)::float8 AS place_sum
    FROM (SELECT *, row_number() OVER (PARTITION BY by, name, day ORDER BY times) AS place FROM titles) AS ranked
    GROUP BY by, name, day
), rates AS (
    SELECT by, name, day, count(*) FILTER (WHERE opens) AS answers,
           count(*) AS impressions, count(*) FILTER (WHERE clicked) AS clicked, count(*) FILTER (WHERE liked) AS liked,
           {", ".join(f"count(*) FILTER (WHERE position < {k})" for k in DEPTHS)},
           {", ".join(f"count(*) FILTER (WHERE position < {k} AND liked)" for k in DEPTHS)}
    FROM grouped GROUP BY GROUPING SETS ((by, name), (by, name, day))
), watching AS (
    SELECT by, name, day, count(*) AS viewers
    FROM (SELECT by, name, day FROM grouped
          GROUP BY GROUPING SETS ((by, name, user_id), (by, name, day, user_id))) AS each
    GROUP BY by, name, day
), times AS (
    SELECT by, name, day, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY latency_ms) AS latency_ms
    FROM grouped WHERE first AND latency_ms IS NOT NULL GROUP BY GROUPING SETS ((by, name), (by, name, day))
)
SELECT r.*, w.viewers, t.latency_ms, s.titles, s.place_sum
FROM rates r
JOIN spread s ON s.by = r.by AND s.name = r.name AND s.day IS NOT DISTINCT FROM r.day
JOIN watching w ON w.by = r.by AND w.name = r.name AND w.day IS NOT DISTINCT FROM r.day
LEFT JOIN times t ON t.by = r.by AND t.name = r.name AND t.day IS NOT DISTINCT FROM r.day
ORDER BY r.day NULLS FIRST, r.by, r.name
"""
_CATALOGUE = "SELECT count(*) FROM content"
_ROOM = "SET LOCAL work_mem = '64MB'"  # for the sorts of some hundred thousand impressions


class PostgresImpressions:
    """Impressions over PostgreSQL."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def shown(self, since: float, until: float, window_s: float, patient: bool = False) -> tuple[list[Shown], int]:
        span = {"since": since, "until": until, "window": window_s}

        def work(connection: Connection) -> tuple[list[Shown], int]:
            with connection.transaction():
                connection.execute(_ROOM)
                rows = connection.execute(SHOWN, span).fetchall()
                counted = connection.execute(_CATALOGUE).fetchone()
            return [_shown(row) for row in rows], int(counted[0]) if counted else 0

        if not patient:
            return self._pool.run(work)
        with self._pool.unlimited() as connection:
            return work(connection)


def _shown(row: tuple[Any, ...]) -> Shown:
    by, name, day, answers, impressions, clicked, liked, *rest = row
    depths = len(DEPTHS)
    top, top_liked, (viewers, latency_ms, titles, place_sum) = rest[:depths], rest[depths : 2 * depths], rest[-4:]
    return Shown(
        by=by,
        name=name,
        day=day.isoformat() if day else "",
        answers=answers,
        viewers=viewers,
        impressions=impressions,
        clicked=clicked,
        liked=liked,
        top=tuple(top),
        top_liked=tuple(top_liked),
        titles=titles,
        place_sum=place_sum,
        latency_ms=tuple(latency_ms) if latency_ms else (None, None),
    )
