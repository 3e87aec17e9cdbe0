"""One simulated viewer: everything that is hidden from a recommender, and how to ask for a reaction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.catalog import Title
from core.interaction import Interaction
from core.local.simulator import reactions
from core.local.simulator.taste import Taste, score, title_features


@dataclass(frozen=True, slots=True)
class Drift:
    """From `at` (Unix seconds) on, the viewer has another taste."""

    at: float
    taste: Taste


@dataclass(frozen=True, slots=True)
class Habits:
    """How somebody watches, whatever they like."""

    focus: float  # how strictly they keep to what they like, 1 = average
    mainstream: float  # how much popularity steers them, 1 = average
    sittings: float  # expected number in the whole period
    prime_hour: float  # favourite local time of day, 0..24
    devices: tuple[float, ...]  # cumulative shares of all but the last of reactions.DEVICES
    binge: float  # 0..1
    opinionated: float  # probability of rating a title after watching it
    mean_stars: float  # the personal scale: stars of an average title, ...
    stars_per_sd: float  # ... and stars per standard deviation of enjoyment


@dataclass(frozen=True, slots=True)
class Viewer:
    """A simulated viewer. Utility is measured on the viewer's own scale, `centre` and `spread`."""

    user_id: str
    age_band: str
    region: str
    language: str
    taste: Taste
    drift: Drift | None
    habits: Habits
    centre: float  # mean of the viewer's first taste's scores over the catalogue
    spread: float  # their standard deviation
    joined_at: float  # Unix seconds
    seed: int

    def taste_at(self, at: float | None) -> Taste:
        """The taste at a time; without a time, the first one."""
        return self.drift.taste if self.drift and at is not None and at >= self.drift.at else self.taste

    def react(self, title: Title, rng: np.random.Generator, now: float) -> list[Interaction]:
        """What the viewer does when `title` is recommended now: nothing, a skip, or watching it and perhaps an opinion.

        Events carry the times at which they would happen, from `now` on; a film takes its runtime.
        """
        return reactions.react(self, title, taste_of(self, title, now), rng, now)


def taste_of(viewer: Viewer, title: Title, at: float | None = None) -> float:
    """True utility of a title in standard deviations above the viewer's mean title; `at` matters to drifted viewers."""
    raw = score(viewer.taste_at(at), title_features(title), title.content_id)
    return (raw - viewer.centre) / viewer.spread
