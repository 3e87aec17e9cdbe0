"""What callers may send to the router and what they get, with the names of the specification's messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator
from typing_extensions import TypedDict

from core.api.schemas import ContextFields, Id, Share, Strict, Text

RouteName = Literal[
    "gnn_similarity",
    "vector_search",
    "mood_matching",
    "catalog_freshness",
    "availability_check",
    "personalized_hybrid",
]
MAX_DIMS = 4096  # of an embedding


class RouteBody(Strict):
    query_text: Text | None = Field(None, validation_alias=AliasChoices("query_text", "query"))
    query_embedding: Annotated[list[float], Field(min_length=1, max_length=MAX_DIMS)] | None = None
    context: ContextFields | None = None  # of the specification's message; a route does not depend on it

    @model_validator(mode="after")
    def something(self) -> RouteBody:
        if self.query_text is None and self.query_embedding is None:
            raise ValueError("give query_text or query_embedding")
        return self


class SelectBody(Strict):
    route_name: RouteName
    complexity_score: Share = 0.5
    budget_remaining: float | None = Field(None, ge=0)


class FeedbackBody(Strict):
    """How an answer of a model turned out: `quality` in [0, 1], or only whether it was good."""

    route_name: RouteName
    model_id: Id
    complexity_score: Share = 0.5
    success: bool | None = None
    quality: Share | None = None
    latency_ms: float = Field(ge=0, le=3_600_000)

    @model_validator(mode="after")
    def judged(self) -> FeedbackBody:
        if self.success is None and self.quality is None:
            raise ValueError("give success or quality")
        return self

    def judgement(self) -> float:
        return self.quality if self.quality is not None else float(bool(self.success))


class StatsBody(Strict):
    """Nothing to say."""


class NamedRouteOut(TypedDict):
    route_name: str
    confidence: float


class TitleOut(TypedDict):
    mention: str  # as the query has it
    content_ids: list[str]  # that it may mean, most popular first


class EntitiesOut(TypedDict):
    titles: list[TitleOut]
    people: list[str]
    genres: tuple[str, ...]
    exclude_genres: tuple[str, ...]
    services: tuple[str, ...]
    own_services: bool
    regions: tuple[str, ...]
    languages: tuple[str, ...]
    types: tuple[str, ...]
    year_min: int | None
    year_max: int | None
    mood: str | None


class OfferOut(TypedDict):
    content_id: str
    service: str
    region: str
    expires_at: str | None  # null: open-ended


class RoutingOut(TypedDict):
    """What a recommendation took the request's text for."""

    route_name: str
    confidence: float
    routes: list[NamedRouteOut]
    entities: EntitiesOut
    availability: list[OfferOut]  # of the titles asked about


class RouteOut(TypedDict):
    route_name: str  # one of the six, or out_of_domain
    confidence: float  # calibrated
    uncertainty: float  # 0 none, 1 as good as guessed
    plausible_routes: tuple[str, ...]  # they hold the right one in 9 of 10 cases
    estimated_latency_ms: float
    handler_endpoint: str  # empty when it is out of domain
    routes: list[NamedRouteOut]  # all that have a part in it, the leading one first
    entities: EntitiesOut
    model_version: str
    degraded: tuple[str, ...]


class SelectOut(TypedDict):
    model_id: str
    estimated_cost: float
    estimated_latency_ms: float
    expected_accuracy: float
    within_budget: bool  # false: no model is; this is the cheapest
    answers_seen: int  # on this route, which have corrected the table
    degraded: tuple[str, ...]


class FeedbackOut(TypedDict):
    status: str


class RouteStatsOut(TypedDict):
    route_name: str
    queries: int
    share: float
    mean_confidence: float | None
    mean_routing_ms: float | None
    mean_answer_ms: float | None


class ModelStatsOut(TypedDict):
    route_name: str
    model_id: str
    answers: int
    accuracy: float
    mean_latency_ms: float


class StatsOut(TypedDict):
    since: str | None  # of the first count that is still kept
    queries: int
    routes: list[RouteStatsOut]
    models: list[ModelStatsOut]
    model_version: str
    encoder: str
    degraded: tuple[str, ...]
