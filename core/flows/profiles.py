"""The story of a profile: what users say about themselves, or what another system knows, told as events."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.flows.collect import collect
from core.flows.services import Services
from core.interaction import Event, Interaction, InteractionType

COMPLETE = 0.9  # the share watched from which a title counts as finished: the credits are not the film


@dataclass(frozen=True, slots=True)
class Viewing:
    """One viewing as other systems report it. `completion` 0..1; `rating` in stars 0..5."""

    content_id: str
    occurred_at: float
    completion: float
    rating: float | None = None
    rewatch: bool = False
    dismissed: bool = False


def update_profile(services: Services, user_id: str, viewings: Sequence[Viewing]) -> None:
    """Publish what the viewings mean as events. Reporting the same viewings again changes nothing."""
    collect(services, user_id, [event for viewing in viewings for event in events_of(user_id, viewing)])


def events_of(user_id: str, viewing: Viewing) -> list[Event]:
    """A viewing as events: how it went, and the opinion if there is one."""
    if viewing.dismissed:
        kinds = [InteractionType.SKIP_CONTENT]
    elif viewing.completion >= COMPLETE:
        kinds = [InteractionType.WATCH_COMPLETE]
    else:
        kinds = [InteractionType.WATCH_PROGRESS]
    if viewing.rating is not None:
        kinds.append(InteractionType.RATING_EXPLICIT)
    return [
        Interaction(
            event_id=_event_id(user_id, viewing, kind),
            user_id=user_id,
            content_id=viewing.content_id,
            type=kind,
            occurred_at=viewing.occurred_at,
            progress=viewing.completion,
            rating=viewing.rating if kind is InteractionType.RATING_EXPLICIT else None,
            rewatch=viewing.rewatch,
        )
        for kind in kinds
    ]


def _event_id(user_id: str, viewing: Viewing, kind: InteractionType) -> str:
    """Follows from user, title and time alone, so that a retry carries the same ids; an opinion is its own event."""
    role = "rating" if kind is InteractionType.RATING_EXPLICIT else "viewing"
    name = "\x00".join((user_id, viewing.content_id, repr(viewing.occurred_at), role))
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
