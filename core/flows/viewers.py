"""Who asks: the user's state and adapter, out of the stores and into the words of the flows."""

from __future__ import annotations

from dataclasses import replace

from core.adaptation import codec
from core.adaptation.codec import UserAdapter
from core.errors import CorruptData, StoreUnavailable
from core.flows.services import Services
from core.profile.codec import decode
from core.profile.state import UserState, fold
from core.ranking.adapter_boost import PART as ADAPTER
from core.ranking.query import Query

STATE = "user_state"  # its name in `degraded`

Loaded = tuple[UserState, UserAdapter | None, tuple[str, ...]]


def load_user(services: Services, user_id: str) -> Loaded:
    """The user's state (an empty one for an unknown user) and adapter, in one round trip, and what is degraded.

    A damaged one is left out and named. Raises StoreUnavailable when no store gives the state.
    """
    stored, tier, degraded = services.states.load_with_adapter(user_id)
    try:
        state = decode(user_id, stored.blob) if stored else UserState(user_id)
    except CorruptData:  # the next event rebuilds it from the log
        state, degraded = UserState(user_id), (*degraded, STATE)
    try:
        adapter = codec.decode(tier.blob) if tier else None
    except CorruptData:  # the next adaptation fits it anew
        adapter, degraded = None, (*degraded, ADAPTER)
    return state, adapter, degraded


def load_viewer(services: Services, query: Query) -> Loaded:
    """As `load_user`, with the caller's own recent events folded in. A lost state is a cold start that says so.

    Where the request asks not to be personalized, what was learned about the viewer stays out.
    """
    try:
        state, adapter, degraded = load_user(services, query.user_id)
    except StoreUnavailable:
        state, adapter, degraded = UserState(query.user_id), None, (STATE,)
    if query.recent_events:
        recent = fold(state, enumerate(query.recent_events, state.seq + 1))
        state = replace(recent, seq=state.seq)  # its place in the log: they may be there by now, or never come
    if not query.personalize:
        return state.unlearned(), None, degraded
    return state, adapter, degraded
