"""What the flows need to give a person their data, or to delete it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Rows = list[dict[str, Any]]


class PersonalData(Protocol):
    """Everything that Cloud SQL holds under a user's id. Raises StoreUnavailable without an answer."""

    def export(self, user_id: str) -> Mapping[str, Rows]:
        """Table -> the user's rows as plain JSON data, bytes in hexadecimal; of one moment."""

    def erase(self, user_id: str) -> Mapping[str, int]:
        """Delete it all in one transaction and keep a tombstone, so that nothing late brings the user back.

        Returns table -> rows deleted. Repeating it does no harm.
        """
