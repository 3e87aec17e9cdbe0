"""Simulated viewers who from a known time on have another one's taste, for the forgetting experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.evaluation.taste_shift import (
    MIN_LIKES,
    Life,
    Shifted,
    donors,
    hold_back,
    liked_titles,
    require_enough,
    without,
)
from core.interaction import Interaction
from core.local.demo import demo_titles
from core.local.simulator import Drift, Simulated, Viewer, simulate

UNTIL, DAYS = 1_767_225_600.0, 360  # a year, so that many have likes enough on either side


def shifted_audience(rng: np.random.Generator, most: int) -> Shifted:
    """The demo catalogue and its audience, without the simulator's own drift of tastes."""
    audience = simulate(list(demo_titles()), rng, until=UNTIL, days=DAYS, drifting_share=0.0)
    return of_audience(audience, rng, most)


def of_audience(audience: Simulated, rng: np.random.Generator, most: int = 200, least: int = MIN_LIKES) -> Shifted:
    """Viewers with at least `least` likes on either side of the middle of the simulated period get another one's
    taste there; how they watch stays theirs."""
    screen, period = audience.screen, audience.rhythm.period
    middle = (period.start + period.until) / 2
    usual = {viewer.user_id: list(audience.events_of(viewer)) for viewer in audience.viewers}
    active = [viewer for viewer in audience.viewers if _fewer_likes(usual[viewer.user_id], middle) >= least]
    active = sorted(active, key=lambda viewer: -len(usual[viewer.user_id]))[:most]
    require_enough(active, "the simulated audience")
    donor, likeness = donors(np.array([screen.scores(viewer.taste) for viewer in active]), rng)
    lives = tuple(
        _drifted(audience, viewer, active[other], middle, float(alike), rng)
        for viewer, other, alike in zip(active, donor, likeness, strict=True)
    )
    lives = tuple(life for life in lives if life.old and life.new)
    shifted = {life.user_id for life in lives}
    others = [event for name, events in usual.items() if name not in shifted for event in events]
    item_side = (*others, *(event for life in lives for event in life.events))
    return Shifted("simulated", screen.titles, lives, item_side)


def _fewer_likes(events: Sequence[Interaction], middle: float) -> int:
    """Likes on that side of the middle that has fewer."""
    likes = np.array(list(liked_titles(events).values()))
    return int(min((likes < middle).sum(), (likes >= middle).sum()))


def _drifted(
    audience: Simulated, viewer: Viewer, other: Viewer, middle: float, alike: float, rng: np.random.Generator
) -> Life:
    changed = replace(viewer, drift=Drift(middle, other.taste))
    events = list(audience.events_of(changed))
    likes = liked_titles(events)
    parts = ({n: at for n, at in likes.items() if (at >= middle) == after} for after in (False, True))
    old, new = (hold_back(part, rng) for part in parts)
    return Life(viewer.user_id, tuple(without(events, (*old, *new))), middle, old, new, alike)
