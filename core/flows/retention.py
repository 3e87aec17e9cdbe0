"""The story of forgetting on purpose: events older than the window go, and what they made of a user stays.

Before a user's oldest events go, the state after them is kept as a checkpoint, with the adapter of that time. A replay
begins there, so that it still leads to the stored state byte by byte. The checkpoint is committed before anything is
deleted, and every step may be repeated: a run that is killed anywhere is finished by the next.
"""

from __future__ import annotations

from collections.abc import Callable

from core.errors import CorruptData, InvalidInput
from core.flows.replay import rebuild, snapshot_in_hand, thresholds_of
from core.flows.services import Services
from core.profile.codec import encode
from core.stores.protocols import StoredState
from core.telemetry import logger

DAY_S = 86_400.0
USERS = 500  # looked up at once
ROWS = 5_000  # per transaction: bounds how long locks are held and how far a replica falls behind

log = logger("retention")


def retain(services: Services, now: float, progress: Callable[[str], None] = lambda stage: None) -> dict[str, int]:
    """Let go of everything that is older than its window. Returns how many users, events and rejected events, and how
    many users were left out because what is stored of them is damaged.

    Raises StoreUnavailable; the next run goes on where this one ended.
    """
    privacy = services.settings.privacy
    done = {"users": 0, "events": 0, "rejected": 0, "damaged": 0}
    if privacy.events_kept_days > 0:
        before, after = now - privacy.events_kept_days * DAY_S, ""
        while expired := services.retention.expired(before, USERS, after):
            for user_id, upto_seq in expired:
                try:
                    done["events"] += let_go(services, user_id, upto_seq, now)
                    done["users"] += 1
                except (CorruptData, InvalidInput) as error:  # those after this one must not wait for a repair
                    log.error("old events of a user not dropped", reason=str(error))
                    done["damaged"] += 1
            after = expired[-1][0]
            progress(f"events of {done['users']} users dropped")
    if privacy.rejected_kept_days > 0:
        before = now - privacy.rejected_kept_days * DAY_S
        while dropped := services.retention.drop_rejected(before, ROWS):
            done["rejected"] += dropped
    return done


def let_go(services: Services, user_id: str, upto_seq: int, now: float) -> int:
    """Replace one user's events up to `upto_seq` by a checkpoint; returns how many rows went."""
    kept = services.log.checkpoint(user_id)
    if kept is None or kept.seq < upto_seq:
        snapshot, thresholds = snapshot_in_hand(services, now), thresholds_of(services.settings.adaptation)
        state = rebuild(services.log, user_id, upto_seq, snapshot, thresholds)
        services.retention.keep(user_id, StoredState(encode(state), version=0, seq=state.seq), now)
    dropped = 0
    while rows := services.retention.drop(user_id, ROWS):
        dropped += rows
    return dropped
