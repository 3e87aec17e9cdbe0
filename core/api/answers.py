"""What callers get: typed dictionaries, checked by the type checker and serialised without a second validation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic refuses typing.TypedDict before Python 3.12

from core.api.router_schemas import RoutingOut
from core.api.schemas import Degraded, Moment


class RecommendationOut(TypedDict):
    """One recommended title, and why it is there."""

    content_id: str
    title: str
    confidence_score: Annotated[float, Field(description="0 to 1, the sum of score_parts; not a probability")]
    recommendation_type: Annotated[str, Field(description="the strategy with the largest part")]
    based_on: Annotated[tuple[str, ...], Field(description="content ids of the viewer's history")]
    explanation: Annotated[str, Field(description="a sentence for the viewer")]
    score_parts: Annotated[
        dict[str, float], Field(description="strategy, or the boost by adapter or patterns -> what it adds or takes")
    ]
    pattern_id: Annotated[
        str | None, Field(description="the pattern that lifted the title most; send it back with its impression")
    ]


class RecommendOut(TypedDict):
    """What one viewer should watch, best first, and what the answer was made of."""

    recommendations: list[RecommendationOut]
    request_id: Annotated[
        str, Field(description="send it back with the viewer's reactions, so that they count for this answer")
    ]
    generated_at: Moment
    ttl_seconds: Annotated[
        int, Field(description="how long it may be shown again; the viewer's own next event outdates it sooner")
    ]
    snapshot: Annotated[str, Field(description="the version of the catalogue that it was made from")]
    experiments: Annotated[dict[str, str], Field(description="running experiment -> the viewer's variant")]
    degraded: Degraded
    known_events: Annotated[
        int,
        Field(
            description="of the viewer's own, impressions aside, that the answer knows; it grows with one's own writes"
        ),
    ]
    weights: Annotated[
        dict[str, float], Field(description="strategy -> its share of the highest possible score, for this viewer")
    ]
    routing: NotRequired[Annotated[RoutingOut, Field(description="with a text: what it was taken for")]]
    given_up: NotRequired[
        Annotated[tuple[str, ...], Field(description="filters of the text that nothing met together: left out")]
    ]


class UserRecommendOut(RecommendOut):
    """The recommendations for one of many users."""

    user_id: str


class BatchOut(TypedDict):
    """The recommendations for many users."""

    answers: Annotated[list[UserRecommendOut], Field(description="one per user, in the order asked for")]


class StepOut(TypedDict):
    """One hop of a walk from title to title."""

    via: Annotated[str, Field(description="director, cast or franchise")]
    name: Annotated[str, Field(description="of the person or the franchise")]
    content_id: Annotated[str, Field(description="the title that it leads to")]


class SimilarTitleOut(TypedDict):
    """A title near the one asked about."""

    content_id: str
    title: str
    score: Annotated[
        float,
        Field(description="0 to 1; 1: first by content, audience and graph; with `via`, .5 for one hop, .25 for two"),
    ]
    relation: Annotated[str, Field(description="what they have in common, in words")]
    path: NotRequired[
        Annotated[list[StepOut], Field(description="with `via`: the hops from the title asked about to this one")]
    ]


class SimilarOut(TypedDict):
    """Titles near one title, nearest first."""

    similar_content: list[SimilarTitleOut]
    degraded: Degraded


class ScoreOut(TypedDict):
    """How much a user would like one title."""

    content_id: str
    score: Annotated[float, Field(description="0 to 1, the sum of the components")]
    components: Annotated[
        dict[str, float], Field(description="strategy -> its part; lora_boost: what the user's adapter adds or takes")
    ]


class UserScoreOut(ScoreOut):
    """The score of the one title asked about."""

    user_id: str
    degraded: Degraded


class UserScoresOut(TypedDict):
    """The scores of several titles, in the order asked for."""

    user_id: str
    scores: list[ScoreOut]
    degraded: Degraded


class SearchResultOut(TypedDict):
    """One result in the user's order."""

    content_id: str
    score: Annotated[
        float,
        Field(description="original_score (1 - weight) + personal_score weight; unknown titles with the mean personal"),
    ]
    original_score: Annotated[float, Field(description="the search engine's")]
    personal_score: Annotated[
        float | None, Field(description="null: a title that is not in the catalogue, or nothing was personalized")
    ]


class SearchOut(TypedDict):
    """The search engine's results in one user's order."""

    user_id: str
    results: list[SearchResultOut]
    weight: Annotated[float, Field(description="the user's share of each score, 0 to 1")]
    experiments: Annotated[dict[str, str], Field(description="running experiment -> the user's variant")]
    degraded: Annotated[
        tuple[str, ...],
        Field(description="parts that did not take part; without personal scores, the engine's own order"),
    ]


class AcceptedOut(TypedDict):
    """Events that will not be lost: Pub/Sub has them. Answers change once they are ingested."""

    status: Annotated[str, Field(description="accepted")]
    accepted: Annotated[int, Field(description="number of events")]
    event_ids: Annotated[
        list[str], Field(description="the caller's own, or those given in their place, in the order sent")
    ]


class ProfileOut(TypedDict):
    """Viewings that were accepted as events."""

    status: Annotated[str, Field(description="accepted")]
    user_id: str
    events_processed: Annotated[int, Field(description="number of viewings")]
    preference_vector_dim: Annotated[int, Field(description="0 while there is no snapshot")]


class IngestedOut(TypedDict):
    """What became of the events of one Pub/Sub message."""

    status: str
    stored: int
    known: Annotated[int, Field(description="delivered before, or of an erased user: they changed nothing")]
    rejected: Annotated[int, Field(description="unreadable or impossible; kept with their reason")]


def rfc3339(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
