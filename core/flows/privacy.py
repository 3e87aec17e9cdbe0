"""The story of a person's rights: their data handed out, and their data gone."""

from __future__ import annotations

from collections.abc import Mapping

from core.flows.services import Services
from core.stores.dead_letters import DeadLetter
from core.stores.personal_data import Rows, quoted

DEAD_LETTERS = "dead_letters"  # beside the tables, in what is handed out and what was deleted


def export_user(services: Services, user_id: str) -> Mapping[str, Rows]:
    """Table -> rows: everything that is kept under the user's id; hot copies hold nothing else.

    Raises StoreUnavailable: half an answer would be a wrong one.
    """
    letters: Rows = []

    def told(letter: DeadLetter) -> bool:
        if about(letter, user_id):
            letters.append({"message_id": letter.message_id, "data": letter.data.decode(errors="replace")})
        return False

    services.dead_letters.look(told)
    return {**services.personal_data.export(user_id), DEAD_LETTERS: letters}


def erase_user(services: Services, user_id: str) -> Mapping[str, int]:
    """Delete everything about a user and keep a tombstone against late messages; table -> rows deleted.

    Raises StoreUnavailable when a store does not answer: then repeat it, what was deleted stays deleted. Messages that
    are under way are refused when they arrive; those that Pub/Sub retains end with its window.
    """
    deleted = services.personal_data.erase(user_id)  # the truth first: from here on nothing can refill a copy
    services.observations.forget(user_id)
    services.states.erase_hot(user_id)
    return {**deleted, DEAD_LETTERS: services.dead_letters.look(lambda letter: about(letter, user_id))}


def about(letter: DeadLetter, user_id: str) -> bool:
    """Whether a message is one user's, or names the user."""
    return letter.ordering_key == user_id or any(name in letter.data for name in quoted(user_id))
