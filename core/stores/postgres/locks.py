"""Who writes about a user beside the user's row lock, and the erasure that must come before or after all of them.

Advisory locks, held until the transaction ends: writers share them, an erasure waits until it has them alone. Whoever
then reads the tombstones in a statement of its own sees what the erasure has committed.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.stores.postgres.connect import Connection

_USERS = 0x534F4E55  # "SONU": with a hash of the id, the lock of one user
_ALL = (0x534F4E55, 0)  # of whoever writes about many users at once
_SHARE = "SELECT pg_advisory_xact_lock_shared(%s, hashtext(u)) FROM unnest(%s::text[]) AS u ORDER BY u"
_SHARE_ALL = "SELECT pg_advisory_xact_lock_shared(%s, %s)"
_ALONE = "SELECT pg_advisory_xact_lock(%s, hashtext(%s)), pg_advisory_xact_lock(%s, %s)"


def among_writers(connection: Connection, user_ids: Sequence[str]) -> None:
    """Take part in writing about these users until the transaction ends."""
    connection.execute(_SHARE, (_USERS, list(user_ids)), prepare=True)


def among_all(connection: Connection) -> None:
    """Take part in writing about everybody until the transaction ends."""
    connection.execute(_SHARE_ALL, _ALL)


def alone(connection: Connection, user_id: str) -> None:
    """Wait until nobody writes about this user, and let nobody before the transaction ends."""
    connection.execute(_ALONE, (_USERS, user_id, *_ALL))
