"""Paths about the router: routes for queries, models for routes, and what was counted."""

from __future__ import annotations

from pydantic import TypeAdapter

from core.api import router_schemas as schemas
from core.api.answers import rfc3339
from core.api.auth import for_services
from core.api.http import Call, Route
from core.api.routes import health, hot_store_probe, snapshot_probe
from core.api.routing_answers import entities_out, named_routes
from core.flows.route import learn_model, route, select_model, statistics
from core.flows.services import Services
from core.numeric.vectors import require_finite
from core.routing.router import shipped_router


def answer_route(call: Call) -> schemas.RouteOut:
    """What kind of query it is, what it names, and which path answers it."""
    body: schemas.RouteBody = call.body
    given = body.query_embedding
    embedding = None if given is None else require_finite(given, "query_embedding")
    routed = route(call.services, body.query_text, embedding, call.now)
    return {
        "route_name": routed.routing.route,
        "confidence": routed.routing.confidence,
        "uncertainty": routed.routing.uncertainty,
        "plausible_routes": routed.routing.plausible,
        "estimated_latency_ms": round(routed.latency_ms, 3),
        "handler_endpoint": routed.handler,
        "routes": named_routes(routed.routing),
        "entities": entities_out(routed),
        "model_version": shipped_router().version,
        "degraded": routed.degraded,
    }


def answer_select(call: Call) -> schemas.SelectOut:
    """Which of the configured language models should answer, within a budget."""
    body: schemas.SelectBody = call.body
    choice, degraded = select_model(
        call.services, body.route_name, body.complexity_score, body.budget_remaining, call.now
    )
    return {
        "model_id": choice.model.model_id,
        "estimated_cost": choice.model.cost,
        "estimated_latency_ms": round(choice.latency_ms, 3),
        "expected_accuracy": round(choice.accuracy, 6),
        "within_budget": choice.affordable,
        "answers_seen": choice.answers,
        "degraded": degraded,
    }


def answer_feedback(call: Call) -> schemas.FeedbackOut:
    """For services: how a model's answer turned out, so that the choice of models learns."""
    refusal = "only a service may judge models: its word changes everybody's choices"
    for_services(call.identity, call.services.settings.auth, refusal)
    body: schemas.FeedbackBody = call.body
    learn_model(
        call.services,
        body.route_name,
        body.model_id,
        body.complexity_score,
        body.judgement(),
        body.latency_ms,
        call.now,
    )
    return {"status": "accepted"}


def answer_stats(call: Call) -> schemas.RouterStatsOut:
    """What was counted: queries by route, answers by model."""
    found = statistics(call.services, call.now)
    return {
        "since": None if found.since is None else rfc3339(found.since),
        "queries": sum(entry.queries for entry in found.routes),
        "routes": [
            {
                "route_name": entry.route,
                "queries": entry.queries,
                "share": round(entry.share, 6),
                "mean_confidence": entry.confidence,
                "mean_routing_ms": entry.routing_ms,
                "mean_answer_ms": entry.answer_ms,
            }
            for entry in found.routes
        ],
        "models": [
            {
                "route_name": name,
                "model_id": model.model_id,
                "answers": int(record.answers),
                "accuracy": record.good / record.answers,
                "mean_latency_ms": record.latency_ms / record.answers,
            }
            for name, model, record in found.models
        ],
        "model_version": found.version,
        "encoder": found.encoder,
        "degraded": found.degraded,
    }


def encoder_probe(services: Services, now: float) -> object:
    """Whether texts can be routed; embeddings always can."""
    return services.encoders.get(shipped_router().encoder).version


PROBES = {"snapshot": snapshot_probe, "hot_store": hot_store_probe, "encoder": encoder_probe}
ROUTER_ROUTES = {
    "/api/v1/router/route": {"POST": Route(answer_route, TypeAdapter(schemas.RouteBody))},
    "/api/v1/router/select-model": {"POST": Route(answer_select, TypeAdapter(schemas.SelectBody))},
    "/api/v1/router/feedback": {"POST": Route(answer_feedback, TypeAdapter(schemas.FeedbackBody), 202)},
    "/api/v1/router/stats": {"POST": Route(answer_stats, TypeAdapter(schemas.StatsBody))},
    "/health": {"GET": health("router", PROBES)},
}
