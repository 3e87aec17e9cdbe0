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
from core.interaction import MAX_STARS, TYPE_ALIASES, Event, Interaction, InteractionType, Onboarding
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

# Of answers.
Moment = Annotated[str, Field(description="RFC 3339")]
Degraded = Annotated[tuple[str, ...], Field(description="parts that did not take part; empty when all did")]

EARLIEST_S = 631_152_000.0  # 1990-01-01: nothing was streamed before, so an earlier clock is wrong
CLOCK_AHEAD_S = 86_400.0  # time zones mistaken for UTC; anything later is wrong


def _type(name: Any) -> Any:
    return TYPE_ALIASES.get(name.lower(), name) if isinstance(name, str) else name


def checked_time(value: float | datetime | None, now: float, default: float) -> float:
    """Unix seconds of an event. Raises InvalidInput for a time that cannot be."""
    at = default if value is None else value.timestamp() if isinstance(value, datetime) else float(value)
    if not EARLIEST_S <= at <= now + CLOCK_AHEAD_S:
        raise InvalidInput("an event's time must lie between 1990 and one day from now")
    return at


class Strict(BaseModel):
    """Unknown fields, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class EventFields(Strict):
    """What a user did to a title. `timestamp` is RFC 3339 or Unix seconds, by default the time of arrival."""

    event_id: Id | None = Field(None, description="chosen by the client, so that sending it again changes nothing")
    content_id: Id
    type: Annotated[InteractionType, BeforeValidator(_type)] = Field(
        description="in any case; other systems' names too: rating, skip, click, start, progress, complete, view"
    )
    occurred_at: float | AwareDatetime | None = Field(
        None,
        validation_alias=AliasChoices("timestamp", "occurred_at"),
        union_mode="left_to_right",
        description="RFC 3339 or Unix seconds, by default the time of arrival",
    )
    progress: Share | None = Field(
        None, validation_alias=AliasChoices("progress", "completion_rate"), description="share watched"
    )
    rating: float | None = Field(None, ge=0, le=MAX_STARS, description="stars; needed by rating_explicit")
    rewatch: bool = Field(False, validation_alias=AliasChoices("is_rewatch", "rewatch"), description="seen before")
    device: Word | None = Field(
        None, validation_alias=AliasChoices("device_type", "device"), description="tv, mobile, tablet or desktop"
    )
    request_id: Id | None = Field(None, description="of the answer that showed the title")
    pattern_id: Id | None = Field(
        None, description="of an impression: the pattern that lifted the title in that answer"
    )
    position: int | None = Field(
        None, ge=0, le=10_000, description="of an impression: its place in that answer, from 0"
    )
    strategy: Word | None = Field(
        None, description="of an impression: what proposed the title; only services may say it"
    )
    latency_ms: float | None = Field(
        None, ge=0, le=1e6, description="of an impression: how long that strategy took; only services may say it"
    )

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

    event_id: Id | None = Field(None, description="chosen by the client, so that sending it again changes nothing")
    occurred_at: float | AwareDatetime | None = Field(
        None,
        validation_alias=AliasChoices("timestamp", "occurred_at"),
        union_mode="left_to_right",
        description="RFC 3339 or Unix seconds, by default the time of arrival",
    )
    genres: Few[Genre] = Field([], description="that the user likes")
    age_band: Word | None = Field(None, description="in the platform's own words, the same for all users")
    region: Word | None = None
    language: Word | None = None
    platforms: Few[Word] = Field([], description="that the user subscribes to")

    def event(self, user_id: str, now: float, arrived_at: float, fallback_id: str | None = None) -> Event:
        """The onboarding in the flows' words. Raises InvalidInput for a time that cannot be."""
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
    """The circumstances of a request; what is left out is unknown."""

    mood: Word | None = Field(
        None, description="happy, sad, excited, relaxed, scared, romantic, curious or nostalgic; others say nothing"
    )
    time_of_day: Literal["night", "morning", "afternoon", "evening"] | None = Field(
        None, description="by default from the clock, in UTC"
    )
    device_type: Word | None = Field(None, description="tv, mobile, tablet or desktop")
    viewing_with: Few[Word] = Field([], description="such as kids, partner or friends")
    region: Word | None = Field(None, description="as the catalogue's availability names it")
    weather: Literal["sunny", "rainy", "snowy", "stormy", "hot", "cold"] | None = None
    platforms: Few[Word] = Field([], description="that the viewer subscribes to; without any, those told at onboarding")

    def context(self) -> Context:
        """In the flows' words; mood and company in lower case."""
        company = tuple(name.lower() for name in self.viewing_with)
        mood = self.mood.lower() if self.mood else None
        platforms = tuple(self.platforms)
        return Context(
            self.time_of_day, self.device_type, mood, company, self.region, self.weather, platforms=platforms
        )


class ForUser(Strict):
    """A body that may name its user; only a service may name anybody but itself."""

    user_id: Id | None = Field(None, description="by default the token's own; only a service may name another")


class ScoreBody(ForUser):
    """One title, or several: exactly one of content_id and content_ids."""

    content_id: Id | None = None
    content_ids: Annotated[list[Id], Field(min_length=1, max_length=200)] | None = None
    context: ContextFields | None = None

    @model_validator(mode="after")
    def _one_form(self) -> ScoreBody:
        if (self.content_id is None) == (self.content_ids is None):
            raise ValueError("give either content_id or content_ids")
        return self


class ResultFields(Strict):
    """One result of a search, with the search engine's own score."""

    content_id: Id
    score: Share = Field(validation_alias=AliasChoices("score", "relevance_score", "relevance"))


class SearchBody(ForUser):
    """Results to be reordered for one user; titles that SONA does not know may be among them."""

    results: Annotated[list[ResultFields], Field(max_length=200)]
    experiment_variant: Word | None = Field(
        None, description="control, low, medium, high or aggressive: 0, .15, .25, .4 or .6 of each score is the user's"
    )
    boost_weight: Share = Field(DEFAULT_WEIGHT, description="where neither a variant nor a running experiment decides")
    context: ContextFields | None = None

    def found(self) -> list[Result]:
        """The results in the flows' words, in the engine's order."""
        return [Result(fields.content_id, fields.score) for fields in self.results]


class InteractionBody(EventFields, ForUser):
    """A single interaction."""


class InteractionsBody(ForUser):
    """Several interactions of one user."""

    interactions: Annotated[list[EventFields], Field(min_length=1, max_length=500)]


class OnboardingBody(OnboardingFields, ForUser):
    """The onboarding of one user."""


class ViewingFields(Strict):
    """One viewing as another system reports it."""

    content_id: Id
    timestamp: AwareDatetime
    completion_rate: Share = Field(description="share watched; from .9 on the title counts as finished")
    rating: float | None = Field(None, ge=0, le=MAX_STARS, description="stars")
    is_rewatch: bool = Field(False, description="seen before")
    dismissed: bool = Field(False, description="skipped; the share watched does not count then")

    def viewing(self, now: float) -> Viewing:
        """In the flows' words. Raises InvalidInput for a time that cannot be."""
        return Viewing(
            content_id=self.content_id,
            occurred_at=checked_time(self.timestamp, now, now),
            completion=self.completion_rate,
            rating=self.rating,
            rewatch=self.is_rewatch,
            dismissed=self.dismissed,
        )


class ProfileBody(ForUser):
    """A user's history from another system. Sending the same viewings again changes nothing."""

    viewing_events: Annotated[list[ViewingFields], Field(min_length=1, max_length=500)]
