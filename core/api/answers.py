"""What callers get: typed dictionaries, checked by the type checker and serialised without a second validation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic refuses typing.TypedDict before Python 3.12

from core.api.router_schemas import RoutingOut


class RecommendationOut(TypedDict):
    content_id: str
    title: str
    confidence_score: float  # 0..1, the sum of score_parts
    recommendation_type: str  # the strategy with the largest part
    based_on: tuple[str, ...]  # content ids of the viewer's history
    explanation: str
    score_parts: dict[str, float]
    pattern_id: str | None  # the pattern that lifted the title most


class RecommendOut(TypedDict):
    recommendations: list[RecommendationOut]
    request_id: str
    generated_at: str  # RFC 3339
    ttl_seconds: int
    snapshot: str
    experiments: dict[str, str]  # running experiment -> the viewer's variant
    degraded: tuple[str, ...]  # parts that did not take part; empty when all did
    known_events: int  # of the viewer's own, impressions aside, that the answer knows; it grows with one's own writes
    weights: dict[str, float]  # strategy -> its share of the highest possible score, for this viewer
    routing: NotRequired[RoutingOut]  # with a text: what it was taken for


class UserRecommendOut(RecommendOut):
    user_id: str


class BatchOut(TypedDict):
    answers: list[UserRecommendOut]  # one per user, in the order asked for


class StepOut(TypedDict):
    via: str  # director, cast or franchise
    name: str
    content_id: str  # the title that it leads to


class SimilarTitleOut(TypedDict):
    content_id: str
    title: str
    score: float
    relation: str
    path: NotRequired[list[StepOut]]  # with `via`: the hops from the title asked about to this one


class SimilarOut(TypedDict):
    similar_content: list[SimilarTitleOut]
    degraded: tuple[str, ...]


class ScoreOut(TypedDict):
    content_id: str
    score: float
    components: dict[str, float]


class UserScoreOut(ScoreOut):
    user_id: str
    degraded: tuple[str, ...]


class UserScoresOut(TypedDict):
    user_id: str
    scores: list[ScoreOut]
    degraded: tuple[str, ...]


class SearchResultOut(TypedDict):
    content_id: str
    score: float
    original_score: float
    personal_score: float | None  # None: a title that is not in the catalogue, or nothing was personalized


class SearchOut(TypedDict):
    user_id: str
    results: list[SearchResultOut]
    weight: float
    experiments: dict[str, str]
    degraded: tuple[str, ...]


class AcceptedOut(TypedDict):
    status: str  # accepted: Pub/Sub has the events
    accepted: int
    event_ids: list[str]


class ProfileOut(TypedDict):
    status: str
    user_id: str
    events_processed: int
    preference_vector_dim: int


class IngestedOut(TypedDict):
    status: str
    stored: int
    known: int
    rejected: int


class HealthOut(TypedDict):
    status: str  # ok, or degraded when a component does not answer
    service: str
    version: str
    components: dict[str, Any]


def rfc3339(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
