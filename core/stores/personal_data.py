"""What the flows need to give a person their data, or to delete it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

Rows = list[dict[str, Any]]


def quoted(user_id: str) -> list[bytes]:
    """The id as JSON writes it, in either way: so it is found in what could not be read, and not within another's."""
    return [json.dumps(user_id, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for ascii in (True, False)]


def names_user(data: bytes, user_id: str, of_somebody: bool) -> bool:
    """Whether a message, or one event of it, says that it is this user's; any other string may equal an id by chance.

    What cannot be read is searched for the id, unless it is known to be of_somebody.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return not of_somebody and any(name in data for name in quoted(user_id))
    events = content.get("events") if isinstance(content, dict) else content
    records = [content, *events] if isinstance(events, list) else [content]
    return any(isinstance(record, dict) and record.get("user_id") == user_id for record in records)


class PersonalData(Protocol):
    """Everything that Cloud SQL holds under or with a user's id. Raises StoreUnavailable without an answer."""

    def export(self, user_id: str) -> Mapping[str, Rows]:
        """Table -> the user's rows as plain JSON data, bytes in hexadecimal; of one moment."""

    def erase(self, user_id: str) -> Mapping[str, int]:
        """Delete it all in one transaction and keep a tombstone, so that nothing late brings the user back.

        Returns table -> rows deleted. Repeating it does no harm.
        """
