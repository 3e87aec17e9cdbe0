"""What the flows need to let old events go without forgetting what they taught."""

from __future__ import annotations

from typing import Protocol

from core.stores.protocols import StoredState


class Retention(Protocol):
    """Old rows of Cloud SQL. A checkpoint is the state after some event, which stands in for the events up to it. All
    methods raise StoreUnavailable without an answer."""

    def expired(self, before: float, limit: int, after: str = "") -> list[tuple[str, int]]:
        """Users with events that came before (Unix seconds), and the seq of the latest of these, by user id; only
        users whose id comes after `after`."""

    def keep(self, user_id: str, state: StoredState, now: float) -> bool:
        """Keep `state` as the user's checkpoint, with the adapter of that time; an earlier one is replaced.

        False, and nothing is written, for a user who has been erased meanwhile, or has a later checkpoint.
        """

    def drop(self, user_id: str, limit: int) -> int:
        """Delete at most `limit` events that the user's checkpoint stands in for; returns how many."""

    def drop_rejected(self, before: float, limit: int) -> int:
        """Delete at most `limit` rejected events that came before; returns how many."""
