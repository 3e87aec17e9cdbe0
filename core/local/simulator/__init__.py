"""The audience simulator: made-up viewers of a real catalogue. Everything it returns is simulated and says so.

Viewers have latent tastes (mixtures of the archetypes in archetypes.toml, favourite people and themes), watch in
sittings with a device, a time of day and a season, follow franchises and directors, binge series, discover by
popularity, search and likeness, rate on a personal scale with noise, and some change their taste at a known time. The
demo and the load and drift tests draw on it: `taste_of` is the truth to compare with what was learned.

Viewers watch what they like wherever it is: regions shape tastes and hours, not what can be watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from core.catalog import Title
from core.errors import InvalidInput, NotFound
from core.interaction import Interaction, Onboarding
from core.local.simulator.audience import DEMO_VIEWERS, Period, Persona, demo_viewers, onboarding_of, recruit
from core.local.simulator.rhythm import DAY_S, Rhythm, find_rhythm
from core.local.simulator.screen import Screen, open_screen
from core.local.simulator.taste import Archetype, Taste, archetypes
from core.local.simulator.viewer import Drift, Viewer, taste_of
from core.local.simulator.viewing import history

AUDIENCE = 2200  # viewers of the demo

__all__ = [
    "AUDIENCE",
    "DEMO_VIEWERS",
    "Archetype",
    "Drift",
    "Persona",
    "Simulated",
    "Taste",
    "Viewer",
    "archetypes",
    "simulate",
    "taste_of",
]


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated audience. The viewers are in memory, their events are generated whenever they are read."""

    viewers: tuple[Viewer, ...]  # the demo viewers first
    onboarding: tuple[Onboarding, ...]  # of about half the viewers, in the order of the viewers
    screen: Screen
    rhythm: Rhythm

    @property
    def events(self) -> Iterator[Interaction]:
        """A fresh pass over all events: viewer by viewer, each viewer's oldest first. The same every time."""
        for viewer in self.viewers:
            yield from self.events_of(viewer)

    def events_of(self, viewer: Viewer) -> Iterator[Interaction]:
        """One viewer's events, oldest first; the same at every call."""
        return history(viewer, self.screen, self.rhythm)

    def viewer(self, user_id: str) -> Viewer:
        """Raises NotFound for a viewer who is not in this audience."""
        for viewer in self.viewers:
            if viewer.user_id == user_id:
                return viewer
        raise NotFound(f"no simulated viewer {user_id}")


def simulate(
    titles: Iterable[Title],
    rng: np.random.Generator,
    *,
    until: float,
    viewers: int = AUDIENCE,
    days: int = 180,
    onboarding_share: float = 0.5,
    drifting_share: float = 0.1,
) -> Simulated:
    """An audience of `viewers` (the ten demo viewers among them) over the `days` before `until` (Unix seconds).

    Deterministic for a seed of `rng`. Demo viewers always say at onboarding what they like and never drift. Raises
    InvalidInput for no titles, titles with the same id, or less than a day.
    """
    if days < 1 or viewers < 0:
        raise InvalidInput("an audience needs at least one day, and no fewer than 0 viewers")
    screen = open_screen(tuple(titles))
    period = Period(until - days * DAY_S, until)
    rhythm = find_rhythm(screen, period, rng)
    named = tuple(demo_viewers(screen, period))[:viewers]
    audience = (*named, *recruit(screen, period, rng, viewers - len(named), drifting_share))
    speaks = rng.random(len(audience)) < onboarding_share
    speaks[: len(named)] = True
    told = tuple(onboarding_of(viewer, screen) for viewer, says in zip(audience, speaks, strict=True) if says)
    return Simulated(audience, told, screen, rhythm)
