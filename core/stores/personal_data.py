"""What the flows need to give a person their data, or to delete it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

Rows = list[dict[str, Any]]


def quoted(user_id: str) -> list[bytes]:
    """The id as JSON writes it, in either way: so it is found in what could not be read, and not within another's."""
    return [json.dumps(user_id, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for ascii in (True, False)]


class PersonalData(Protocol):
    """Everything that Cloud SQL holds under or with a user's id. Raises StoreUnavailable without an answer."""

    def export(self, user_id: str) -> Mapping[str, Rows]:
        """Table -> the user's rows as plain JSON data, bytes in hexadecimal; of one moment."""

    def erase(self, user_id: str) -> Mapping[str, int]:
        """Delete it all in one transaction and keep a tombstone, so that nothing late brings the user back.

        Returns table -> rows deleted. Repeating it does no harm.
        """
