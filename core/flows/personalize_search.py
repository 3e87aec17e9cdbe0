"""The story of a personalized search: somebody else's results, bent towards what this user likes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.flows.experiment_memory import about_search
from core.flows.observations import publish_exposures
from core.flows.score import Score, score
from core.flows.services import Services
from core.ranking.query import Query

DEFAULT_WEIGHT = 0.25  # the specification's DISCOVERY_PERSONALIZATION_BOOST_WEIGHT
# The specification's variants: how much of a result's score is the user's.
WEIGHTS = {"control": 0.0, "low": 0.15, "medium": 0.25, "high": 0.40, "aggressive": 0.60}


@dataclass(frozen=True, slots=True)
class Result:
    """One result of a search; `relevance` in [0, 1] is the search engine's."""

    content_id: str
    relevance: float


@dataclass(frozen=True, slots=True)
class Personalized:
    """`score` = relevance (1 - w) + personal w; without a personal score, a title that we do not know, it is the
    relevance (1 - w) + w times what the known ones have on average, so that all are on one scale."""

    content_id: str
    score: float
    relevance: float
    personal: float | None


@dataclass(frozen=True, slots=True)
class PersonalizedSearch:
    """Results in the user's order; weight: what their scores were blended with, variants: of experiments about
    search."""

    results: tuple[Personalized, ...]  # best first; ties in the engine's order
    weight: float
    variants: Mapping[str, str] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()


def weight_of(variant: str | None) -> float:
    """w of one of the specification's variants; an unknown one has the default."""
    return WEIGHTS.get(variant or "", DEFAULT_WEIGHT)


def personalize_search(
    services: Services,
    query: Query,
    results: Sequence[Result],
    now: float,
    variant: str | None = None,
    weight: float = DEFAULT_WEIGHT,
) -> PersonalizedSearch:
    """The results in the user's order. A named variant decides w; else a running experiment; else `weight`.

    Unknown titles are no error: a search engine may have newer ones. Raises StoreUnavailable without a snapshot.
    """
    degraded: tuple[str, ...] = ()
    variants: Mapping[str, str] = {}
    if variant is not None:
        weight = weight_of(variant)
    else:
        ranking = services.settings.ranking
        trial, degraded = services.experiment_memory.trial(query.user_id, ranking, now, about_search)
        weight = weight if trial.search_weight is None else trial.search_weight
        variants = trial.variants
        publish_exposures(services.publisher, services.settings.stores.interactions_topic, query.user_id, variants, now)
    scores, score_degraded = _scores(services, query, results, now) if weight > 0 else ({}, ())
    blended = blend(results, scores, weight)
    return PersonalizedSearch(blended, weight, variants, tuple(dict.fromkeys(degraded + score_degraded)))


def blend(results: Sequence[Result], personal: Mapping[str, float], weight: float) -> tuple[Personalized, ...]:
    """final = r (1 - w) + s w per result, best first."""
    known = [personal[one.content_id] for one in results if one.content_id in personal]
    usual = math.fsum(known) / len(known) if known else 0.0
    if not known:
        weight = 0.0  # nothing is known of any of them: the engine's own scores
    blended = [
        Personalized(
            one.content_id,
            one.relevance * (1 - weight) + personal.get(one.content_id, usual) * weight,
            one.relevance,
            personal.get(one.content_id),
        )
        for one in results
    ]
    return tuple(sorted(blended, key=lambda one: -one.score))


def _scores(
    services: Services, query: Query, results: Sequence[Result], now: float
) -> tuple[dict[str, float], tuple[str, ...]]:
    snapshot, degraded = services.snapshot(now)
    known = tuple(dict.fromkeys(one.content_id for one in results if snapshot.row(one.content_id) is not None))
    if not known:
        return {}, ()
    scores: tuple[Score, ...]
    scores, score_degraded = score(services, query, known, now, snapshot)
    return {one.content_id: one.score for one in scores}, (*degraded, *score_degraded)
