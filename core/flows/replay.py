"""Rebuilding a user's state from the event log: the proof that the state holds nothing the log does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from core.adaptation.fast_tier import FastTier
from core.adaptation.trigger import Thresholds
from core.config import AdaptationSettings
from core.errors import CorruptData, StoreUnavailable
from core.flows.services import Services
from core.profile.codec import decode, encode_facts
from core.profile.lesson import learned
from core.profile.state import UserState, fold
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import EventLog, SequencedEvent

ROUNDING = 2e-3  # of float16 weights: what two machines may differ by


def replay_user(services: Services, user_id: str, now: float) -> dict[str, Any]:
    """Rebuild the state of one user from the log and compare it with the stored one: the facts byte for byte, the fast
    tier within rounding.

    Returns `user_id`, `events` folded, `stored_seq` (0: nothing stored), `stored_bytes`, `equal` for the facts, and
    `fast_tier`: equal, different, or not_comparable where it was learned in another snapshot's space or none. A damaged
    state is not equal.
    """
    stored = services.log.load_state(user_id)
    snapshot = snapshot_in_hand(services, now)
    thresholds = thresholds_of(services.settings.adaptation)
    rebuilt = rebuild(services.log, user_id, stored.seq if stored else None, snapshot, thresholds)
    try:
        state = decode(user_id, stored.blob) if stored else UserState(user_id)
    except CorruptData:  # equal to nothing; the next event rebuilds it
        state = UserState(user_id, seq=-1)
    return {
        "user_id": user_id,
        "events": rebuilt.seq,
        "stored_seq": stored.seq if stored else 0,
        "stored_bytes": len(stored.blob) if stored else 0,
        "equal": rebuilt.seq == state.seq and encode_facts(rebuilt) == encode_facts(state),
        "fast_tier": _compared(rebuilt.fast, state.fast),
    }


def rebuild(
    log: EventLog,
    user_id: str,
    upto_seq: int | None = None,
    snapshot: Snapshot | None = None,
    thresholds: Thresholds | None = None,
) -> UserState:
    """The state after the events of the log, or after those up to `upto_seq`; an unknown user's is empty. The fast tier
    is learned anew in the space of `snapshot`.

    Begins at the user's checkpoint where the oldest events are gone; `upto_seq` before it cannot be told any more and
    gives the checkpoint. Raises CorruptData for a damaged one.
    """
    kept = log.checkpoint(user_id)
    start = decode(user_id, kept.blob) if kept else UserState(user_id)
    chosen = (item for item in log.events(user_id, start.seq) if upto_seq is None or item.seq <= upto_seq)
    return fold_each(start, chosen, snapshot, thresholds)


def fold_each(
    state: UserState,
    events: Iterable[SequencedEvent],
    snapshot: Snapshot | None = None,
    thresholds: Thresholds | None = None,
) -> UserState:
    """Fold one event at a time, so that how events were grouped into messages leaves no trace in the state.

    Without a snapshot only the facts are folded, and the fast tier stays as it is.
    """
    for item in events:
        if item.seq <= state.seq:
            continue
        fast = learned(snapshot, state, item.seq, item.event) if snapshot is not None else state.fast
        state = replace(fold(state, [(item.seq, item.event)], thresholds), fast=fast)
    return state


def snapshot_in_hand(services: Services, now: float) -> Snapshot | None:
    """The snapshot whose space fast tiers learn in; None while there is none, and then only facts are folded."""
    try:
        return services.snapshot(now)[0]
    except StoreUnavailable:
        return None


def thresholds_of(settings: AdaptationSettings) -> Thresholds:
    """When an adaptation is asked for."""
    return Thresholds(settings.interactions, settings.interval_s, settings.signal)


def _compared(rebuilt: FastTier | None, stored: FastTier | None) -> str:
    if rebuilt is None and stored is None:
        return "equal"
    if rebuilt is None or stored is None or rebuilt.generation != stored.generation:
        return "not_comparable"
    near = np.allclose(rebuilt.B.astype(np.float32), stored.B.astype(np.float32), atol=ROUNDING)
    return "equal" if near and rebuilt.updates == stored.updates else "different"
