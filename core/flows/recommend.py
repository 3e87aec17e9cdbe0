"""The story of a request: load the viewer, let strategies propose, fuse, boost by adapter and patterns, diversify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from time import perf_counter
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from core.adaptation import codec
from core.adaptation.codec import UserAdapter
from core.adaptation.query import RECENT
from core.candidates.text import TextMatch, by_text
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.errors import CorruptData, StoreUnavailable
from core.flows.decisions import record_decision
from core.flows.impressions import publish_impressions
from core.flows.proposals import SEARCH, propose
from core.flows.route import Routed, count_answered, plan_query
from core.flows.search import match_text
from core.flows.services import Services
from core.patterns.index import PatternIndex
from core.profile.codec import decode
from core.profile.state import UserState, fold
from core.ranking import pattern_boost
from core.ranking.adapter_boost import PART, boost
from core.ranking.diversity import diversify
from core.ranking.explain import explain, relation
from core.ranking.fusion import Fused
from core.ranking.query import Query
from core.ranking.rules import allowed_rows
from core.routing.plan import Plan
from core.routing.proposals import asked_for
from core.snapshot.snapshot import Snapshot

IMPERSONAL = ("context", "cold_start")
DIVERSITY_POOL = 3  # MMR chooses among this many times the limit, and at least...
MIN_DIVERSITY_POOL = 60  # ...this many
# Threads that rank at once take the interpreter from each other at every array operation.
_ONE_AT_A_TIME = Lock()
BOOST_POOL = 4  # of so many times as many titles the adapter changes the order: further ones it hardly lifts that far


@dataclass(frozen=True, slots=True)
class Recommended:
    """One title of an answer. `parts` are the strategies' shares of `score`, which lies in [0, 1], and what the adapter
    and patterns added or took; `strategy` gave the share that sets the title apart from the other candidates,
    `pattern_id` is the pattern that lifted it most."""

    row: int
    content_id: str
    title: str
    score: float
    parts: dict[str, float]
    strategy: str
    based_on: tuple[str, ...]
    explanation: str
    pattern_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """pattern_match: a pattern was about this request, and results of it were among the candidates."""

    items: tuple[Recommended, ...]
    degraded: tuple[str, ...]
    elapsed_ms: dict[str, float]
    pattern_match: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    request_id: str
    user_id: str
    items: tuple[Recommended, ...]
    snapshot: str
    state_seq: int
    generated_at: float
    degraded: tuple[str, ...]
    variants: Mapping[str, str] = field(default_factory=dict)  # running experiment -> the user's variant
    routed: Routed | None = None  # what the words of the request were taken for


def recommend(services: Services, query: Query, now: float) -> Answer:
    """Recommendations for one user, who sees them. Raises StoreUnavailable only when there never was a snapshot."""
    answer = compose(services, query, now)
    if services.settings.impressions or answer.variants:
        publish_impressions(services, answer, now)
    return answer


def compose(services: Services, query: Query, now: float) -> Answer:
    """As `recommend`, and nobody is told: for answers that may never be shown."""
    started = perf_counter()
    snapshot, degraded = services.snapshot(now)
    plan, routed, route_degraded = plan_query(services, snapshot, query, now)
    query = plan.query
    state, adapter, state_degraded = load_viewer(services, query)
    counts, counts_degraded = services.trending.counts(snapshot, now)
    match, match_degraded = match_text(services, snapshot, query.text) if query.text else (None, ())
    trial, trial_degraded = services.experiment_memory.trial(query.user_id, services.settings.ranking, now)
    patterns, lost = services.pattern_memory.index(snapshot, now) if trial.settings.pattern_strength else (None, ())
    with _ONE_AT_A_TIME:
        ranked = rank(snapshot, state, counts, query, trial.settings, now, adapter, match, plan, patterns)
    parts = degraded + route_degraded + state_degraded + counts_degraded + match_degraded + trial_degraded + lost
    names, variants = tuple(dict.fromkeys(parts + ranked.degraded)), trial.variants
    if routed is not None:
        count_answered(services, routed, 1000 * (perf_counter() - started), now)
    answer = Answer(uuid4().hex, query.user_id, ranked.items, snapshot.version, state.seq, now, names, variants, routed)
    record_decision(services.settings.telemetry, answer, trial.settings, ranked.elapsed_ms, adapter)
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
    match: TextMatch | None = None,
    plan: Plan | None = None,
    patterns: PatternIndex | None = None,
) -> Ranked:
    """The pure part: everything that decides the order. Evaluation calls exactly this.

    adapter: the user's slow tier; the fast one is part of the state. match: how titles match the query's text. plan:
    what else the text asks for. patterns: what worked for others; a query in words asks for those about the titles
    that answer it best.
    """
    allowed = allowed_rows(snapshot, state, query.filters, query.exclude, query.exclude_seen, now)
    if plan and plan.given and not allowed.any():  # nothing is all that the words say
        allowed = allowed_rows(snapshot, state, plan.given, query.exclude, query.exclude_seen, now)
    found = by_text(match, allowed, pool_of(query), settings.rrf_k) if match else None
    found = asked_for(snapshot, plan, allowed, pool_of(query), now, found) if plan else found
    if plan and plan.share is not None:
        settings = replace(settings, search_weight=plan.share)
    allowed = allowed if found is None else np.isin(np.arange(len(allowed)), found.rows)
    viewer = view(snapshot, state, query.context, now, counts, allowed, settings.history_decay)
    reach = BOOST_POOL * pool_of(query)
    proposed = propose(viewer, settings, reach, found)
    adapted, degraded = boost(proposed.fused, viewer, adapter, settings, reach)
    about = None if found is None else found.rows[:RECENT]
    fused, applied = pattern_boost.boost(adapted, viewer, patterns, settings, reach, about)
    chosen = choose(viewer, fused, query, settings)
    items = describe(viewer, fused, chosen, proposed.best, applied.by_row or {})
    if plan and plan.like:
        items = tuple(compared(snapshot, item, plan.like[0]) for item in items)
    return Ranked(items, (*proposed.failed, *degraded), proposed.elapsed_ms, applied.by_row is not None)


def compared(snapshot: Snapshot, item: Recommended, anchor: int) -> Recommended:
    """An answer to "like this one": what the two titles share is its reason where it was found by that."""
    if item.strategy != SEARCH:
        return item
    reason = relation(snapshot.title(item.row), snapshot.title(anchor))
    return replace(item, based_on=(snapshot.content_id(anchor),), explanation=reason)


def pool_of(query: Query) -> int:
    """How many titles diversity chooses among."""
    return max(DIVERSITY_POOL * query.limit, MIN_DIVERSITY_POOL)


def choose(viewer: Viewer, fused: Fused, query: Query, settings: RankingSettings) -> list[int]:
    """Positions in `fused` of the answer, best first."""
    pool = pool_of(query)
    rows = fused.rows[:pool]
    lambda_ = settings.mmr_lambda if query.mmr_lambda is None else query.mmr_lambda
    cap = 1.0 if query.filters.genres or query.text else settings.genre_cap  # whoever asks for a genre wants that genre
    snapshot = viewer.snapshot
    primary = snapshot.attributes["primary"][rows]
    return diversify(fused.relevance(pool), snapshot.vectors[rows], primary, query.limit, lambda_, cap)


def reasons_of(names: tuple[str, ...], parts: NDArray, usual: NDArray) -> list[str]:
    """For each title the strategy that explains it: what lifts it above the other candidates, not what all have.

    parts: (s, m) shares of m titles; usual: (s, 1) their means over all candidates. What everybody wants explains
    a title only where nothing about this viewer does.
    """
    excess = np.where(parts > 0, parts - usual, -np.inf)
    impersonal = np.array([name in IMPERSONAL for name in names[: len(parts)]])[:, None]
    personal = np.where(impersonal, -np.inf, excess)
    return [names[i] for i in np.where((personal > 0).any(axis=0), personal, excess).argmax(axis=0)]


def describe(
    viewer: Viewer, fused: Fused, chosen: list[int], best: float, lifted_by: Mapping[int, str]
) -> tuple[Recommended, ...]:
    """The chosen positions with titles, reasons and score parts as shares of `best`, the highest possible score.

    lifted_by: snapshot row -> the pattern that lifted it.
    """
    snapshot = viewer.snapshot
    rows = fused.rows[chosen].tolist()
    shares = fused.parts[:, chosen] / best
    boosts = sum(part in fused.names for part in (PART, pattern_boost.PART))  # the last parts, if there are any
    proposed = shares[: len(shares) - boosts]
    for place in range(len(proposed), len(shares)):  # nothing is better than the best
        shares[place] = np.minimum(shares[place], 1.0 - shares[:place].sum(axis=0))
    shares, totals = shares.round(6), shares.sum(axis=0).round(6).tolist()
    usual = fused.parts[: len(proposed)].sum(axis=1, keepdims=True) / max(len(fused.rows), 1) / best
    leading = reasons_of(fused.names, proposed, usual) if chosen else []
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
            pattern_id=lifted_by.get(row),
        )
        for row, total, part, reason in zip(rows, totals, parts, explain(viewer, rows, leading), strict=True)
    )
