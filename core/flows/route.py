"""The story of a query in words: encode it, route it, find what it names, and plan what that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from core.embedding.batch import encoder_version_of
from core.errors import InvalidInput, SonaError
from core.flows.services import Services
from core.numeric.vectors import Floats
from core.ranking.query import Query
from core.routing.counters import RouteStatistics, answered_counts, routed_counts, statistics_of
from core.routing.entities import Entities, find_entities
from core.routing.model_choice import Choice, Model, Record, choose, feedback_counts, records_of
from core.routing.plan import Plan, plan, with_entities
from core.routing.router import Routing, shipped_router
from core.routing.routes import CLASSES, HANDLERS, OUT_OF_DOMAIN
from core.snapshot.snapshot import Snapshot
from core.telemetry import logger

PART, ENCODER = "router", "encoder"  # their names in `degraded`
EXPECTED_ANSWER_MS = 10.0  # of a handler, before any answer has been measured
PRIOR_ANSWERS = 20.0  # that this expectation weighs

log = logger("route")


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision. handler: the path that answers such queries, "" out of domain; latency_ms: what its answers have
    taken on average; entities: what the text names in `snapshot`, empty where only an embedding was given."""

    routing: Routing
    entities: Entities
    handler: str
    latency_ms: float
    degraded: tuple[str, ...]
    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """since: Unix seconds of the first count, None before it; models: (route, model, its record) with any answers."""

    since: float | None
    routes: list[RouteStatistics]
    models: list[tuple[str, Model, Record]]
    version: str
    encoder: str
    degraded: tuple[str, ...]


def route(services: Services, text: str | None, embedding: Floats | None, now: float) -> Routed:
    """Route a text, or its embedding by the router's encoder: then less sure, and without entities.

    Raises InvalidInput when there is neither, or an embedding of another dimension; StoreUnavailable when there is no
    snapshot to find names in or no encoder.
    """
    if text is None and embedding is None:
        raise InvalidInput("give query_text or query_embedding")
    started = perf_counter()
    entities, snapshot = Entities(), None
    degraded: tuple[str, ...] = ()
    if text is not None:
        snapshot, degraded = services.snapshot(now)
        entities = find_entities(snapshot, text)
    routing = shipped_router().route_embedding(embedding) if embedding is not None else _by_text(services, text or "")
    routing = with_entities(routing, entities)
    counts, _, counts_degraded = services.routing.learned(now)
    count_routed(services, routing, 1000 * (perf_counter() - started), now)
    return Routed(
        routing,
        entities,
        HANDLERS[routing.route],
        expected_answer_ms(counts, routing.route),
        tuple(dict.fromkeys((*degraded, *counts_degraded))),
        snapshot,
    )


def plan_query(
    services: Services, snapshot: Snapshot, query: Query, now: float
) -> tuple[Plan, Routed | None, tuple[str, ...]]:
    """What the words of `query` change in the recommendation, and what is degraded: words that cannot be routed are
    searched for as they stand."""
    if not query.text:
        return Plan(query), None, ()
    if snapshot.text_version and encoder_version_of(snapshot.text_version) != shipped_router().encoder:
        return Plan(query), None, (PART,)  # two encoders in one instance would take turns
    started = perf_counter()
    try:
        routing = _by_text(services, query.text)
    except SonaError as error:
        log.warning("searching without a route", reason=str(error))
        return Plan(query), None, (ENCODER,)
    entities = find_entities(snapshot, query.text)
    routing = with_entities(routing, entities)
    count_routed(services, routing, 1000 * (perf_counter() - started), now)
    routed = Routed(routing, entities, HANDLERS[routing.route], 0.0, (), snapshot)
    return plan(query, routing, entities), routed, ()


def _by_text(services: Services, text: str) -> Routing:
    router = shipped_router()
    return router.route(services.encoders.get(router.encoder).read(text).tokens)


def count_routed(services: Services, routing: Routing, routing_ms: float, now: float) -> None:
    """Count a query for the statistics, with the milliseconds that routing it took."""
    services.routing.count(routed_counts(routing.route, routing.confidence, routing_ms), now)


def count_answered(services: Services, routed: Routed, answer_ms: float, now: float) -> None:
    """Count an answer that followed a route, with the milliseconds it took."""
    services.routing.count(answered_counts(routed.routing.route, answer_ms), now)


def expected_answer_ms(counts: Mapping[str, float], route: str) -> float:
    """What answers on a route have taken, beginning with an expectation; 0 where nothing answers."""
    if route == OUT_OF_DOMAIN:
        return 0.0
    answers, total = counts.get(f"route:{route}:answers", 0.0), counts.get(f"route:{route}:answer_ms", 0.0)
    return (PRIOR_ANSWERS * EXPECTED_ANSWER_MS + total) / (PRIOR_ANSWERS + answers)


def select_model(
    services: Services, route: str, complexity: float, budget: float | None, now: float
) -> tuple[Choice, tuple[str, ...]]:
    """The model for a query of a route, by the table and by what feedback has taught. Raises InvalidInput."""
    counts, _, degraded = services.routing.learned(now)
    models = services.routing.models
    return choose(models, records_of(counts, models, route), complexity, budget), degraded


def learn_model(
    services: Services, route: str, model_id: str, complexity: float, quality: float, latency_ms: float, now: float
) -> None:
    """Take in how one answer of a model turned out. Raises InvalidInput."""
    models = services.routing.models
    services.routing.count(feedback_counts(models, route, model_id, complexity, quality, latency_ms), now)


def statistics(services: Services, now: float) -> Statistics:
    """What all instances have counted, this one's latest included, and others' up to a few seconds ago."""
    services.routing.flush(now)
    counts, since, degraded = services.routing.learned(now, fresh=True)
    models = services.routing.models
    used = [
        (route, model, record)
        for route in CLASSES
        for model, record in zip(models, records_of(counts, models, route).values(), strict=True)
        if record.answers
    ]
    router = shipped_router()
    return Statistics(since, statistics_of(counts), used, router.version, router.encoder, degraded)
