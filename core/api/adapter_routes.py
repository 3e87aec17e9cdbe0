"""Paths about adapters: the adapter service, training on demand, and the requests that Pub/Sub pushes."""

from __future__ import annotations

import base64
import math

import numpy as np
from pydantic import TypeAdapter

from core.api import adapter_schemas as schemas
from core.api.answers import rfc3339
from core.api.auth import is_service
from core.api.events import open_delivery
from core.api.http import ANY_PATH, Call, Refused, Route
from core.api.routes import cold_store_probe, health, hot_store_probe, pushed_by_broker, snapshot_probe
from core.flows.adapt import DAMAGE, adapt
from core.flows.adapters import (
    TooFewEvents,
    TooSoon,
    adapt_embeddings,
    adapter_stats,
    load_adapter,
    roll_back,
    space_dims,
    train,
)
from core.flows.collect import collect
from core.profile.state import UserState
from core.stores.protocols import Adaptation
from core.telemetry import measure


def answer_load(call: Call) -> schemas.LoadOut:
    """A user's adapter as requests apply it; who has none may get one that changes nothing."""
    loaded = load_adapter(call.services, call.user(), call.body.create_if_missing, call.now)
    return {
        "adapter_weights": None if loaded.weights is None else base64.b64encode(loaded.weights).decode(),
        "interaction_count": loaded.interactions,
        "last_updated": None if loaded.updated_at is None else rfc3339(loaded.updated_at),
        "is_new": loaded.is_new,
    }


def answer_adapt(call: Call) -> schemas.AdaptOut:
    """Embeddings as a user's adapters change them."""
    user_id = call.user()
    rows, flat = call.body.rows(space_dims(call.services, call.now))
    done = adapt_embeddings(call.services, user_id, rows, call.now)
    adapted = done.embeddings.ravel() if flat else done.embeddings
    return {
        "adapted_embeddings": np.round(adapted.astype(np.float64), 7).tolist(),
        "adaptation_magnitude": done.magnitude,
        "degraded": done.degraded,
    }


def answer_update(call: Call) -> schemas.UpdateOut:
    """Hand in one interaction to learn from; the adapter follows when it is ingested."""
    user_id = call.user()
    event = call.heard(call.body.interaction.event(user_id, call.now, call.now))
    collect(call.services, user_id, [event])
    return {"status": "accepted", "event_id": event.event_id}


def answer_stats(call: Call) -> schemas.AdapterStatsOut:
    """What is known of a user's adapter: versions, norms, what it learned from, the latest trainings."""
    user_id = call.user()
    found = adapter_stats(call.services, user_id)
    current, folded = found.current, found.current.folded_upto_seq if found.current else 0
    return {
        "user_id": user_id,
        "interaction_count": found.state.interactions,
        "adapter_version": current.version if current else 0,
        "versions": found.versions,
        "generation": current.generation if current else "",
        "folded_upto_seq": folded,
        "pending_events": max(found.state.seq - folded, 0),
        "last_updated": rfc3339(current.updated_at) if current else None,
        "cold_bytes": len(current.blob) if current else 0,
        "hot_bytes": found.hot_bytes,
        "ewc_tasks": found.tasks,
        "fisher_mass": found.fisher_mass,
        "norm": found.norm,
        "fast_tier": _fast_tier(found.state),
        "adaptations": [_adaptation(entry) for entry in found.entries],
    }


def _fast_tier(state: UserState) -> schemas.FastTierOut | None:
    fast = state.fast
    if fast is None:
        return None
    norm = float(np.linalg.norm(fast.B.astype(np.float32)))
    return {
        "generation": fast.generation,
        "gain": fast.gain,
        "updates": fast.updates,
        "useful": fast.useful,
        "norm": norm,
    }


def _adaptation(entry: Adaptation) -> schemas.AdaptationOut:
    return {
        "at": rfc3339(entry.at),
        "from_seq": entry.from_seq,
        "upto_seq": entry.upto_seq,
        "snapshot": entry.snapshot,
        "generation": entry.generation,
        "verdict": entry.verdict,
        "metrics": {name: value if math.isfinite(value) else None for name, value in entry.metrics.items()},
    }


def answer_rollback(call: Call) -> schemas.RollbackOut:
    """Make an earlier version of a user's adapter the newest again. What was learned since is not learned again by
    itself."""
    restored = roll_back(call.services, call.user(), call.body.version, call.now)
    return {
        "status": "rolled_back",
        "adapter_version": restored.version,
        "generation": restored.generation,
        "last_updated": rfc3339(restored.updated_at),
    }


def answer_train(call: Call) -> schemas.TrainOut:
    """Train a user's adapter now. Too few events are a 400, a second training too soon a 429 except for services."""
    user_id, auth = call.user(), call.services.settings.auth
    privileged = is_service(call.identity, auth)
    try:
        done = train(call.services, user_id, call.body.force, privileged, call.now)
    except TooFewEvents as error:
        raise Refused(400, "not_enough_events", str(error), details={"current_count": error.current}) from error
    except TooSoon as error:
        raise Refused(429, "too_many_requests", str(error), {"Retry-After": str(error.retry_after_s)}) from error
    return {
        "status": done.status,
        "duration_ms": round(done.duration_ms, 3),
        "training_iterations": done.iterations,
        "events_used": done.events_used,
    }


def answer_request(call: Call) -> schemas.AdaptedOut:
    """One message. What no repetition would mend is kept with its reason and acknowledged: what asks for nothing, and
    what asks for a user whose data is damaged. The user's next requests would wait behind it."""
    delivery = open_delivery(call.body, call.now)
    measure("sona.queue.age", max(call.now - delivery.published_at, 0.0), queue="adaptation-requests")
    request, reason = schemas.request_in(delivery)
    user_id = request.user_id if request else delivery.sender
    if request is not None:
        try:
            done = adapt(call.services, user_id, request.seq, call.now)
            call.services.states.refresh_stale(call.now)
            return {"status": done.verdict, "version": done.version}
        except DAMAGE as error:
            reason = str(error)
    kept = delivery.raw if delivery.data is None else delivery.data
    call.services.log.reject(reason, kept, delivery.message_id, user_id)
    return {"status": "rejected", "version": 0}


PROBES = {"snapshot": snapshot_probe, "hot_store": hot_store_probe, "cold_store": cold_store_probe}
ADAPTER_ROUTES = {
    "/api/v1/adapter/load": {"POST": Route(answer_load, TypeAdapter(schemas.LoadBody))},
    "/api/v1/adapter/adapt": {"POST": Route(answer_adapt, TypeAdapter(schemas.AdaptBody))},
    "/api/v1/adapter/update": {"POST": Route(answer_update, TypeAdapter(schemas.UpdateBody), 202, limit="write")},
    "/api/v1/adapter/stats": {"POST": Route(answer_stats, TypeAdapter(schemas.UserBody))},
    "/api/v1/adapter/rollback": {"POST": Route(answer_rollback, TypeAdapter(schemas.RollbackBody), limit="train")},
    "/api/v1/lora/train": {"POST": Route(answer_train, TypeAdapter(schemas.TrainBody), limit="train")},
    "/health": {"GET": health("adapters", PROBES)},
}
ADAPT_ROUTES = {
    "/health": {"GET": health("adapt", PROBES)},
    ANY_PATH: {"POST": Route(answer_request, caller=pushed_by_broker)},  # the subscription chooses its path
}
