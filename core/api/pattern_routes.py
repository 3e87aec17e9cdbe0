"""Paths of the reasoning bank."""

from __future__ import annotations

from pydantic import TypeAdapter

from core.api import pattern_schemas as schemas
from core.api.answers import rfc3339
from core.api.auth import for_services
from core.api.http import Call, Route
from core.api.routes import cold_store_probe, health, snapshot_probe
from core.flows.maintain_patterns import maintain_patterns
from core.flows.patterns import apply_patterns, find_patterns, store_pattern
from core.patterns.known import KnownPattern, strongest

REFUSAL = "only a service may change the bank: it bends everybody's answers"


def answer_store(call: Call) -> schemas.StoreOut:
    """For services: keep a pattern that was found elsewhere."""
    for_services(call.identity, call.services.settings.auth, REFUSAL)
    body: schemas.StoreBody = call.body
    pattern, stored = store_pattern(
        call.services, body.asked(), body.weights(), body.success_rate, body.sample_size, call.now
    )
    return {"pattern_id": pattern.pattern_id, "stored": stored, "space": pattern.space}


def answer_search(call: Call) -> schemas.PatternSearchOut:
    """Patterns for a query in its circumstances, best first."""
    body: schemas.PatternSearchBody = call.body
    found = find_patterns(call.services, body.asked(), body.limit, body.min_similarity, call.now)
    return {
        "patterns": [_pattern(one) for one in found.patterns],
        "total_patterns_searched": found.searched,
        "space": found.space,
        "degraded": found.degraded,
    }


def answer_apply(call: Call) -> schemas.ApplyOut:
    """Let the patterns for a query bend a ranking."""
    body: schemas.ApplyBody = call.body
    candidates = {candidate.content_id: candidate.score for candidate in body.candidates}
    boosted, found = apply_patterns(call.services, body.asked(), candidates, call.now)
    return {
        "candidates": [
            {
                "content_id": one.content_id,
                "score": one.score,
                "pattern_boost": one.pattern_boost,
                "pattern_id": one.pattern_id,
            }
            for one in boosted
        ],
        "patterns_applied": [_pattern(one) for one in found.patterns],
        "degraded": found.degraded,
    }


def answer_maintenance(call: Call) -> schemas.MaintenanceOut:
    """For services: prune, merge and decay patterns, now instead of at night."""
    for_services(call.identity, call.services.settings.auth, REFUSAL)
    done = maintain_patterns(call.services, call.body.maintenance_type, call.now, call.body.dry_run)
    return {
        "maintenance_type": done["kind"],
        "dry_run": done["dry_run"],
        "patterns_before": done["patterns_before"],
        "patterns_after": done["patterns_after"],
        "steps": done["steps"],
        "duration_ms": 1000.0 * done["seconds"],
    }


def _pattern(pattern: KnownPattern) -> schemas.PatternOut:
    return {
        "pattern_id": pattern.pattern_id,
        "similarity": round(pattern.similarity, 6),
        "confidence": pattern.confidence,
        "success_rate": pattern.quality,
        "boost": pattern.boost,
        "usage_count": pattern.usage_count,
        "sample_size": pattern.size,
        "segment": pattern.segment,
        "context": pattern.circumstances,
        "results": strongest(pattern.results, len(pattern.results)),
        "last_used": rfc3339(pattern.last_used),
    }


PROBES = {"snapshot": snapshot_probe, "cold_store": cold_store_probe}
PATTERN_ROUTES = {
    "/api/v1/patterns": {"POST": Route(answer_store, TypeAdapter(schemas.StoreBody))},
    "/api/v1/patterns/search": {"POST": Route(answer_search, TypeAdapter(schemas.PatternSearchBody))},
    "/api/v1/patterns/apply": {"POST": Route(answer_apply, TypeAdapter(schemas.ApplyBody))},
    "/api/v1/patterns/maintenance": {
        "POST": Route(answer_maintenance, TypeAdapter(schemas.MaintenanceBody), limit="train")
    },
    "/health": {"GET": health("patterns", PROBES)},
}
