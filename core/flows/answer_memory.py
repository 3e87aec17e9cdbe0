"""Answers that are still good: the same request, in the same circumstances, of a viewer who has done nothing since.

An answer is kept under everything that decides it: what is asked, the part of the day, what is known of the viewer, the
adapter, the snapshot and the settings of the viewer's variants. A new event is therefore another name, and nothing has
to be invalidated. A viewer of whom nothing is known has the same answer as all others who told the same at onboarding,
so those are kept once for everybody. What goes on without events (online popularity, patterns) is as old as the answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b

from core.adaptation.codec import UserAdapter
from core.config import RankingSettings
from core.errors import StoreUnavailable
from core.flows.describe import Ranked, Recommended
from core.flows.explored import STRATEGY as EXPLORATION
from core.profile.state import UserState
from core.ranking.query import Query
from core.ranking.rules import filtered, on_own_platforms
from core.snapshot.snapshot import Snapshot
from core.stores.protocols import Answers
from core.telemetry import count


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is kept: with its viewer, or with what all share (None), under a name of 16 bytes."""

    user_id: str | None
    name: bytes


class AnswerMemory:
    """Answers for at most `ttl_s`; 0 keeps none. A store that does not answer is as good as one that has nothing."""

    def __init__(self, store: Answers, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s

    def place(
        self,
        query: Query,
        settings: RankingSettings,
        state: UserState,
        adapter: UserAdapter | None,
        snapshot: Snapshot,
        now: float,
    ) -> Place | None:
        """Where the answer to this request belongs; None for what is never kept: requests with words, with events that
        are not ingested yet, without personalization, and of new viewers for whom genres are drawn by chance."""
        if not self._ttl_s or query.text or query.recent_events or not query.personalize:
            return None
        stranger = not state.interactions and adapter is None
        if stranger and settings.cold_start_draw:
            return None
        about = state.onboarding
        told = (about.genres, about.age_band, about.region, about.language, about.platforms) if about else ()
        known = () if stranger else (state.interactions, adapter.version if adapter else 0)
        when = datetime.fromtimestamp(now, UTC)
        part = (when.toordinal(), when.hour // 6)
        asked = replace(query, user_id="")
        spelled = repr((asked, part, told, known, snapshot.version)) + _spelled(settings)
        name = blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return Place(None if stranger else query.user_id, name)

    def recall(
        self, place: Place | None, query: Query, state: UserState, snapshot: Snapshot, now: float
    ) -> Ranked | None:
        """The answer kept there, unless it is too old or one of its titles is no longer where it must be available."""
        if place is None:
            return None
        try:
            found = self._store.get(place.user_id, place.name)
        except StoreUnavailable:
            return None
        kept = None if found is None else _decoded(found, now - self._ttl_s)
        filters = on_own_platforms(query.filters, query.context, state)
        if kept and (filters.services or filters.region):
            allowed = filtered(snapshot, filters, now)
            kept = kept if all(allowed[item.row] for item in kept.items) else None
        count("sona.cache", cache="answers", outcome="hit" if kept else "miss")
        return kept

    def keep(self, place: Place | None, composed: Ranked, now: float) -> None:
        """Keep an answer that lacks nothing; one with a title that was put in by chance is for one time only."""
        if place is None or composed.degraded or any(item.strategy == EXPLORATION for item in composed.items):
            return
        try:
            self._store.put(place.user_id, place.name, _encoded(composed, now))
        except StoreUnavailable:
            return


@lru_cache(maxsize=64)
def _spelled(settings: RankingSettings) -> str:
    return repr(settings)


def _encoded(composed: Ranked, now: float) -> bytes:
    return json.dumps([now, dict(composed.weights), composed.pattern_match, composed.given_up, composed.items]).encode()


def _decoded(blob: bytes, oldest: float) -> Ranked | None:
    """None also for what another release has kept in another form: two serve side by side while one is rolled out."""
    try:
        made_at, weights, pattern_match, given_up, items = json.loads(blob)
        if made_at < oldest:
            return None
        recommended = tuple(Recommended(*item)._replace(based_on=tuple(item[6])) for item in items)
    except (TypeError, ValueError, IndexError):
        return None
    return Ranked(recommended, (), {}, pattern_match, weights, tuple(given_up))
