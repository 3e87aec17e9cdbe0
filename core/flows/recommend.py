"""The story of a request: load the viewer, let strategies propose, fuse, boost by the adapter, diversify, explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from core.adaptation import codec
from core.adaptation.codec import UserAdapter
from core.candidates.cold_start import cold_start, cold_start_share
from core.candidates.collaborative import collaborative
from core.candidates.content import content
from core.candidates.context import context
from core.candidates.gather import Gathered, gather
from core.candidates.graph import graph
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.errors import ConfigurationError, CorruptData, StoreUnavailable
from core.flows.impressions import publish_impressions
from core.flows.services import Services
from core.profile.codec import decode
from core.profile.state import UserState, fold
from core.ranking.adapter_boost import PART, boost
from core.ranking.diversity import diversify
from core.ranking.explain import explain
from core.ranking.fusion import PRESETS, Fused, fuse_rrf, fuse_scores
from core.ranking.query import Query
from core.ranking.rules import allowed_rows
from core.snapshot.snapshot import Snapshot

STRATEGIES = {
    "collaborative": collaborative,
    "content": content,
    "graph": graph,
    "context": context,
    "cold_start": cold_start,
}
DIVERSITY_POOL = 3  # MMR chooses among this many times the limit, and at least...
MIN_DIVERSITY_POOL = 60  # ...this many
BOOST_POOL = 4  # of so many times as many titles the adapter changes the order: further ones it hardly lifts that far


@dataclass(frozen=True, slots=True)
class Recommended:
    """One title of an answer. `parts` are the strategies' shares of `score`, which lies in [0, 1], and what the adapter
    added or took; `strategy` gave the largest share."""

    row: int
    content_id: str
    title: str
    score: float
    parts: dict[str, float]
    strategy: str
    based_on: tuple[str, ...]
    explanation: str


@dataclass(frozen=True, slots=True)
class Ranked:
    items: tuple[Recommended, ...]
    degraded: tuple[str, ...]
    elapsed_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    request_id: str
    user_id: str
    items: tuple[Recommended, ...]
    snapshot: str
    state_seq: int
    generated_at: float
    degraded: tuple[str, ...]


def recommend(services: Services, query: Query, now: float) -> Answer:
    """Recommendations for one user. Raises StoreUnavailable only when no snapshot has ever been loaded."""
    snapshot, degraded = services.snapshot(now)
    state, adapter, state_degraded = load_viewer(services, query)
    counts, counts_degraded = services.trending.counts(snapshot, now)
    ranked = rank(snapshot, state, counts, query, services.settings.ranking, now, adapter)
    names = tuple(dict.fromkeys(degraded + state_degraded + counts_degraded + ranked.degraded))
    answer = Answer(uuid4().hex, query.user_id, ranked.items, snapshot.version, state.seq, now, names)
    if services.settings.impressions:
        publish_impressions(services, answer, now)
    return answer


def load_viewer(services: Services, query: Query) -> tuple[UserState, UserAdapter | None, tuple[str, ...]]:
    """The user's state, with the caller's own recent events folded in, and adapter, in one round trip.

    A lost state is a cold start that says so; a damaged adapter is left out and named.
    """
    try:
        stored, tier, degraded = services.states.load_with_adapter(query.user_id)
    except StoreUnavailable:
        stored, tier, degraded = None, None, ("user_state",)
    try:
        state = decode(query.user_id, stored.blob) if stored else UserState(query.user_id)
    except CorruptData:  # the next event rebuilds it from the log
        state, degraded = UserState(query.user_id), (*degraded, "user_state")
    try:
        adapter = codec.decode(tier.blob) if tier else None
    except CorruptData:  # the next adaptation fits it anew
        adapter, degraded = None, (*degraded, PART)
    if query.recent_events:
        state = fold(state, enumerate(query.recent_events, state.seq + 1))
    return state, adapter, degraded


def rank(
    snapshot: Snapshot,
    state: UserState,
    counts: NDArray,
    query: Query,
    settings: RankingSettings,
    now: float,
    adapter: UserAdapter | None = None,
) -> Ranked:
    """The pure part: everything that decides the order. Evaluation calls exactly this.

    adapter: the user's slow tier; the fast one is part of the state.
    """
    allowed = allowed_rows(snapshot, state, query.filters, query.exclude, query.exclude_seen, now)
    viewer = view(snapshot, state, query.context, now, counts, allowed, settings.history_decay)
    weights = strategy_weights(settings.preset, viewer.positives)
    gathered = propose(viewer, weights, settings)
    proposed = fuse(gathered, weights, settings)
    fused, degraded = boost(proposed, viewer, adapter, settings, BOOST_POOL * pool_of(query))
    chosen = choose(viewer, fused, query, settings)
    best = sum(weights.values()) / (settings.rrf_k + 1) if settings.fusion == "rrf" else sum(weights.values())
    return Ranked(describe(viewer, fused, chosen, best), (*gathered.failed, *degraded), gathered.elapsed_ms)


def strategy_weights(preset: str, positives: int) -> dict[str, float]:
    """Weights of the strategies: the preset's, of which cold start takes its share while there is little history."""
    if preset not in PRESETS:
        raise ConfigurationError(f"preset {preset!r} is not one of {', '.join(PRESETS)}")
    share = cold_start_share(positives)
    weights = {name: weight * (1 - share) for name, weight in PRESETS[preset].items()}
    weights["context"] = PRESETS[preset]["context"]  # circumstances count for a new viewer too
    weights["cold_start"] = share
    return {name: weight for name, weight in weights.items() if weight > 0}


def propose(viewer: Viewer, weights: dict[str, float], settings: RankingSettings) -> Gathered:
    asked = {name: partial(STRATEGIES[name], pool=settings.pool_size) for name in weights}
    return gather(asked, viewer, settings.strategy_deadline_ms)


def fuse(gathered: Gathered, weights: dict[str, float], settings: RankingSettings) -> Fused:
    if settings.fusion == "scores":
        return fuse_scores(gathered.rankings, weights)
    return fuse_rrf(gathered.rankings, weights, settings.rrf_k)


def pool_of(query: Query) -> int:
    """How many titles diversity chooses among."""
    return max(DIVERSITY_POOL * query.limit, MIN_DIVERSITY_POOL)


def choose(viewer: Viewer, fused: Fused, query: Query, settings: RankingSettings) -> list[int]:
    """Positions in `fused` of the answer, best first."""
    pool = pool_of(query)
    rows = fused.rows[:pool]
    lambda_ = settings.mmr_lambda if query.mmr_lambda is None else query.mmr_lambda
    cap = 1.0 if query.filters.genres else settings.genre_cap  # whoever asks for a genre wants that genre
    snapshot = viewer.snapshot
    primary = snapshot.attributes["primary"][rows]
    return diversify(fused.scores[:pool], snapshot.vectors[rows], primary, query.limit, lambda_, cap)


def describe(viewer: Viewer, fused: Fused, chosen: list[int], best: float) -> tuple[Recommended, ...]:
    """The chosen positions with titles, reasons and score parts as shares of `best`, the highest possible score."""
    snapshot = viewer.snapshot
    rows = fused.rows[chosen].tolist()
    shares = fused.parts[:, chosen] / best
    proposed = shares[: len(shares) - (PART in fused.names)]  # the adapter's part, if any, is the last
    if len(proposed) < len(shares):
        shares[-1] = np.minimum(shares[-1], 1.0 - proposed.sum(axis=0))  # nothing is better than the best
    shares, totals = shares.round(6), shares.sum(axis=0).round(6).tolist()
    leading = [fused.names[i] for i in proposed.argmax(axis=0)] if chosen else []
    parts = [{name: part for name, part in zip(fused.names, row, strict=True) if part} for row in shares.T.tolist()]
    return tuple(
        Recommended(
            row=row,
            content_id=snapshot.content_id(row),
            title=snapshot.title(row).title,
            score=total,
            parts=part,
            strategy=reason.strategy,
            based_on=reason.based_on,
            explanation=reason.text,
        )
        for row, total, part, reason in zip(rows, totals, parts, explain(viewer, rows, leading), strict=True)
    )
