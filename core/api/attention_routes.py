"""Paths about attention: the mechanisms there are, those that suit a query, and any of them applied."""

from __future__ import annotations

import numpy as np
from pydantic import TypeAdapter

from core.api import attention_schemas as schemas
from core.api.auth import for_services
from core.api.http import Call, Route
from core.api.router_routes import encoder_probe
from core.api.routes import health, hot_store_probe
from core.attention import Mechanism, describe, names
from core.flows.attention import DATA, HEAD_GROUPS, Part, apply, learn, select
from core.numeric.vectors import require_finite

SETTINGS = set(schemas.SettingFields.model_fields)


def answer_mechanisms(call: Call) -> schemas.MechanismsOut:
    """The attention mechanisms there are, with the data and settings each takes."""
    body: schemas.MechanismsBody = call.body
    found = [_mechanism_out(describe(name)) for name in names(body.family)]
    return {"total": len(found), "mechanisms": found}


def _mechanism_out(entry: Mechanism) -> schemas.MechanismOut:
    takes = entry.accepts - ({"groups"} if entry.name == HEAD_GROUPS else set())
    settings = SETTINGS - ({"groups"} if entry.name != HEAD_GROUPS else set())
    return {
        "number": entry.number,
        "mechanism": entry.name,
        "family": entry.family,
        "needs": entry.needs,
        "instead": dict(entry.instead),
        "takes": [name for name in DATA if name in takes and name not in entry.needs],
        "settings": sorted(settings & entry.accepts),
        "softmax": entry.softmax,
        "row_weights": entry.row_weights,
        "source": entry.source,
    }


def answer_select_attention(call: Call) -> schemas.SelectAttentionOut:
    """The three mechanisms that suit a query, by table and by what feedback has taught."""
    body: schemas.SelectAttentionBody = call.body
    given = body.query_embedding
    embedding = None if given is None else require_finite(given, "query_embedding")
    found = select(call.services, body.query_type, body.query_text, embedding, body.available, call.now)
    return {
        "query_type": found.query_type,
        "query_types": {name: round(chance, 6) for name, chance in found.types.items()},
        "mechanisms": [
            {
                "mechanism": proposal.mechanism,
                "weight": round(proposal.weight, 6),
                "expected_reward": round(proposal.reward, 6),
                "trials": round(proposal.trials, 6),
            }
            for proposal in found.proposals
        ],
        "degraded": found.degraded,
    }


def answer_apply_attention(call: Call) -> schemas.ApplyAttentionOut:
    """Apply one mechanism, a weighted combination, or those selected for a type of query."""
    body: schemas.ApplyAttentionBody = call.body
    q, k, v = (schemas.array(getattr(body, name), name).astype(np.float32) for name in ("queries", "keys", "values"))
    data, parts = body.data.given(), body.parts()
    degraded: tuple[str, ...] = ()
    if body.query_type is not None:
        found = select(call.services, body.query_type, None, None, data, call.now)
        parts = [Part(proposal.mechanism, proposal.weight) for proposal in found.proposals]
        taken = {name for part in parts for name in describe(part.mechanism).accepts}
        data, degraded = {name: given for name, given in data.items() if name in taken}, found.degraded
    done = apply(parts, q, k, v, data, body.return_weights)
    return {
        "output": done.output.tolist(),
        "mechanisms": [{"mechanism": part.mechanism, "weight": round(part.weight, 6)} for part in done.parts],
        "attention_weights": None if done.rows is None else done.rows.tolist(),
        "degraded": degraded,
    }


def answer_attention_feedback(call: Call) -> schemas.AttentionFeedbackOut:
    """For services: what came of an answer, so that selection learns."""
    refusal = "only a service may reward mechanisms: its word changes everybody's selection"
    for_services(call.identity, call.services.settings.auth, refusal)
    body: schemas.AttentionFeedbackBody = call.body
    learn(call.services, body.query_type, body.shares(), body.reward, call.now)
    return {"status": "accepted"}


PROBES = {"hot_store": hot_store_probe, "encoder": encoder_probe}
ATTENTION_ROUTES = {
    "/api/v1/attention/mechanisms": {"POST": Route(answer_mechanisms, TypeAdapter(schemas.MechanismsBody))},
    "/api/v1/attention/select": {"POST": Route(answer_select_attention, TypeAdapter(schemas.SelectAttentionBody))},
    "/api/v1/attention/apply": {"POST": Route(answer_apply_attention, TypeAdapter(schemas.ApplyAttentionBody))},
    "/api/v1/attention/feedback": {
        "POST": Route(answer_attention_feedback, TypeAdapter(schemas.AttentionFeedbackBody), 202)
    },
    "/health": {"GET": health("attention", PROBES)},
}
