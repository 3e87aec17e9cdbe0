"""What callers may send. Strict: unknown fields, wrong types, non-finite numbers and endless lists are refused.

Every model turns itself into the words of the flows; nothing behind core.api sees pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from core.errors import InvalidInput
from core.flows.personalize_search import DEFAULT_WEIGHT, Result
from core.flows.profiles import Viewing
from core.interaction import MAX_STARS, Event, Interaction, InteractionType, Onboarding
from core.ranking.query import Context

T = TypeVar("T")

PRINTABLE = r"^[^\x00-\x1f\x7f]+$"  # PostgreSQL text holds no NUL, and nobody means the other control characters
Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE, strip_whitespace=True)]
Genre = Annotated[Word, StringConstraints(to_lower=True)]
Few = Annotated[list[T], Field(max_length=32)]
Share = Annotated[float, Field(ge=0, le=1)]
Limit = Annotated[int, Field(ge=1, le=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=PRINTABLE, strip_whitespace=True)]

EARLIEST_S = 631_152_000.0  # 1990-01-01: nothing was streamed before, so an earlier clock is wrong
CLOCK_AHEAD_S = 86_400.0  # time zones mistaken for UTC; anything later is wrong

# Names that other systems use for our event types (design section 10), besides our own in any case.
TYPE_ALIASES = {
    "rating": InteractionType.RATING_EXPLICIT,
    "skip": InteractionType.SKIP_CONTENT,
    "click": InteractionType.SEARCH_CLICK,
    "start": InteractionType.WATCH_START,
    "progress": InteractionType.WATCH_PROGRESS,
    "complete": InteractionType.WATCH_COMPLETE,
    "view": InteractionType.IMPRESSION,
} | {str(kind): kind for kind in InteractionType}


def _type(name: Any) -> Any:
    return TYPE_ALIASES.get(name.lower(), name) if isinstance(name, str) else name


def checked_time(value: float | datetime | None, now: float, default: float) -> float:
    """Unix seconds of an event. Raises InvalidInput for a time that cannot be."""
    at = default if value is None else value.timestamp() if isinstance(value, datetime) else float(value)
    if not EARLIEST_S <= at <= now + CLOCK_AHEAD_S:
        raise InvalidInput("an event's time must lie between 1990 and one day from now")
    return at


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class EventFields(Strict):
    """What a user did to a title. `timestamp` is RFC 3339 or Unix seconds, by default the time of arrival."""

    event_id: Id | None = None
    content_id: Id
    type: Annotated[InteractionType, BeforeValidator(_type)]
    occurred_at: float | AwareDatetime | None = Field(
        None, validation_alias=AliasChoices("timestamp", "occurred_at"), union_mode="left_to_right"
    )
    progress: Share | None = Field(None, validation_alias=AliasChoices("progress", "completion_rate"))
    rating: float | None = Field(None, ge=0, le=MAX_STARS)
    rewatch: bool = Field(False, validation_alias=AliasChoices("is_rewatch", "rewatch"))
    device: Word | None = Field(None, validation_alias=AliasChoices("device_type", "device"))
    request_id: Id | None = None
    pattern_id: Id | None = None
    position: int | None = Field(None, ge=0, le=10_000)
    strategy: Word | None = None
    latency_ms: float | None = Field(None, ge=0, le=1e6)

    def event(self, user_id: str, now: float, arrived_at: float, fallback_id: str | None = None) -> Event:
        """The event in the flows' words. Raises InvalidInput when its parts do not fit together."""
        if self.type is InteractionType.RATING_EXPLICIT and self.rating is None:
            raise InvalidInput("rating_explicit needs a rating")
        return Interaction(
            event_id=self.event_id or fallback_id or uuid4().hex,
            user_id=user_id,
            content_id=self.content_id,
            type=self.type,
            occurred_at=checked_time(self.occurred_at, now, arrived_at),
            progress=self.progress,
            rating=self.rating,
            rewatch=self.rewatch,
            device=self.device,
            request_id=self.request_id,
            pattern_id=self.pattern_id,
            position=self.position,
            strategy=self.strategy,
            latency_ms=self.latency_ms,
        )


class OnboardingFields(Strict):
    """What users say about themselves before they have watched anything."""

    event_id: Id | None = None
    occurred_at: float | AwareDatetime | None = Field(
        None, validation_alias=AliasChoices("timestamp", "occurred_at"), union_mode="left_to_right"
    )
    genres: Few[Genre] = []
    age_band: Word | None = None
    region: Word | None = None
    language: Word | None = None
    platforms: Few[Word] = []  # that the user subscribes to

    def event(self, user_id: str, now: float, arrived_at: float, fallback_id: str | None = None) -> Event:
        return Onboarding(
            event_id=self.event_id or fallback_id or uuid4().hex,
            user_id=user_id,
            occurred_at=checked_time(self.occurred_at, now, arrived_at),
            genres=tuple(self.genres),
            age_band=self.age_band,
            region=self.region,
            language=self.language,
            platforms=tuple(self.platforms),
        )


class ContextFields(Strict):
    mood: Word | None = None
    time_of_day: Literal["night", "morning", "afternoon", "evening"] | None = None
    device_type: Word | None = None
    viewing_with: Few[Word] = []
    region: Word | None = None
    weather: Literal["sunny", "rainy", "snowy", "stormy", "hot", "cold"] | None = None
    platforms: Few[Word] = []  # that the viewer subscribes to; without any, those told at onboarding

    def context(self) -> Context:
        company = tuple(name.lower() for name in self.viewing_with)
        mood = self.mood.lower() if self.mood else None
        platforms = tuple(self.platforms)
        return Context(
            self.time_of_day, self.device_type, mood, company, self.region, self.weather, platforms=platforms
        )


class ForUser(Strict):
    """A body that may name its user; only a service may name anybody but itself."""

    user_id: Id | None = None


class ScoreBody(ForUser):
    content_id: Id | None = None
    content_ids: Annotated[list[Id], Field(min_length=1, max_length=200)] | None = None
    context: ContextFields | None = None

    @model_validator(mode="after")
    def one_form(self) -> ScoreBody:
        if (self.content_id is None) == (self.content_ids is None):
            raise ValueError("give either content_id or content_ids")
        return self


class ResultFields(Strict):
    """One result of a search, with the search engine's own score."""

    content_id: Id
    score: Share = Field(validation_alias=AliasChoices("score", "relevance_score", "relevance"))


class SearchBody(ForUser):
    results: Annotated[list[ResultFields], Field(max_length=200)]
    experiment_variant: Word | None = None  # control, low, medium, high or aggressive
    boost_weight: Share = DEFAULT_WEIGHT  # where neither a variant nor a running experiment decides
    context: ContextFields | None = None

    def found(self) -> list[Result]:
        return [Result(fields.content_id, fields.score) for fields in self.results]


class InteractionBody(EventFields, ForUser):
    """A single interaction."""


class InteractionsBody(ForUser):
    """Several interactions of one user."""

    interactions: Annotated[list[EventFields], Field(min_length=1, max_length=500)]


class OnboardingBody(OnboardingFields, ForUser):
    """The onboarding of one user."""


class ViewingFields(Strict):
    content_id: Id
    timestamp: AwareDatetime
    completion_rate: Share
    rating: float | None = Field(None, ge=0, le=MAX_STARS)
    is_rewatch: bool = False
    dismissed: bool = False

    def viewing(self, now: float) -> Viewing:
        return Viewing(
            content_id=self.content_id,
            occurred_at=checked_time(self.timestamp, now, now),
            completion=self.completion_rate,
            rating=self.rating,
            rewatch=self.is_rewatch,
            dismissed=self.dismissed,
        )


class ProfileBody(ForUser):
    viewing_events: Annotated[list[ViewingFields], Field(min_length=1, max_length=500)]
