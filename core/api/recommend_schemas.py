"""What callers may ask of recommendations: filters, caps, and what editors decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from core.api.schemas import ContextFields, EventFields, Few, ForUser, Genre, Id, Limit, Share, Strict, Text, Word
from core.interaction import Event
from core.ranking.query import Context, Filters, Pin, Promotion, Query


class FilterFields(Strict):
    """Which titles may appear; an empty filter allows all."""

    types: list[Literal["movie", "series", "episode"]] = Field(["movie", "series"], min_length=1, max_length=3)
    genres: Few[Genre] = Field([], description="any of these")
    exclude_genres: Few[Genre] = Field([], description="none of these")
    languages: Few[Word] = Field([], description="any of these, as the catalogue names them")
    year_min: int | None = Field(None, ge=1800, le=3000)
    year_max: int | None = Field(None, ge=1800, le=3000)
    maturity_max: int | None = Field(
        None, ge=0, le=99, description="years of age; titles without a rating are left out"
    )
    runtime_min: int | None = Field(None, ge=1, le=10_000, description="minutes")
    runtime_max: int | None = Field(None, ge=1, le=10_000, description="minutes")
    services: Few[Word] = Field([], description="available now on any of these")
    region: Word | None = Field(None, description="available in this region")
    on_my_platforms: bool = Field(
        False, description="only what is available now on the viewer's platforms: of the context, else of the profile"
    )

    def filters(self) -> Filters:
        """In the flows' words."""
        return Filters(
            types=tuple(self.types),
            genres=tuple(self.genres),
            exclude_genres=tuple(self.exclude_genres),
            languages=tuple(self.languages),
            year_min=self.year_min,
            year_max=self.year_max,
            maturity_max=self.maturity_max,
            runtime_max=self.runtime_max,
            services=tuple(self.services),
            region=self.region,
            runtime_min=self.runtime_min,
            own_platforms=self.on_my_platforms,
        )


class PinFields(Strict):
    """A title at a given place of the answer, from 1, whatever the viewer's taste."""

    content_id: Id
    position: int = Field(ge=1, le=100, description="from 1")


class PromotionFields(Strict):
    """Titles that get a share of the places, the viewer's favourites among them first."""

    content_ids: Annotated[list[Id], Field(min_length=1, max_length=200)]
    share: float = Field(gt=0, le=1, description="of the places")


class RuleFields(Strict):
    """What an answer must obey, the same for one user and for many."""

    context: ContextFields | None = None
    limit: Limit = 20
    exclude_watched: bool = Field(True, description="without what the viewer has seen")
    seen_series: Literal["finished", "started"] = Field(
        "finished", description="which series count as watched: a half watched one may be continued, unless `started`"
    )
    exclude_ids: list[Id] = Field([], max_length=1000, description="content ids that must not appear")
    filters: FilterFields | None = None
    diversity_threshold: Share | None = Field(None, description="lambda of MMR; 1 is pure relevance")
    genre_cap: float | None = Field(None, gt=0, le=1, description="largest share of the answer from one primary genre")
    franchise_cap: int | None = Field(None, ge=1, le=100, description="most titles of one franchise")
    pins: list[PinFields] = Field([], max_length=20, description="for services only")
    promotion: PromotionFields | None = Field(None, description="for services only")

    @model_validator(mode="after")
    def _one_title_a_place(self) -> RuleFields:
        for taken in ([pin.position for pin in self.pins], [pin.content_id for pin in self.pins]):
            if len(set(taken)) < len(taken):
                raise ValueError("every pin needs a title and a place of its own")
        return self

    @property
    def editorial(self) -> bool:
        """Whether the caller decides about places of the answer, which viewers may not."""
        return bool(self.pins or self.promotion)

    def asked(
        self, user_id: str, recent_events: Sequence[Event] = (), text: str | None = None, personalize: bool = True
    ) -> Query:
        """The query of one user. A body for many leaves what only one can say at its default."""
        promotion = self.promotion
        return Query(
            user_id=user_id,
            limit=self.limit,
            context=self.context.context() if self.context else Context(),
            filters=self.filters.filters() if self.filters else Filters(),
            exclude=tuple(self.exclude_ids),
            exclude_seen=self.exclude_watched,
            recent_events=tuple(recent_events),
            mmr_lambda=self.diversity_threshold,
            text=text,
            personalize=personalize,
            seen_series=self.seen_series,
            genre_cap=self.genre_cap,
            franchise_cap=self.franchise_cap,
            pins=tuple(Pin(pin.content_id, pin.position) for pin in self.pins),
            promotion=Promotion(tuple(promotion.content_ids), promotion.share) if promotion else None,
        )


class RecommendBody(RuleFields, ForUser):
    """What one user is to be recommended; everything has a default."""

    recent_events: list[EventFields] = Field(
        [], max_length=100, description="not yet ingested, so that the answer knows what the viewer just did"
    )
    text: Text | None = Field(
        None,
        validation_alias=AliasChoices("query", "query_text"),
        description="in words; only titles that match are recommended",
    )
    personalize: bool = Field(
        True, description="false: nothing learned about the viewer takes part, and nothing is recorded as shown"
    )

    def query(self, user_id: str, now: float) -> Query:
        """In the flows' words. Raises InvalidInput for a recent event that could not be."""
        events = [event.event(user_id, now, now) for event in self.recent_events]
        return self.asked(user_id, events, self.text, self.personalize)


class BatchBody(RuleFields):
    """The same request for many users; what differs from user to user is asked for one by one."""

    user_ids: Annotated[list[Id], Field(min_length=1, max_length=100)]

    def queries(self) -> list[Query]:
        """One query per user, each user once."""
        return [self.asked(user_id) for user_id in dict.fromkeys(self.user_ids)]


class SimilarBody(Strict):
    """`via`: not what is alike, but what a walk through shared people or franchises leads to, over at most `hops`."""

    content_id: Id
    limit: Limit = 20
    filters: FilterFields | None = None
    via: Annotated[list[Literal["director", "cast", "franchise"]], Field(min_length=1, max_length=3)] | None = Field(
        None, description="kinds of facts to walk along"
    )
    hops: Annotated[int, Field(ge=1, le=3)] = Field(1, description="at most so many titles away")
