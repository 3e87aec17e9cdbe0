"""What Pub/Sub delivers, in each form it comes in, as events of one user.

A push subscription posts an envelope {"message": {...}, "subscription": ...}; Eventarc posts the same body with ce-*
headers, or wrapped in a structured CloudEvent. The message's data is {"user_id": ..., "events": [...]} or one bare
event with its user_id. What is no event is named with its reason instead of holding up those that are.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from core.api.schemas import EventFields, Id, OnboardingFields
from core.errors import InvalidInput
from core.flows.ingest import Message, Rejected
from core.interaction import ONBOARDING, Event

NOT_BASE64 = "data is not base64"
KEPT_PAYLOAD_BYTES = 65_536  # of a rejected payload: enough to see what it was


class _InteractionEvent(EventFields):
    """As callers send it; fields of newer publishers are ignored, so that the ends can be deployed one by one."""

    model_config = ConfigDict(extra="ignore")
    user_id: Id | None = None


class _OnboardingEvent(OnboardingFields):
    model_config = ConfigDict(extra="ignore")
    user_id: Id | None = None


_USER = TypeAdapter(Id)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came. data: None when it cannot be read, and `raw` is what came instead. sender: the user
    whose messages it keeps its place among; "" if nobody can be."""

    message_id: str
    published_at: float
    data: bytes | None
    raw: bytes = b""
    sender: str = ""


def message_in(delivery: Delivery, now: float) -> Message:
    """The events in a delivery. Without usable ones it still is a message: all of it is in `rejected`."""
    if delivery.data is None:
        return Message(delivery.message_id, delivery.sender, (), (_rejected(NOT_BASE64, delivery.raw),))
    message = parse_data(delivery.data, delivery.message_id, now, delivery.published_at)
    return message if message.user_id else replace(message, user_id=delivery.sender)


def open_delivery(body: bytes, now: float) -> Delivery:
    """What was delivered, in whichever form. Raises InvalidInput when the body is none of Pub/Sub's."""
    try:
        envelope = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInput("not JSON") from error
    if isinstance(envelope, dict) and "specversion" in envelope:  # structured CloudEvent
        envelope = envelope.get("data")
    message = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(message, dict):
        raise InvalidInput("not a Pub/Sub delivery")
    message_id = str(message.get("messageId") or message.get("message_id") or "")
    published_at, sender = _published_at(message, now), _sender(message)
    try:
        data = base64.b64decode(message.get("data") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        return Delivery(message_id, published_at, None, to_json(message), sender)
    return Delivery(message_id, published_at, data, sender=sender)


def parse_data(data: bytes, message_id: str, now: float, published_at: float) -> Message:
    """The events in a message's data. One without id or time gets the message's, so that a redelivery has the same."""
    try:
        content = from_json(data)  # NaN passes here, so that it costs only the event that holds it
        user_id = _USER.validate_python(content.get("user_id") if isinstance(content, dict) else None)
    except ValidationError:
        return Message(message_id, "", (), (_rejected("no user_id", data),))
    except ValueError:
        return Message(message_id, "", (), (_rejected("data is not JSON", data),))
    records = content["events"] if isinstance(content.get("events"), list) else [content]
    events: list[Event] = []
    rejected: list[Rejected] = []
    for position, record in enumerate(records):
        try:
            events.append(_event(record, user_id, now, published_at, f"{message_id}:{position}"))
        except ValidationError as error:
            rejected.append(_rejected(_reason(error), to_json(record)))
        except InvalidInput as error:
            rejected.append(_rejected(str(error), to_json(record)))
    return Message(message_id, user_id, tuple(events), tuple(rejected))


def _event(record: Any, user_id: str, now: float, published_at: float, fallback_id: str) -> Event:
    kind = record.get("type") if isinstance(record, dict) else None
    model: type[_InteractionEvent] | type[_OnboardingEvent]
    model = _OnboardingEvent if isinstance(kind, str) and kind.lower() == ONBOARDING else _InteractionEvent
    # Back to JSON, because only JSON may say times as strings in strict mode.
    fields = model.model_validate_json(to_json(record))
    if fields.user_id not in (None, user_id):
        raise InvalidInput("an event names another user than its message")
    return fields.event(user_id, now, published_at, fallback_id)


def _published_at(message: dict[str, Any], now: float) -> float:
    try:
        return datetime.fromisoformat(str(message.get("publishTime") or message.get("publish_time"))).timestamp()
    except ValueError:
        return now


def _sender(message: dict[str, Any]) -> str:
    """Messages are ordered by user."""
    try:
        return _USER.validate_python(message.get("orderingKey") or message.get("ordering_key"))
    except ValidationError:
        return ""


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "event"
    return f"{place}: {first['msg']}"


def _rejected(reason: str, payload: bytes) -> Rejected:
    return Rejected(reason, payload[:KEPT_PAYLOAD_BYTES])
