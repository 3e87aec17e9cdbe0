"""From utility to behaviour: start, finish or give up, rate on a personal scale, like, dislike, skip.

Utility is in standard deviations above the viewer's mean title. Enjoyment is utility plus the mood of the evening; what
can be observed follows from enjoyment by logistic chances.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect
from typing import TYPE_CHECKING

import numpy as np

from core.catalog import Title
from core.interaction import Interaction, InteractionType

if TYPE_CHECKING:
    from core.local.simulator.viewer import Viewer

DEVICES = ("tv", "mobile", "tablet", "desktop")
MOOD_SD = 0.6  # the unpredictable part of enjoyment, in the units of utility
DEFAULT_RUNTIME_MINUTES = 60


def logistic(x: float) -> float:
    """1 / (1 + e^-x): utility as a probability."""
    return 1.0 / (1.0 + math.exp(-x))


def event_id(user_id: str, content_id: str, kind: str, at: float) -> str:
    """Deterministic: the same viewer doing the same thing at the same time is the same event."""
    text = f"{user_id}\n{content_id}\n{kind}\n{at:.3f}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def interaction(
    viewer: Viewer,
    title: Title,
    kind: InteractionType,
    at: float,
    device: str,
    *,
    progress: float | None = None,
    rating: float | None = None,
    rewatch: bool = False,
) -> Interaction:
    """An event whose id follows from viewer, title, kind and time (to the millisecond), so that replays agree."""
    at = round(at, 3)
    name = event_id(viewer.user_id, title.content_id, kind, at)
    return Interaction(name, viewer.user_id, title.content_id, kind, at, progress, rating, rewatch, device)


def enjoyment(utility: float, rng: np.random.Generator) -> float:
    """The utility, and the mood of the moment: normal with MOOD_SD."""
    return utility + MOOD_SD * float(rng.standard_normal())


def finishes(enjoyed: float, rng: np.random.Generator) -> bool:
    """An average title is given up more often than finished; a favourite is rarely left."""
    return bool(rng.random() < logistic(1.3 * enjoyed - 0.4))


def runtime_s(title: Title) -> float:
    """Seconds; DEFAULT_RUNTIME_MINUTES where the catalogue does not say."""
    return 60.0 * (title.runtime_minutes or DEFAULT_RUNTIME_MINUTES)


def watch(
    viewer: Viewer, title: Title, enjoyed: float, rng: np.random.Generator, at: float, device: str
) -> list[Interaction]:
    """A film or an episode from its start to its end, or to where it was given up, with what is said about it."""
    events = [interaction(viewer, title, InteractionType.WATCH_START, at, device)]
    if finishes(enjoyed, rng):
        end = at + runtime_s(title)
        events.append(interaction(viewer, title, InteractionType.WATCH_COMPLETE, end, device, progress=1.0))
    else:
        share = round(0.05 + 0.75 * float(rng.random()) * logistic(enjoyed), 2)
        end = at + share * runtime_s(title)
        events.append(interaction(viewer, title, InteractionType.WATCH_PROGRESS, end, device, progress=share))
    return events + opinion(viewer, title, enjoyed, rng, end + 30.0, device)


def sample(
    viewer: Viewer, title: Title, enjoyed: float, rng: np.random.Generator, at: float, device: str
) -> list[Interaction]:
    """The first evening with a series: one episode, or some more for those who like it and binge."""
    episodes = 1 + rng.poisson(2.5 * viewer.habits.binge) if finishes(enjoyed, rng) else 1
    share, end = min(0.9, round(episodes / 8.0, 3)), at + episodes * runtime_s(title)
    return [
        interaction(viewer, title, InteractionType.WATCH_START, at, device),
        interaction(viewer, title, InteractionType.WATCH_PROGRESS, end, device, progress=share),
        *opinion(viewer, title, enjoyed, rng, end + 30.0, device),
    ]


def opinion(
    viewer: Viewer, title: Title, enjoyed: float, rng: np.random.Generator, at: float, device: str
) -> list[Interaction]:
    """Stars from people who rate, in halves on their own scale; thumbs from anybody who feels strongly."""
    events = []
    if rng.random() < viewer.habits.opinionated:
        stars = viewer.habits.mean_stars + viewer.habits.stars_per_sd * enjoyed
        rating = float(np.clip(round(2.0 * stars) / 2.0, 0.5, 5.0))
        events.append(interaction(viewer, title, InteractionType.RATING_EXPLICIT, at, device, rating=rating))
    if rng.random() < 0.3 * logistic(2.5 * (enjoyed - 1.5)):
        events.append(interaction(viewer, title, InteractionType.LIKE, at + 5.0, device))
    elif rng.random() < 0.4 * logistic(-2.5 * (enjoyed + 0.8)):
        events.append(interaction(viewer, title, InteractionType.DISLIKE, at + 5.0, device))
    return events


def react(viewer: Viewer, title: Title, utility: float, rng: np.random.Generator, now: float) -> list[Interaction]:
    """The answer to one recommendation; see Viewer.react."""
    device = draw_device(viewer, rng)
    if rng.random() < logistic(1.5 * utility - 1.0):
        begin = sample if title.type == "series" else watch
        return begin(viewer, title, enjoyment(utility, rng), rng, now, device)
    if rng.random() < 0.4 * logistic(-1.5 * utility):
        return [interaction(viewer, title, InteractionType.SKIP_CONTENT, now, device)]
    return []


def draw_device(viewer: Viewer, rng: np.random.Generator) -> str:
    """A device by the viewer's habits."""
    return DEVICES[bisect(viewer.habits.devices, rng.random())]
