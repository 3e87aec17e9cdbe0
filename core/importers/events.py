"""Whole events as JSON lines hold them, in the words that `collect` takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from core.importers.facts import first, genre_names, moment, number, several
from core.importers.report import RowRejected
from core.interaction import MAX_STARS, ONBOARDING, TYPE_ALIASES, Event, Interaction, InteractionType, Onboarding

_NAMES = {"device": ("device_type", "device")} | {name: (name,) for name in ("request_id", "pattern_id", "strategy")}
_ABOUT_USERS = {name: (name,) for name in ("age_band", "region", "language")}


def whole_event(record: Mapping[str, Any], origin: str, prefix: str) -> Event:
    """The event of a record with a `type`; `prefix` goes before its ids. Raises RowRejected.

    Unlike `collect` it wants a time, because the event did not happen now. Without an `event_id` the id is made of the
    record itself, so that importing a file again adds nothing twice.
    """
    user, at = first(record, "user_id"), first(record, "timestamp", "occurred_at")
    if user is None or at is None:
        raise RowRejected("no user_id" if user is None else "no timestamp")
    event_id = str(first(record, "event_id") or f"{origin}:{_digest(record)}")
    make = _onboarding if record["type"] == ONBOARDING else _interaction
    return make(record, prefix, event_id=event_id, user_id=f"{prefix}{user}", occurred_at=moment(str(at)))


def _interaction(record: Mapping[str, Any], prefix: str, **common: Any) -> Interaction:
    item, kind = first(record, "content_id"), TYPE_ALIASES.get(str(record["type"]).lower())
    if item is None:
        raise RowRejected("no content_id")
    if kind is None:
        raise RowRejected(f"type is none of {', '.join(dict.fromkeys([*TYPE_ALIASES.values(), ONBOARDING]))}")
    rating, position = _within(record, MAX_STARS, "rating"), _within(record, 10_000, "position")
    if kind is InteractionType.RATING_EXPLICIT and rating is None:
        raise RowRejected("rating_explicit needs a rating")
    return Interaction(
        content_id=f"{prefix}{item}",
        type=kind,
        progress=_within(record, 1.0, "progress", "completion_rate"),
        rating=rating,
        rewatch=first(record, "is_rewatch", "rewatch") is True,
        position=None if position is None else int(position),
        latency_ms=_within(record, 1e6, "latency_ms"),
        **_texts(record, _NAMES),
        **common,
    )


def _onboarding(record: Mapping[str, Any], prefix: str, **common: Any) -> Onboarding:
    return Onboarding(
        genres=genre_names(several(record.get("genres"))),
        platforms=tuple(str(name) for name in several(record.get("platforms"))),
        **_texts(record, _ABOUT_USERS),
        **common,
    )


def _texts(record: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Those of the fields that there are, as text; `names`: field -> its spellings."""
    found = ((field, first(record, *spellings)) for field, spellings in names.items())
    return {field: str(value) for field, value in found if value is not None}


def _within(record: Mapping[str, Any], most: float, *names: str) -> float | None:
    """A number from 0 to `most`, None where there is none."""
    value = first(record, *names)
    if value is None:
        return None
    found = number(str(value), names[0])
    if not 0 <= found <= most:
        raise RowRejected(f"{names[0]} outside 0..{most:g}")
    return found


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
