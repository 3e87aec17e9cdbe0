"""Constructed shifts of taste: users who from a known time on live with somebody else's taste.

Every life holds back liked titles of either taste, which no part of the system ever sees: neither the user's log nor
what the item side is built from. They are what the old and the new taste are measured by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.errors import InvalidInput
from core.evaluation.dataset import Dataset
from core.evaluation.summary import genre_table
from core.interaction import Interaction, signal_strength
from core.snapshot.inputs import POSITIVE

HELD_BACK = 0.2  # share of the liked titles of either taste that only judge
MIN_LIKES = 25  # of either taste, held-back ones included
DIFFERENT = 0.2  # the new taste is drawn from this share of the others, those least alike
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Liked:
    """A held-back like: what, and when it happened in the life that it was taken out of."""

    content_id: str
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """One user: `events` oldest first, of the old taste before `shift_at` (Unix seconds) and of the new one from then
    on; held-back likes of both. likeness: correlation of the two tastes' profiles."""

    user_id: str
    events: tuple[Interaction, ...]
    shift_at: float
    old: tuple[Liked, ...]
    new: tuple[Liked, ...]
    likeness: float


@dataclass(frozen=True, slots=True, eq=False)
class Shifted:
    """Lives, and what the item side may learn from: everybody's events but what is held back."""

    name: str
    titles: tuple[Title, ...]
    lives: tuple[Life, ...]
    item_side: tuple[Interaction, ...]


def donors(profiles: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """For each of n profiles (n, g) another one that is clearly different, (n,), and their correlation (n,).

    Drawn from the DIFFERENT share of the others that correlate least, once the mean profile is taken away.
    """
    centred = profiles - profiles.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    likeness = centred @ centred.T
    np.fill_diagonal(likeness, np.inf)
    count = max(round(DIFFERENT * (len(profiles) - 1)), 1)
    unlike = np.argsort(likeness, axis=1, kind="stable")[:, :count]
    chosen = unlike[np.arange(len(profiles)), rng.integers(count, size=len(profiles))]
    return chosen, likeness[np.arange(len(profiles)), chosen]


def liked_titles(events: Iterable[Interaction]) -> dict[str, float]:
    """Content id -> time of the first event that says it is liked, in order of time."""
    first: dict[str, float] = {}
    for event in events:
        if signal_strength(event) >= POSITIVE:
            first.setdefault(event.content_id, event.occurred_at)
    return first


def hold_back(liked: dict[str, float], rng: np.random.Generator) -> tuple[Liked, ...]:
    """A random share of the liked titles, in order of time."""
    names = list(liked)
    chosen = np.sort(rng.choice(len(names), round(HELD_BACK * len(names)), replace=False))
    return tuple(Liked(names[place], liked[names[place]]) for place in chosen)


def without(events: Iterable[Interaction], held: Iterable[Liked]) -> list[Interaction]:
    """The events about other titles."""
    hidden = {like.content_id for like in held}
    return [event for event in events if event.content_id not in hidden]


def of_dataset(data: Dataset, rng: np.random.Generator, most: int = 200) -> Shifted:
    """Everybody with at least MIN_LIKES likes goes on, a day after the last own event, with the events of somebody
    whose genres are different, at that user's pace. At most `most` users, those with most likes."""
    by_user: dict[int, list[int]] = {}
    for index, user in enumerate(data.user):
        by_user.setdefault(int(user), []).append(index)
    own = {user: [data.event(index) for index in rows] for user, rows in by_user.items() if len(rows) >= MIN_LIKES}
    likes = {user: liked_titles(events) for user, events in own.items()}
    chosen = sorted((user for user in likes if len(likes[user]) >= MIN_LIKES), key=lambda user: -len(likes[user]))
    chosen = sorted(chosen[:most])
    require_enough(chosen, data.name)
    held = {user: hold_back(likes[user], rng) for user in chosen}
    streams = {user: without(own[user], held[user]) for user in chosen}
    donor, likeness = donors(_genre_profiles(data, [likes[user] for user in chosen]), rng)
    lives = tuple(
        _continued(streams[user], held[user], streams[chosen[other]], held[chosen[other]], float(alike))
        for user, other, alike in zip(chosen, donor, likeness, strict=True)
    )
    hidden = {(user, like.content_id) for user in chosen for like in held[user]}
    events = (data.event(index) for index in range(len(data)))
    users = (int(user) for user in data.user)
    item_side = tuple(e for user, e in zip(users, events, strict=True) if (user, e.content_id) not in hidden)
    return Shifted(data.name, data.titles, lives, item_side)


def _genre_profiles(data: Dataset, likes: Sequence[dict[str, float]]) -> NDArray:
    """(n, g) share of each genre among the liked titles."""
    place = {title.content_id: row for row, title in enumerate(data.titles)}
    _, table = genre_table(data)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return np.array([share[[place[name] for name in liked]].mean(axis=0) for liked in likes])


def _continued(
    own: list[Interaction], held: tuple[Liked, ...], other: list[Interaction], others: tuple[Liked, ...], alike: float
) -> Life:
    user_id, shift_at = own[0].user_id, own[-1].occurred_at + DAY_S
    later = shift_at - min(other[0].occurred_at, *(like.at for like in others))
    known = {event.content_id for event in own} | {like.content_id for like in held}
    after = [
        replace(event, event_id=f"then-{event.event_id}", user_id=user_id, occurred_at=event.occurred_at + later)
        for event in other
        if event.content_id not in known
    ]
    new = tuple(Liked(like.content_id, like.at + later) for like in others if like.content_id not in known)
    return Life(user_id, (*own, *after), shift_at, held, new, alike)


def require_enough(chosen: Sequence[object], name: str) -> None:
    """Raises InvalidInput for fewer than three users: nobody would have a choice of tastes."""
    if len(chosen) < 3:
        raise InvalidInput(f"{name} has fewer than three users with {MIN_LIKES} likes")
