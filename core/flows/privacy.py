"""The story of a person's rights: their data handed out, and their data gone."""

from __future__ import annotations

from collections.abc import Mapping

from core.flows.services import Services
from core.stores.dead_letters import DeadLetter
from core.stores.personal_data import Rows, names_user

DEAD_LETTERS = "dead_letters"  # beside the tables, in what is handed out and what was deleted; absent if not reached
DEAD_LETTERS_NAMED = "SONA_PRIVACY_DEAD_LETTERS=dead-letters-ingest,dead-letters-adapt"  # as infra/pubsub.tf does


def export_user(services: Services, user_id: str) -> Mapping[str, Rows]:
    """Table -> rows: everything that is kept under the user's id; hot copies hold nothing else.

    Without DEAD_LETTERS where no setting names their subscriptions: they were not looked through then. Raises
    StoreUnavailable: half an answer would be a wrong one.
    """
    tables = services.personal_data.export(user_id)
    if not services.settings.privacy.dead_letters:
        return tables
    letters: Rows = []

    def told(letter: DeadLetter) -> bool:
        if about(letter, user_id):
            letters.append({"message_id": letter.message_id, "data": letter.data.decode(errors="replace")})
        return False

    services.dead_letters.look(told)
    return {**tables, DEAD_LETTERS: letters}


def erase_user(services: Services, user_id: str) -> Mapping[str, int]:
    """Delete everything about a user and keep a tombstone against late messages; table -> rows deleted.

    Without DEAD_LETTERS where no setting names their subscriptions: they were not looked through then.
    Raises StoreUnavailable when a store does not answer: then repeat it, what was deleted stays deleted. Messages that
    are under way are refused when they arrive; those that Pub/Sub retains end with its window.
    """
    deleted = services.personal_data.erase(user_id)  # the truth first: from here on nothing can refill a copy
    services.observations.forget(user_id)
    services.states.erase_hot(user_id)
    if not services.settings.privacy.dead_letters:
        return deleted
    return {**deleted, DEAD_LETTERS: services.dead_letters.look(lambda letter: about(letter, user_id))}


def about(letter: DeadLetter, user_id: str) -> bool:
    """Whether a message is one user's, or names the user."""
    return letter.ordering_key == user_id or names_user(letter.data, user_id, bool(letter.ordering_key))
