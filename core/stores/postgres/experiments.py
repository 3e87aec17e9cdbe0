"""Experiments in PostgreSQL, with who was exposed to what and who converted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from core.errors import Conflict, NotFound
from core.experiments.experiment import Allocation, Experiment, Status, Variant
from core.experiments.metrics import Outcome
from core.experiments.store import Conversion, Exposure
from core.interaction import InteractionType
from core.stores.postgres.connect import Connection, ConnectionPool
from core.stores.postgres.locks import among_writers
from core.stores.pseudonyms import UNKEYED, Pseudonyms

_SELECT = """
SELECT e.name, e.salt, e.description, e.status, e.traffic, e.metric, e.allocation,
       extract(epoch FROM e.created_at)::float8, extract(epoch FROM e.started_at)::float8,
       extract(epoch FROM e.stopped_at)::float8,
       (SELECT jsonb_agg(jsonb_build_array(v.name, v.weight, v.overrides) ORDER BY v.place)
        FROM variants v WHERE v.experiment = e.name)
FROM experiments e
"""
_ONE = f"{_SELECT} WHERE e.name = %s"
_ALL = f"{_SELECT} WHERE %(status)s::text IS NULL OR e.status = %(status)s ORDER BY e.created_at DESC, e.name"
_CREATE = """
INSERT INTO experiments (name, salt, description, status, traffic, metric, allocation, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, to_timestamp(%s))
"""
_VARIANT = "INSERT INTO variants (experiment, place, name, weight, overrides) VALUES (%s, %s, %s, %s, %s)"
_MOVE = """
UPDATE experiments SET status = %s, started_at = to_timestamp(%s), stopped_at = to_timestamp(%s)
WHERE name = %s AND status = %s
"""
_MOVE_ALONE = "SELECT pg_advisory_xact_lock(x'534F4E58'::int, 0)"  # "SONX"
_REWEIGH = "UPDATE variants SET weight = %s WHERE experiment = %s AND name = %s"
_NOT_ERASED = "NOT EXISTS (SELECT FROM erasures WHERE user_hash = ANY(%(tombstones)s))"
_EXPOSE = f"""
INSERT INTO exposures (experiment, user_id, variant, first_at)
SELECT v.experiment, %(user)s, v.name, to_timestamp(new.at)
FROM unnest(%(experiments)s::text[], %(variants)s::text[], %(at)s::float8[]) AS new (experiment, variant, at)
JOIN variants v ON v.experiment = new.experiment AND v.name = new.variant
WHERE {_NOT_ERASED}
ON CONFLICT (experiment, user_id, variant) DO UPDATE SET first_at = excluded.first_at
WHERE exposures.first_at > excluded.first_at
"""
_CONVERT = f"""
INSERT INTO conversions (experiment, user_id, conversion_id, metric, value, at)
SELECT e.name, %(user)s, new.id, new.metric, new.value, to_timestamp(new.at)
FROM unnest(%(experiments)s::text[], %(ids)s::text[], %(metrics)s::text[], %(values)s::float8[], %(at)s::float8[])
     AS new (experiment, id, metric, value, at)
JOIN experiments e ON e.name = new.experiment
WHERE {_NOT_ERASED}
ON CONFLICT DO NOTHING
"""
_REPORTED = "SELECT user_id, at, value FROM conversions WHERE experiment = %(experiment)s AND metric = %(metric)s"
_LOGGED = """
SELECT user_id, occurred_at AS at, 1.0::float8 AS value FROM interactions WHERE type = %(metric)s
   AND occurred_at >= coalesce((SELECT started_at FROM experiments WHERE name = %(experiment)s), '-infinity')
"""
# A user counts once per variant seen, with the sum of what happened from its first exposure until the next variant's;
# conversions are those that were reported, or logged interactions of a type.
_REPORTED_OUTCOMES, _LOGGED_OUTCOMES = (
    f"""
WITH seen AS (
    SELECT user_id, variant, first_at,
           lead(first_at) OVER (PARTITION BY user_id ORDER BY first_at, variant) AS until
    FROM exposures WHERE experiment = %(experiment)s AND first_at < to_timestamp(%(until)s)
), won AS (
    SELECT s.user_id, s.variant, sum(c.value) AS value
    FROM seen s JOIN ({conversions}) c ON c.user_id = s.user_id AND c.at >= s.first_at AND (c.at < s.until) IS NOT FALSE
         AND c.at < to_timestamp(%(until)s)
    GROUP BY s.user_id, s.variant
)
SELECT s.variant, count(*), count(w.user_id), coalesce(sum(w.value), 0), coalesce(sum(w.value * w.value), 0)
FROM seen s LEFT JOIN won w USING (user_id, variant) GROUP BY s.variant
"""
    for conversions in (_REPORTED, _LOGGED)
)
_FORGET = ("DELETE FROM exposures WHERE user_id = %s", "DELETE FROM conversions WHERE user_id = %s")


class PostgresExperiments:
    """Experiments over PostgreSQL. See core.experiments.store."""

    def __init__(self, pool: ConnectionPool, pseudonyms: Pseudonyms = UNKEYED) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    def create(self, experiment: Experiment) -> None:
        self._pool.run(lambda connection: _create(connection, experiment))

    def get(self, name: str) -> Experiment:
        row = self._pool.run(lambda c: c.execute(_ONE, (name,)).fetchone())
        if row is None:
            raise NotFound(f"experiment {name} does not exist")
        return _experiment(row)

    def all(self, status: Status | None = None) -> list[Experiment]:
        rows = self._pool.run(lambda c: c.execute(_ALL, {"status": status}).fetchall(), prompt=True)
        return [_experiment(row) for row in rows]

    def move(
        self,
        before: Experiment,
        after: Experiment,
        check: Callable[[tuple[Experiment, ...]], None] | None = None,
    ) -> None:
        values = (after.status, after.started_at, after.stopped_at, after.name, before.status)

        def work(connection: Connection) -> int:
            with connection.transaction():
                if check is not None:
                    connection.execute(_MOVE_ALONE)
                    rows = connection.execute(_ALL, {"status": Status.RUNNING}).fetchall()
                    check(tuple(map(_experiment, rows)))
                return connection.execute(_MOVE, values).rowcount

        if not self._pool.run(work):
            raise Conflict(f"experiment {before.name} is not {before.status} any more")

    def reweigh(self, name: str, weights: Mapping[str, float]) -> None:
        def work(connection: Connection) -> None:
            with connection.transaction():
                for variant, weight in weights.items():
                    connection.execute(_REWEIGH, (weight, name, variant))

        self._pool.run(work)

    def record(self, user_id: str, exposures: Sequence[Exposure], conversions: Sequence[Conversion]) -> int:
        tombstones = self._pseudonyms.all_of(user_id)
        return self._pool.run(lambda connection: _record(connection, user_id, exposures, conversions, tombstones))

    def outcomes(self, experiment: Experiment, metric: str, until: float = math.inf) -> list[Outcome]:
        statement = _LOGGED_OUTCOMES if metric in set(InteractionType) else _REPORTED_OUTCOMES
        values = {"experiment": experiment.name, "metric": metric, "until": until}
        rows = {row[0]: row for row in self._pool.run(lambda c: c.execute(statement, values).fetchall())}
        unseen = (0, 0, 0.0, 0.0)
        return [Outcome(v.name, *(rows[v.name][1:] if v.name in rows else unseen)) for v in experiment.variants]

    def forget(self, user_id: str) -> int:
        def work(connection: Connection) -> int:
            with connection.transaction():
                return sum(connection.execute(statement, (user_id,)).rowcount for statement in _FORGET)

        return self._pool.run(work)


def _create(connection: Connection, experiment: Experiment) -> None:
    values = (
        experiment.name,
        experiment.salt,
        experiment.description,
        experiment.status,
        experiment.traffic,
        experiment.metric,
        experiment.allocation,
        experiment.created_at,
    )
    try:
        with connection.transaction():
            connection.execute(_CREATE, values)
            for place, variant in enumerate(experiment.variants):
                overrides = json.dumps(dict(variant.overrides), allow_nan=False)
                connection.execute(_VARIANT, (experiment.name, place, variant.name, variant.weight, overrides))
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"experiment {experiment.name} exists") from error


def _record(
    connection: Connection,
    user_id: str,
    exposures: Sequence[Exposure],
    conversions: Sequence[Conversion],
    tombstones: Sequence[bytes],
) -> int:
    about: dict[str, Any] = {"user": user_id, "tombstones": tombstones}
    stored = 0
    with connection.transaction():
        among_writers(connection, [user_id])
        if exposures:
            seen = {
                "experiments": [one.experiment for one in exposures],
                "variants": [one.variant for one in exposures],
                "at": [one.at for one in exposures],
            }
            stored += connection.execute(_EXPOSE, about | seen).rowcount
        if conversions:
            won = {
                "experiments": [one.experiment for one in conversions],
                "ids": [one.conversion_id for one in conversions],
                "metrics": [one.metric for one in conversions],
                "values": [one.value for one in conversions],
                "at": [one.at for one in conversions],
            }
            stored += connection.execute(_CONVERT, about | won).rowcount
    return stored


def _experiment(row: tuple[Any, ...]) -> Experiment:
    name, salt, description, status, traffic, metric, allocation, created_at, started_at, stopped_at, variants = row
    return Experiment(
        name=name,
        variants=tuple(Variant(*variant) for variant in variants or ()),
        metric=metric,
        traffic=traffic,
        salt=salt,
        allocation=Allocation(allocation),
        status=Status(status),
        description=description,
        created_at=created_at,
        started_at=started_at,
        stopped_at=stopped_at,
    )
