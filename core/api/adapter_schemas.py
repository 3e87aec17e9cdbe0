"""What callers may send about adapters and what they get, with the names of the specification's services."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from core.api.events import NOT_BASE64, Delivery
from core.api.schemas import ContextFields, Degraded, EventFields, ForUser, Id, Moment, Strict
from core.errors import InvalidInput
from core.interaction import Event, InteractionType
from core.numeric.vectors import Floats, require_finite

MAX_VALUES = 65_536  # of base_embeddings: as many as a body can hold
NEUTRAL_STARS, STARS_PER_STRENGTH = 3.0, 2.0  # a rating's signal strength -1..1 as one to five stars


class LoadBody(ForUser):
    """Whose adapter."""

    create_if_missing: bool = Field(False, description="store one that changes nothing for whoever has none")


class AdaptBody(ForUser):
    """Embeddings of the generation's space to be changed as the user's adapter does: rows, or one flat list of rows."""

    base_embeddings: (
        Annotated[list[float], Field(min_length=1, max_length=MAX_VALUES)]
        | Annotated[list[list[float]], Field(min_length=1, max_length=MAX_VALUES)]
    )

    def rows(self, dims: int) -> tuple[Floats, bool]:
        """The embeddings as rows (n, dims), and whether they came flat."""
        given = self.base_embeddings
        flat = not isinstance(given[0], list)
        if flat and len(given) % dims:
            raise InvalidInput(f"base_embeddings: {len(given)} numbers are no rows of {dims}")
        if not flat and any(len(row) != dims for row in given if isinstance(row, list)):
            raise InvalidInput(f"base_embeddings: rows of {dims} numbers are needed")
        return require_finite(given, "base_embeddings").reshape(-1, dims), flat


class TaughtFields(EventFields):
    """An interaction that may say its strength and its context. The type decides what it means; of a rating without
    stars and of progress without a share, the strength says them."""

    signal_strength: float | None = Field(
        None, ge=-1, le=1, description="read only of a rating without stars and of progress without a share"
    )
    context: ContextFields | None = None

    def event(self, user_id: str, now: float, arrived_at: float, fallback_id: str | None = None) -> Event:
        """As EventFields.event, with stars, share and device out of what else was said."""
        said: dict[str, Any] = {}
        strength = self.signal_strength
        if strength is not None and self.type is InteractionType.RATING_EXPLICIT and self.rating is None:
            said["rating"] = NEUTRAL_STARS + STARS_PER_STRENGTH * strength
        if strength is not None and self.type is InteractionType.WATCH_PROGRESS and self.progress is None:
            said["progress"] = max(strength, 0.0)
        if self.device is None and self.context is not None:
            said["device"] = self.context.device_type
        plain = EventFields.model_construct(**{name: getattr(self, name) for name in EventFields.model_fields} | said)
        return plain.event(user_id, now, arrived_at, fallback_id)


class UpdateBody(ForUser):
    """One interaction to learn from."""

    interaction: TaughtFields


class UserBody(ForUser):
    """Only whom it is about."""


class RollbackBody(ForUser):
    """Whose adapter goes back, and to where."""

    version: int | None = Field(None, ge=1, description="by default the one before the newest")


class TrainBody(ForUser):
    """Whose adapter is trained now."""

    force: bool = Field(False, description="even if nothing is new")


class AdaptationRequest(Strict):
    """A message of the topic `adaptation-requests`; fields of newer publishers are ignored."""

    model_config = ConfigDict(extra="ignore")
    user_id: Id
    seq: int = Field(ge=0)


REQUEST: TypeAdapter[AdaptationRequest] = TypeAdapter(AdaptationRequest)


def request_in(delivery: Delivery) -> tuple[AdaptationRequest | None, str]:
    """The request in a delivery, or why there is none."""
    if delivery.data is None:
        return None, NOT_BASE64
    try:
        return REQUEST.validate_json(delivery.data), ""
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return None, f"{'.'.join(map(str, first['loc'])) or 'data'}: {first['msg']}"


class LoadOut(TypedDict):
    """A user's slow tier, or none."""

    adapter_weights: Annotated[
        str | None, Field(description="base64 of core.adaptation.codec's bytes; null without an adapter")
    ]
    interaction_count: Annotated[int, Field(description="events that it has learned from")]
    last_updated: Moment | None
    is_new: Annotated[bool, Field(description="created by this call")]


class AdaptOut(TypedDict):
    """Embeddings x as x + delta(x)."""

    adapted_embeddings: Annotated[list[Any], Field(description="as they came: flat or rows")]
    adaptation_magnitude: Annotated[float, Field(description="mean |change| / |embedding| over rows that are not zero")]
    degraded: Degraded


class UpdateOut(TypedDict):
    """An interaction that will not be lost."""

    status: Annotated[str, Field(description="accepted: Pub/Sub has the event")]
    event_id: str


class FastTierOut(TypedDict):
    """What the user's latest events taught, not yet folded into the slow tier."""

    generation: Annotated[str, Field(description="of the base tier that it is trained against")]
    gain: Annotated[float, Field(description="running mean of what it foretold better than nothing, in nats")]
    updates: int
    useful: Annotated[bool, Field(description="whether requests apply it")]
    norm: Annotated[float, Field(description="|B|: 0 changes nothing")]


class AdaptationOut(TypedDict):
    """One entry of the log of adaptations."""

    at: Moment
    from_seq: Annotated[int, Field(description="after this event of the user...")]
    upto_seq: Annotated[int, Field(description="...up to this one was learned")]
    snapshot: str
    generation: str
    verdict: Annotated[str, Field(description="accepted, or why nothing changed; created and rollback are by hand")]
    metrics: Annotated[dict[str, float | None], Field(description="null: not finite")]


class AdapterStatsOut(TypedDict):
    """What is known of one user's adapter."""

    user_id: str
    interaction_count: Annotated[int, Field(description="of the user, impressions aside")]
    adapter_version: Annotated[int, Field(description="0: none")]
    versions: Annotated[tuple[int, ...], Field(description="that a rollback can choose from, newest first")]
    generation: Annotated[
        str, Field(description="of the base tier that it is trained against; empty without an adapter")
    ]
    folded_upto_seq: Annotated[int, Field(description="the user's latest event that it has learned from")]
    pending_events: Annotated[int, Field(description="since the adapter last learned")]
    last_updated: Moment | None
    cold_bytes: Annotated[int, Field(description="in Cloud SQL, with what EWC remembers")]
    hot_bytes: Annotated[int, Field(description="as requests load it")]
    ewc_tasks: Annotated[int, Field(description="finished ones that EWC protects")]
    fisher_mass: Annotated[float, Field(description="sum of the Fisher information: how much EWC holds on to")]
    norm: Annotated[float, Field(description="|B| of the slow tier: 0 changes nothing")]
    fast_tier: FastTierOut | None
    adaptations: Annotated[list[AdaptationOut], Field(description="latest first")]


class RollbackOut(TypedDict):
    """The earlier version, made the newest again under a number of its own."""

    status: Annotated[str, Field(description="rolled_back")]
    adapter_version: int
    generation: str
    last_updated: Moment


class TrainOut(TypedDict):
    """What came of a training."""

    status: Annotated[str, Field(description="training_completed, rolled_back, nothing_to_learn or up_to_date")]
    duration_ms: float
    training_iterations: Annotated[int, Field(description="passes over the user's events; 0 when nothing was trained")]
    events_used: Annotated[int, Field(description="0 when nothing was trained")]


class AdaptedOut(TypedDict):
    """What became of one pushed request."""

    status: Annotated[str, Field(description="the verdict, or rejected")]
    version: Annotated[int, Field(description="of the adapter now; 0: none")]
