"""What callers may send to the router and what they get, with the names of the specification's messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator
from typing_extensions import TypedDict

from core.api.schemas import ContextFields, Degraded, Id, Share, Strict, Text

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
    """A query by its words, or by their embedding by the router's encoder: then less sure, and without entities."""

    query_text: Text | None = Field(None, validation_alias=AliasChoices("query_text", "query"))
    query_embedding: Annotated[list[float], Field(min_length=1, max_length=MAX_DIMS)] | None = None
    context: ContextFields | None = Field(
        None, description="of the specification's message; a route does not depend on it"
    )

    @model_validator(mode="after")
    def _something(self) -> RouteBody:
        if self.query_text is None and self.query_embedding is None:
            raise ValueError("give query_text or query_embedding")
        return self


class SelectBody(Strict):
    """A query of a route, by how hard it is and what an answer may cost."""

    route_name: RouteName
    complexity_score: Share = Field(0.5, description="0: easy")
    budget_remaining: float | None = Field(None, ge=0, description="in the unit of the models' costs; null: any")


class FeedbackBody(Strict):
    """How an answer of a model turned out: `quality` in [0, 1], or only whether it was good."""

    route_name: RouteName
    model_id: Id
    complexity_score: Share = Field(0.5, description="as it was when the model was chosen")
    success: bool | None = None
    quality: Share | None = None
    latency_ms: float = Field(ge=0, le=3_600_000)

    @model_validator(mode="after")
    def _judged(self) -> FeedbackBody:
        if self.success is None and self.quality is None:
            raise ValueError("give success or quality")
        return self

    def judgement(self) -> float:
        """Quality in [0, 1]; of a mere success 1, of a failure 0."""
        return self.quality if self.quality is not None else float(bool(self.success))


class StatsBody(Strict):
    """Nothing to say."""


class NamedRouteOut(TypedDict):
    """A route and its part in a query."""

    route_name: str
    confidence: Annotated[float, Field(description="calibrated probability")]


class TitleOut(TypedDict):
    """A title that a query names."""

    mention: Annotated[str, Field(description="as the query has it")]
    content_ids: Annotated[list[str], Field(description="that it may mean, most popular first")]


class EntitiesOut(TypedDict):
    """What a query names, in the catalogue's words."""

    titles: list[TitleOut]
    people: list[str]
    genres: tuple[str, ...]
    exclude_genres: tuple[str, ...]
    services: tuple[str, ...]
    own_services: Annotated[bool, Field(description="it asks for what the viewer subscribes to")]
    regions: tuple[str, ...]
    languages: tuple[str, ...]
    types: tuple[str, ...]
    year_min: int | None
    year_max: int | None
    mood: str | None


class OfferOut(TypedDict):
    """Where a title can be watched now."""

    content_id: str
    service: str
    region: str
    expires_at: Annotated[str | None, Field(description="RFC 3339; null: open-ended")]


class RoutingOut(TypedDict):
    """What a recommendation took the request's text for."""

    route_name: str
    confidence: Annotated[float, Field(description="calibrated probability")]
    routes: Annotated[list[NamedRouteOut], Field(description="all that have a part in it, the leading one first")]
    entities: EntitiesOut
    availability: Annotated[list[OfferOut], Field(description="of the titles asked about")]


class RouteOut(TypedDict):
    """What kind of query it is, how sure that is, and what it names."""

    route_name: Annotated[str, Field(description="one of the six, or out_of_domain")]
    confidence: Annotated[float, Field(description="calibrated probability")]
    uncertainty: Annotated[float, Field(description="0: none; 1: as good as guessed")]
    plausible_routes: Annotated[tuple[str, ...], Field(description="they hold the right one in 9 of 10 cases")]
    estimated_latency_ms: Annotated[float, Field(description="what answers on this route have taken on average")]
    handler_endpoint: Annotated[
        str, Field(description="the path that answers such queries; empty when it is out of domain")
    ]
    routes: Annotated[list[NamedRouteOut], Field(description="all that have a part in it, the leading one first")]
    entities: EntitiesOut
    model_version: str
    degraded: Degraded


class SelectOut(TypedDict):
    """The most accurate model that the budget allows."""

    model_id: str
    estimated_cost: Annotated[float, Field(description="of one answer, in the unit of the budget")]
    estimated_latency_ms: Annotated[float, Field(description="by the table and what was measured")]
    expected_accuracy: Annotated[float, Field(description="share of good answers at this complexity")]
    within_budget: Annotated[bool, Field(description="false: no model is; this is the cheapest")]
    answers_seen: Annotated[int, Field(description="on this route, which have corrected the table")]
    degraded: Degraded


class FeedbackOut(TypedDict):
    """A judgement that was taken in."""

    status: Annotated[str, Field(description="accepted")]


class RouteStatsOut(TypedDict):
    """What was counted on one route; null: nothing to average."""

    route_name: str
    queries: int
    share: Annotated[float, Field(description="of all queries")]
    mean_confidence: Annotated[float | None, Field(description="calibrated probability")]
    mean_routing_ms: Annotated[float | None, Field(description="of finding the route")]
    mean_answer_ms: Annotated[float | None, Field(description="of the answers that followed it")]


class ModelStatsOut(TypedDict):
    """How one model has answered on one route."""

    route_name: str
    model_id: str
    answers: int
    accuracy: Annotated[float, Field(description="share of good answers; qualities count in part")]
    mean_latency_ms: float


class RouterStatsOut(TypedDict):
    """What all instances have counted, others' up to a few seconds ago."""

    since: Annotated[str | None, Field(description="RFC 3339, of the first count that is still kept")]
    queries: int
    routes: list[RouteStatsOut]
    models: Annotated[list[ModelStatsOut], Field(description="with any answers")]
    model_version: str
    encoder: Annotated[str, Field(description="version of the text encoder that embeddings must come from")]
    degraded: Degraded
