"""The story of a request: load the viewer, let strategies propose, fuse, boost by adapter and patterns, diversify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from time import perf_counter
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from core.adaptation.codec import UserAdapter
from core.adaptation.query import RECENT
from core.attention.select import Attending
from core.candidates.arms import Outcomes
from core.candidates.context import dated
from core.candidates.live import LiveTransitions
from core.candidates.text import TextMatch, by_text
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.flows.attending import attending, configured
from core.flows.decisions import record_decision
from core.flows.describe import Ranked, Recommended, compared, describe
from core.flows.editorial import with_editorial
from core.flows.explored import with_new_title
from core.flows.impressions import publish_impressions
from core.flows.proposals import propose
from core.flows.route import Routed, count_answered, plan_query
from core.flows.search import match_text
from core.flows.services import Services
from core.flows.viewers import load_viewer
from core.patterns.index import PatternIndex
from core.profile.state import UserState
from core.ranking import pattern_boost
from core.ranking.adapter_boost import boost
from core.ranking.diversity import NO_FRANCHISE, Cap, diversify, genre_cap
from core.ranking.fusion import Fused
from core.ranking.query import Query
from core.ranking.rules import allowed_rows, on_own_platforms, spared
from core.routing.plan import Plan, given_up
from core.routing.proposals import asked_for
from core.snapshot.snapshot import Snapshot
from core.stores.deadline import within
from core.telemetry import level, stage

DIVERSITY_POOL = 3  # MMR chooses among this many times the limit, and at least...
MIN_DIVERSITY_POOL = 60  # ...this many
# Threads that rank at once take the interpreter from each other at every array operation.
_ONE_AT_A_TIME = Lock()
BOOST_POOL = 4  # of so many times as many titles the adapter changes the order: further ones it hardly lifts that far


@dataclass(frozen=True, slots=True)
class Answer:
    """Recommendations, best first, with what they were made of. state_seq: the last event of the user's log they
    know."""

    request_id: str
    user_id: str
    items: tuple[Recommended, ...]
    snapshot: str
    state_seq: int
    generated_at: float
    degraded: tuple[str, ...]
    variants: Mapping[str, str] = field(default_factory=dict)  # running experiment -> the user's variant
    routed: Routed | None = None  # what the words of the request were taken for
    known_events: int = 0  # of the user's own, impressions aside, that the answer knows; onboarding counts as one
    weights: Mapping[str, float] = field(default_factory=dict)  # strategy -> its share of the highest possible score
    elapsed_ms: Mapping[str, float] = field(default_factory=dict)  # strategy, or part of one -> how long it took
    given_up: tuple[str, ...] = ()  # filters of the words that nothing met together


def recommend(services: Services, query: Query, now: float) -> Answer:
    """Recommendations for one user, who sees them. Raises StoreUnavailable only when there never was a snapshot.

    Whoever asks for an answer that is not personalized leaves no trace of it either.
    """
    answer = compose(services, query, now)
    if query.personalize and (services.settings.impressions or answer.variants):
        with stage("impressions"):
            publish_impressions(services, answer, now)
    return answer


def compose(services: Services, query: Query, now: float) -> Answer:
    """As `recommend`, and nobody is told: for answers that may never be shown."""
    snapshot, degraded = services.snapshot(now)  # a new one takes longer than a request may, and serves all later ones
    with within(services.settings.request_deadline_s):
        return _composed(services, snapshot, degraded, query, now)


def _composed(services: Services, snapshot: Snapshot, degraded: tuple[str, ...], query: Query, now: float) -> Answer:
    started = perf_counter()
    level("sona.snapshot.age", now - snapshot.created_at)
    with stage("words"):
        plan, routed, route_degraded = plan_query(services, snapshot, query, now)
    query = plan.query
    with stage("viewer"):
        state, adapter, state_degraded = load_viewer(services, query)
    counts, counts_degraded = services.trending.counts(snapshot, now)
    with stage("search"):
        match, match_degraded = match_text(services, snapshot, query.text) if query.text else (None, ())
    trial, trial_degraded = services.experiment_memory.trial(query.user_id, services.settings.ranking, now)
    parts = degraded + route_degraded + state_degraded + counts_degraded + match_degraded + trial_degraded
    place = services.answers.place(query, trial.settings, state, adapter, snapshot, now)
    ranked = services.answers.recall(place, query, state, snapshot, now)
    if ranked is None:
        patterns, lost = services.pattern_memory.index(snapshot, now) if trial.settings.pattern_strength else (None, ())
        attention, attention_degraded = attending(services, trial.settings, snapshot, routed, now)
        outcomes = services.outcomes.outcomes(snapshot, now)
        live = services.live.transitions(snapshot, now)
        with stage("rank"), _ONE_AT_A_TIME:
            ranked = rank(
                snapshot,
                state,
                counts,
                query,
                trial.settings,
                now,
                adapter,
                match,
                plan,
                patterns,
                attention,
                outcomes,
                live,
            )
        parts += lost + attention_degraded
        if not parts:
            services.answers.keep(place, ranked, now)
    names, variants = tuple(dict.fromkeys(parts + ranked.degraded)), trial.variants
    if routed is not None:
        count_answered(services, routed, 1000 * (perf_counter() - started), now)
    answer = Answer(
        request_id=uuid4().hex,
        user_id=query.user_id,
        items=ranked.items,
        snapshot=snapshot.version,
        state_seq=state.seq,
        generated_at=now,
        degraded=names,
        variants=variants,
        routed=routed,
        known_events=state.interactions + (state.onboarding is not None),
        weights=ranked.weights,
        given_up=ranked.given_up,
        elapsed_ms=ranked.elapsed_ms,
    )
    record_decision(services.settings.telemetry, answer, trial.settings, ranked, adapter)
    return answer


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
    attention: Attending | None = None,
    outcomes: Outcomes | None = None,
    live: LiveTransitions | None = None,
) -> Ranked:
    """The pure part: everything that decides the order. Evaluation calls exactly this.

    adapter: the user's slow tier; the fast one is part of the state. match: how titles match the query's text. plan:
    what else the text asks for. patterns: what worked for others; a query in words asks for those about the titles
    that answer it best. attention: the mechanisms at work; None: those that are configured.
    outcomes: of what was shown so far, for the bandits. live: what people went on to since the snapshot.
    """
    filters, rules = on_own_platforms(query.filters, query.context, state), (query.exclude, query.exclude_seen, now)
    allowed = allowed_rows(snapshot, state, filters, *rules, query.seen_series)
    lost: tuple[str, ...] = ()
    for weaker in plan.weaker if plan else ():
        if allowed.any():
            break
        lost = given_up(query.filters, weaker)
        filters = on_own_platforms(weaker, query.context, state)  # where nothing is all that the words say
        allowed = allowed_rows(snapshot, state, filters, *rules, query.seen_series)
    allowed &= spared(snapshot, query.context.viewing_with)
    found = by_text(match, allowed, pool_of(query), settings.rrf_k) if match else None
    found = asked_for(snapshot, plan, allowed, pool_of(query), now, found) if plan else found
    if plan and plan.share is not None:
        settings = replace(settings, search_weight=plan.share)
    allowed = allowed if found is None else np.isin(np.arange(len(allowed)), found.rows)
    context = dated(query.context, settings.events, now)
    draw = settings.cold_start_draw
    viewer = view(snapshot, state, context, now, counts, allowed, settings.history_decay, outcomes, draw, live)
    reach = BOOST_POOL * pool_of(query)
    attention = configured(settings) if attention is None else attention
    proposed = propose(viewer, settings, reach, found, attention.fusion)
    adapted, degraded = boost(proposed.fused, viewer, adapter, settings, reach, attention.history)
    about = None if found is None else found.rows[:RECENT]
    fused, applied = pattern_boost.boost(adapted, viewer, patterns, settings, reach, about)
    chosen = choose(viewer, fused, query, settings)
    items = describe(viewer, fused, chosen, proposed.best, applied.by_row or {})
    items = with_new_title(items, viewer, query, settings, outcomes, proposed.scores.get("content"))
    if query.pins or query.promotion:
        permitted = allowed_rows(snapshot, state, filters, query.exclude, False, now)
        permitted &= spared(snapshot, query.context.viewing_with)
        items = with_editorial(items, viewer, query, permitted, fused, proposed.best)
    if plan and plan.like:
        items = tuple(compared(snapshot, item, plan.like[0]) for item in items)
    failed = (*proposed.failed, *degraded)
    return Ranked(items, failed, proposed.elapsed_ms, applied.by_row is not None, proposed.weights, lost)


def pool_of(query: Query) -> int:
    """How many titles diversity chooses among."""
    return max(DIVERSITY_POOL * query.limit, MIN_DIVERSITY_POOL)


def choose(viewer: Viewer, fused: Fused, query: Query, settings: RankingSettings) -> list[int]:
    """Positions in `fused` of the answer, best first."""
    pool = len(fused.rows) if query.genre_cap or query.franchise_cap else pool_of(query)
    rows, facts = fused.rows[:pool], viewer.snapshot.attributes
    lambda_ = settings.mmr_lambda if query.mmr_lambda is None else query.mmr_lambda
    share = 1.0 if query.filters.genres or query.text else settings.genre_cap  # who asks for a genre wants that genre
    asked = query.genre_cap is not None
    caps = [genre_cap(facts["primary"][rows], query.genre_cap or share, query.limit, asked)]
    if query.franchise_cap:
        caps.append(Cap(facts["franchise"][rows], NO_FRANCHISE, query.franchise_cap, True))
    vectors = viewer.snapshot.vectors.take(rows, axis=0)
    return diversify(fused.relevance(pool), vectors, query.limit, lambda_, tuple(caps))
