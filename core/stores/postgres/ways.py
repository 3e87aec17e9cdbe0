"""Walks over the catalogue in which people and franchises are the ways from title to title, by recursive SQL.

For questions nobody has precomputed: which films are two people away from this one, and through whom?
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InvalidInput
from core.stores.postgres.connect import Connection
from core.stores.protocols import Step, Way

KINDS = ("director", "cast", "franchise")  # the creators of a series count as its directors
MAX_HOPS = 3
FAN_OUT = 16  # titles that a title leads to; half as many at the second hop, a quarter at the third: 656 ways at most

# A title leads to those that share a name with it; each name gets its turn before one gets its second, so that whoever
# made a hundred films does not fill the fan. `seen` keeps a way from returning to where it was.
WAYS = """
WITH RECURSIVE walk (content_id, hops, seen, kinds, names) AS (
    SELECT %(start)s::text, 0, ARRAY[%(start)s::text], '{}'::text[], '{}'::text[]
    UNION ALL
    SELECT next.content_id, walk.hops + 1, walk.seen || next.content_id,
           walk.kinds || next.kind, walk.names || next.name
    FROM walk
    JOIN content here ON here.content_id = walk.content_id
    CROSS JOIN LATERAL (
        SELECT found.content_id, found.kind, found.name,
               row_number() OVER (ORDER BY found.turn, array_position(%(via)s::text[], found.kind), found.name) AS place
        FROM (
            SELECT DISTINCT ON (other.content_id, node.kind, node.name) other.content_id, node.kind, node.name,
                   dense_rank() OVER (PARTITION BY node.kind, node.name ORDER BY other.content_id) AS turn
            FROM (
                SELECT fact.kind, shared.name, jsonb_build_object(fact.other, jsonb_build_array(shared.name)) AS wanted
                FROM (VALUES ('director', 'directors', 'directors'), ('director', 'directors', 'creators'),
                             ('director', 'creators', 'directors'), ('director', 'creators', 'creators'),
                             ('cast', 'cast', 'cast')) AS fact (kind, own, other)
                CROSS JOIN LATERAL jsonb_array_elements_text(here.doc -> fact.own) AS shared (name)
                UNION ALL
                SELECT 'franchise', here.doc ->> 'franchise', jsonb_build_object('franchise', here.doc -> 'franchise')
                WHERE here.doc ? 'franchise'
            ) AS node
            JOIN content other ON other.doc @> node.wanted
            WHERE node.kind = ANY(%(via)s) AND other.content_id <> ALL(walk.seen) AND other.doc ->> 'type' <> 'episode'
        ) AS found
    ) AS next
    WHERE walk.hops < %(hops)s AND next.place <= %(fan_out)s >> walk.hops
)
SELECT content_id, kinds, names, seen[2:] FROM walk WHERE hops > 0 ORDER BY hops, content_id, names
"""


def ways(connection: Connection, content_id: str, via: Sequence[str], hops: int) -> list[Way]:
    """See Catalog.ways."""
    if not via or not set(via) <= set(KINDS) or not 1 <= hops <= MAX_HOPS:
        raise InvalidInput(f"ways lead through {', '.join(KINDS)}, over one to {MAX_HOPS} hops")
    arguments = {"start": content_id, "via": list(via), "hops": hops, "fan_out": FAN_OUT}
    rows = connection.execute(WAYS, arguments).fetchall()
    return [
        Way(target, tuple(Step(*step) for step in zip(kinds, names, titles, strict=True)))
        for target, kinds, names, titles in rows
    ]
