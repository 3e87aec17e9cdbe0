"""What callers may send about adapters and what they get, with the names of the specification's services."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from core.api.schemas import ContextFields, EventFields, ForUser, Id, Strict
from core.errors import InvalidInput
from core.interaction import Event, InteractionType
from core.numeric.vectors import Floats, require_finite

MAX_VALUES = 65_536  # of base_embeddings: as many as a body can hold
NEUTRAL_STARS, STARS_PER_STRENGTH = 3.0, 2.0  # a rating's signal strength -1..1 as one to five stars


class LoadBody(ForUser):
    create_if_missing: bool = False


class AdaptBody(ForUser):
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

    signal_strength: float | None = Field(None, ge=-1, le=1)
    context: ContextFields | None = None

    def event(self, user_id: str, now: float, arrived_at: float, fallback_id: str | None = None) -> Event:
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
    interaction: TaughtFields


class UserBody(ForUser):
    """Only whom it is about."""


class RollbackBody(ForUser):
    version: int | None = Field(None, ge=1)


class TrainBody(ForUser):
    force: bool = False


class AdaptationRequest(Strict):
    """A message of the topic `adaptation-requests`; fields of newer publishers are ignored."""

    model_config = ConfigDict(extra="ignore")
    user_id: Id
    seq: int = Field(ge=0)


class _Message(BaseModel):
    """The part of a delivery that is read, in both of Pub/Sub's spellings."""

    data: str = ""
    messageId: str = ""
    message_id: str = ""


REQUEST: TypeAdapter[AdaptationRequest] = TypeAdapter(AdaptationRequest)


def parse_request(body: bytes) -> tuple[AdaptationRequest | None, str, bytes, str]:
    """The request in a push delivery (plain or a CloudEvent, as core.api.events reads them), why there is none, what
    arrived, and the message's id. Raises InvalidInput when the body is none of Pub/Sub's forms."""
    try:
        envelope = from_json(body, allow_inf_nan=False)
        if isinstance(envelope, dict) and "specversion" in envelope:
            envelope = envelope.get("data")
        message = _Message.model_validate(envelope.get("message") if isinstance(envelope, dict) else None)
    except ValidationError as error:
        raise InvalidInput("not a Pub/Sub delivery") from error
    except ValueError as error:
        raise InvalidInput("not JSON") from error
    message_id = message.messageId or message.message_id
    data = message.data.encode()
    try:
        data = base64.b64decode(message.data, validate=True)
        return REQUEST.validate_json(data), "", data, message_id
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return None, f"{'.'.join(map(str, first['loc'])) or 'data'}: {first['msg']}", data, message_id
    except ValueError:
        return None, "data is not base64", data, message_id


class LoadOut(TypedDict):
    adapter_weights: str | None  # base64 of core.adaptation.codec bytes; null without an adapter
    interaction_count: int  # events that it has learned from
    last_updated: str | None
    is_new: bool


class AdaptOut(TypedDict):
    adapted_embeddings: list[Any]  # as they came: flat or rows
    adaptation_magnitude: float  # mean |change| / |embedding|
    degraded: tuple[str, ...]


class UpdateOut(TypedDict):
    status: str  # accepted: Pub/Sub has the event
    event_id: str


class FastTierOut(TypedDict):
    generation: str
    gain: float  # running mean of what it foretold better than nothing, in nats
    updates: int
    useful: bool  # whether requests apply it
    norm: float  # |B|: 0 changes nothing


class AdaptationOut(TypedDict):
    at: str
    from_seq: int
    upto_seq: int
    snapshot: str
    generation: str
    verdict: str
    metrics: dict[str, float | None]  # null: not finite


class StatsOut(TypedDict):
    user_id: str
    interaction_count: int
    adapter_version: int  # 0: none
    versions: tuple[int, ...]  # that a rollback can choose from, newest first
    generation: str
    folded_upto_seq: int
    pending_events: int  # since the adapter last learned
    last_updated: str | None
    cold_bytes: int
    hot_bytes: int
    ewc_tasks: int
    fisher_mass: float
    norm: float  # |B| of the slow tier: 0 changes nothing
    fast_tier: FastTierOut | None
    adaptations: list[AdaptationOut]  # latest first


class RollbackOut(TypedDict):
    status: str
    adapter_version: int
    generation: str
    last_updated: str


class TrainOut(TypedDict):
    status: str  # training_completed, rolled_back, nothing_to_learn, up_to_date
    duration_ms: float
    training_iterations: int
    events_used: int


class AdaptedOut(TypedDict):
    status: str  # the verdict, or rejected
    version: int
