"""The story of attention on demand: choose mechanisms for a query, apply them, learn what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.attention import attend, describe, weights
from core.attention.select import (
    QUERY_TYPES,
    Proposal,
    observed,
    only,
    propose,
    reward_counts,
    types_of,
    usable_with,
)
from core.errors import InvalidInput
from core.flows.services import Services
from core.numeric.vectors import Floats
from core.routing.router import Routing, shipped_router

DATA = (
    "hops", "edge_features", "positions", "query_positions", "timestamps", "query_timestamps", "adjacency",
    "transition", "groups", "degrees",
)  # fmt: skip
HEAD_GROUPS = "grouped_query"  # its groups are a number of heads, others' are labels of the keys


@dataclass(frozen=True, slots=True)
class Part:
    """One mechanism of a combination: its weight and its settings."""

    mechanism: str
    weight: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """query_type: the most likely; types: the probability of each."""

    query_type: str
    types: dict[str, float]
    proposals: tuple[Proposal, ...]
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """output: (n_q, d_v); rows: (n_q, n) weights of the keys, None where a part has none; parts: weights sum to 1."""

    output: Floats
    rows: Floats | None
    parts: tuple[Part, ...]


def select(
    services: Services,
    query_type: str | None,
    text: str | None,
    embedding: Floats | None,
    data: Collection[str] | None,
    now: float,
) -> Selection:
    """The three mechanisms for a query of a type, or for a query by its words or its embedding.

    data: what the caller has of DATA, so that nothing is proposed that needs more; None: anything. Raises InvalidInput
    for an unknown type or an embedding of another dimension, StoreUnavailable when there is no encoder for the text.
    """
    of_type = only(query_type) if query_type is not None else types_of(_routing(services, text, embedding))
    counts, _, degraded = services.routing.learned(now)
    chosen = propose(of_type, *observed(counts), usable_with(data))
    types = {name: float(chance) for name, chance in zip(QUERY_TYPES, of_type, strict=True)}
    return Selection(max(types, key=lambda name: types[name]), types, chosen, degraded)


def _routing(services: Services, text: str | None, embedding: Floats | None) -> Routing:
    router = shipped_router()
    if embedding is not None:
        return router.route_embedding(embedding)
    if not text:
        raise InvalidInput("give query_type, query_text or query_embedding")
    return router.route(services.encoders.get(router.encoder).token_vectors([text])[0])


def learn(services: Services, query_type: str, shares: Mapping[str, float], reward: float, now: float) -> None:
    """Take in what came of an answer, `reward` in [0, 1]. Raises InvalidInput for what there is not."""
    services.routing.count(reward_counts(query_type, shares, reward), now)


def apply(
    parts: Sequence[Part], q: Floats, k: Floats, v: Floats, data: Mapping[str, Any], with_rows: bool = False
) -> Applied:
    """The weighted sum of what the mechanisms answer for queries q (n_q, d), keys k (n, d) and values v (n, d_v).

    data: by names of DATA; each mechanism gets what it takes. Raises InvalidInput for unknown mechanisms and settings,
    shapes that do not fit, data that is missing or that no mechanism takes, and a result that is not finite.
    """
    total = sum(part.weight for part in parts)
    if not total > 0:
        raise InvalidInput("the weights of the mechanisms are all zero")
    chosen = tuple(Part(part.mechanism, part.weight / total, part.settings) for part in parts)
    sides = [_side(part, data) for part in chosen]
    if unread := data.keys() - {key for side in sides for key in side}:
        raise InvalidInput(f"no mechanism of these takes {sorted(unread)}")
    output = np.zeros((len(q), v.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        for part, side in zip(chosen, sides, strict=True):
            output += np.float32(part.weight) * attend(part.mechanism, q, k, v, **side)
    if not np.isfinite(output).all():
        raise InvalidInput("the inputs are too large: the result is not finite")
    return Applied(output, _rows(chosen, sides, q, k) if with_rows else None, chosen)


def _side(part: Part, data: Mapping[str, Any]) -> dict[str, Any]:
    takes = describe(part.mechanism).accepts - ({"groups"} if part.mechanism == HEAD_GROUPS else set())
    return {name: given for name, given in data.items() if name in takes} | dict(part.settings)


def _rows(parts: Sequence[Part], sides: Sequence[dict[str, Any]], q: Floats, k: Floats) -> Floats | None:
    if not all(describe(part.mechanism).row_weights for part in parts):
        return None
    rows = np.zeros((len(q), len(k)), np.float32)
    for part, side in zip(parts, sides, strict=True):
        rows += np.float32(part.weight) * weights(part.mechanism, q, k, **side)
    return rows
