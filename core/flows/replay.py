"""Rebuilding a user's state from the event log: the proof that the state holds nothing the log does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.flows.services import Services
from core.profile.codec import encode
from core.profile.state import UserState, fold
from core.stores.protocols import EventLog, SequencedEvent


def replay_user(services: Services, user_id: str) -> dict[str, Any]:
    """Rebuild the state of one user from the log and compare it with the stored one, byte for byte.

    Returns `user_id`, `events` folded, `stored_seq` (0: nothing stored), `stored_bytes` and `equal`.
    """
    stored = services.log.load_state(user_id)
    rebuilt = rebuild(services.log, user_id, stored.seq if stored else None)
    blob = encode(rebuilt) if rebuilt.seq else b""
    return {
        "user_id": user_id,
        "events": rebuilt.seq,
        "stored_seq": stored.seq if stored else 0,
        "stored_bytes": len(stored.blob) if stored else 0,
        "equal": blob == (stored.blob if stored else b""),
    }


def rebuild(log: EventLog, user_id: str, upto_seq: int | None = None) -> UserState:
    """The state after the events of the log, or after those up to `upto_seq`; an unknown user's is empty."""
    events = log.events(user_id)
    return fold_each(UserState(user_id), (item for item in events if upto_seq is None or item.seq <= upto_seq))


def fold_each(state: UserState, events: Iterable[SequencedEvent]) -> UserState:
    """Fold one event at a time, so that how events were grouped into messages leaves no trace in the state."""
    for item in events:
        state = fold(state, [(item.seq, item.event)])
    return state
