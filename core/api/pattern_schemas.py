"""What callers may send about patterns and what they get, with the names of the specification's service."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from core.api.schemas import Degraded, Few, Id, Limit, Moment, Share, Strict, Word
from core.errors import InvalidInput
from core.flows.patterns import Asked
from core.patterns.circumstances import kind_of_day

Space = Annotated[str, StringConstraints(max_length=128)]


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class PatternContext(Strict):
    """The circumstances of a query; of several moods the first counts. day_of_week: 0 (Monday) to 6, or a name."""

    time_of_day: Annotated[Literal["night", "morning", "afternoon", "evening"] | None, BeforeValidator(_lower)] = None
    day_of_week: int | Word | None = None
    device_type: Word | None = None
    mood_indicators: Few[Word] = Field(default_factory=list)

    def circumstances(self) -> dict[str, str]:
        """What is said. Raises InvalidInput for a day that there is not."""
        mood = self.mood_indicators[0].lower() if self.mood_indicators else None
        day = None if self.day_of_week is None else kind_of_day(self.day_of_week)
        said = {
            "time_of_day": self.time_of_day, "day_of_week": day, "device_type": self.device_type, "mood": mood,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value}


class QueryFields(Strict):
    """A query by its vector in the content space, or by the titles it is made of, which work in every space."""

    query_embedding: Annotated[list[float], Field(min_length=1, max_length=4096)] | None = Field(
        None, description="in the content space: whole, or its topics alone"
    )
    query_content_ids: Annotated[list[Id], Field(min_length=1, max_length=32)] | None = Field(
        None, description="titles that weigh the same"
    )
    space: Space = Field("", description="whose vector it is; empty: the snapshot's in hand")
    context: PatternContext = Field(default_factory=PatternContext)

    @model_validator(mode="after")
    def _one_form(self) -> QueryFields:
        if (self.query_embedding is None) == (self.query_content_ids is None):
            raise ValueError("give either query_embedding or query_content_ids")
        return self

    def asked(self) -> Asked:
        """In the flows' words; all titles weigh the same."""
        titles = dict.fromkeys(self.query_content_ids or (), 1.0)
        return Asked(titles, self.query_embedding, self.space, self.context.circumstances())


class PatternResultFields(Strict):
    """A title that answered the query."""

    content_id: Id
    weight: float = Field(1.0, ge=-1, le=1, description="how well it was received; negative: it was not")


class StoreBody(QueryFields):
    """success_rate becomes the pattern's confidence; sample_size: sessions behind it."""

    results: Annotated[list[PatternResultFields], Field(min_length=1, max_length=32)]
    success_rate: Share
    sample_size: int = Field(1, ge=1, le=1_000_000)

    def weights(self) -> dict[str, float]:
        """Content id -> weight. Raises InvalidInput when nothing was received well."""
        weights = {result.content_id: result.weight for result in self.results}
        if not any(weight > 0 for weight in weights.values()):
            raise InvalidInput("results: a pattern needs a title that was received well")
        return weights


class PatternSearchBody(QueryFields):
    """Which patterns to find: near in the content space, in the same circumstances."""

    limit: Limit = 10
    min_similarity: float = Field(0.7, ge=-1, le=1, description="cosine")


class CandidateFields(Strict):
    """A title of a ranking to be boosted."""

    content_id: Id
    score: float = Field(ge=-1e9, le=1e9, description="the higher, the better; a boost is in proportion to its size")


class ApplyBody(QueryFields):
    """A ranking, and the query that it answers."""

    candidates: Annotated[list[CandidateFields], Field(min_length=1, max_length=1000)]


class MaintenanceBody(Strict):
    """maintenance_type: daily (prune, merge, decay) or weekly (these, segments and universal patterns)."""

    maintenance_type: Literal["daily", "weekly"] = "daily"
    dry_run: bool = Field(False, description="only say what would be done")


class PatternOut(TypedDict):
    """What once answered a query well, in which circumstances."""

    pattern_id: str
    similarity: Annotated[float, Field(description="cosine to the query")]
    confidence: Annotated[float, Field(description="the success rate, faded by disuse")]
    success_rate: Annotated[float, Field(description="mean outcome of its sessions, 0 to 1")]
    boost: Annotated[float, Field(description="confidence x (1 + log2(max(usage, 1)) / 10), at most 2")]
    usage_count: int
    sample_size: Annotated[int, Field(description="sessions behind it")]
    segment: Annotated[str, Field(description="empty: everybody's; universal; or the segment's name")]
    context: dict[str, str]
    results: Annotated[dict[str, float], Field(description="content id -> weight, strongest first")]
    last_used: Moment


class PatternSearchOut(TypedDict):
    """Patterns for a query, best first."""

    patterns: list[PatternOut]
    total_patterns_searched: Annotated[int, Field(description="how many there are")]
    space: Annotated[str, Field(description="where vectors were compared")]
    degraded: Degraded


class StoreOut(TypedDict):
    """The pattern as the bank has it."""

    pattern_id: str
    stored: Annotated[bool, Field(description="false: it was there just so")]
    space: Annotated[str, Field(description="of its vector")]


class BoostedOut(TypedDict):
    """A candidate after the boost."""

    content_id: str
    score: Annotated[float, Field(description="with the boost, in the units it came in")]
    pattern_boost: Annotated[float, Field(description="what of the score the patterns gave or took")]
    pattern_id: Annotated[str | None, Field(description="the one that gave or took most")]


class ApplyOut(TypedDict):
    """The ranking in its new order, and what bent it."""

    candidates: list[BoostedOut]
    patterns_applied: list[PatternOut]
    degraded: Degraded


class MaintenanceOut(TypedDict):
    """What one run changed in the bank."""

    maintenance_type: str
    dry_run: bool
    patterns_before: int
    patterns_after: int
    steps: Annotated[dict[str, Any], Field(description="step -> its counts")]
    duration_ms: float
