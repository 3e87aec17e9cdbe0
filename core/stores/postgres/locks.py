"""Who writes about a user beside the user's row lock, and the erasure that must come before or after all of them.

Advisory locks, held until the transaction ends: writers share them, an erasure waits until it has them alone. Whoever
then reads the tombstones in a statement of its own sees what the erasure has committed. And one lock for whoever looks
through the dead letters: what one look has on loan another would not see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.stores.postgres.connect import Connection, ConnectionPool

_USERS = 0x534F4E55  # "SONU": with a hash of the id, the lock of one user
_ALL = (0x534F4E55, 0)  # of whoever writes about many users at once
_SHARE = "SELECT pg_advisory_xact_lock_shared(%s, hashtext(u)) FROM unnest(%s::text[]) AS u ORDER BY u"
_SHARE_ALL = "SELECT pg_advisory_xact_lock_shared(%s, %s)"
_ALONE = "SELECT pg_advisory_xact_lock(%s, hashtext(%s)), pg_advisory_xact_lock(%s, %s)"
_DEAD_LETTERS = (0x534F4E44, 0)  # "SOND"
_LOOK = "SELECT pg_advisory_xact_lock(%s, %s)"
_LOOK_WITHIN = "SET LOCAL lock_timeout = '30s'"  # as long as one look may take: then the caller may ask again


def among_writers(connection: Connection, user_ids: Sequence[str]) -> None:
    """Take part in writing about these users until the transaction ends."""
    connection.execute(_SHARE, (_USERS, list(user_ids)), prepare=True)


def among_all(connection: Connection) -> None:
    """Take part in writing about everybody until the transaction ends."""
    connection.execute(_SHARE_ALL, _ALL)


def alone(connection: Connection, user_id: str) -> None:
    """Wait until nobody writes about this user, and let nobody before the transaction ends."""
    connection.execute(_ALONE, (_USERS, user_id, *_ALL))


@contextmanager
def looking_alone(pool: ConnectionPool) -> Iterator[None]:
    """Wait until nobody else looks through the dead letters, and let nobody until this ends. Raises StoreUnavailable
    when that takes too long."""
    with pool.unlimited() as connection, connection.transaction():
        connection.execute(_LOOK_WITHIN)
        connection.execute(_LOOK, _DEAD_LETTERS)
        yield
