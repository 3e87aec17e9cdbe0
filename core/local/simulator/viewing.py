"""One viewer's evenings, in order: what is chosen, how it goes on, and what it changes for the next choice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.interaction import Interaction, InteractionType
from core.local.simulator import reactions
from core.local.simulator.rhythm import Rhythm, sitting_times
from core.local.simulator.screen import Screen
from core.local.simulator.viewer import Viewer

# The chance of a title is exp(TASTE_PULL focus utility + POPULARITY_PULL mainstream popularity), times the rhythm.
TASTE_PULL, POPULARITY_PULL = 1.5, 0.75
MORE_TITLES = 0.7  # expected number of further titles in a sitting
REWATCH, SEARCHED, SKIPPED = 0.04, 0.15, 0.3
SEQUEL_FIRST, SEQUEL_NEXT = 0.2, 6.0  # before and after its predecessor was liked
EPISODE_ALONE, EPISODE_NEXT = 0.03, 12.0  # before and after its series was begun and liked
SAME_MAKER = 1.6
SIMILAR_LIFT, LIFT_FADES = 6.0, 0.55  # more like this, for the next sittings
SERIES_GOES_ON = 0.6  # chance per title of a sitting that a series in progress is watched
MAX_SERIES_STEPS = 8  # a long series is watched in larger portions


@dataclass(slots=True)
class Mind:
    """What the past has done to a viewer's next choice; n titles."""

    viewer: Viewer
    screen: Screen
    utility: NDArray[np.float32]  # (n,)
    pull: NDArray[np.float32]  # (n,) relative chance of every title, 0 once seen
    lift: NDArray[np.float32]  # (n,) fading interest in titles like those just liked
    habits: NDArray[np.float32]  # (n,) what franchises, makers and begun series multiply
    drifted: bool = False
    series: dict[int, float] = field(default_factory=dict)  # row in progress -> share watched
    liked: list[int] = field(default_factory=list)

    def choose_taste(self, at: float) -> None:
        """Recompute utility and pull for the taste of that time."""
        scores = self.screen.scores(self.viewer.taste_at(at))
        self.utility = (scores - self.viewer.centre) / self.viewer.spread
        popularity = POPULARITY_PULL * self.viewer.habits.mainstream * self.screen.popularity
        seen = self.pull == 0
        self.pull = np.exp(TASTE_PULL * self.viewer.habits.focus * self.utility + popularity) * self.habits
        self.pull[seen] = 0.0

    def multiply(self, rows: NDArray[np.int32], factor: float) -> None:
        """Make titles more or less likely from here on, a change of taste included."""
        if not len(rows):
            return
        self.habits[rows] *= np.float32(factor)
        self.pull[rows] *= np.float32(factor)

    def forget_choice(self, row: int) -> None:
        """Seen once is enough, unless it is watched again on purpose."""
        self.pull[row] = 0.0

    def enjoyed(self, row: int) -> None:
        """A liked title pulls its sequel, its makers' other work, its episodes and what resembles it."""
        self.liked.append(row)
        sequels, episodes = self.screen.follow_ups[row]
        self.multiply(sequels, SEQUEL_NEXT / SEQUEL_FIRST)
        self.multiply(episodes, EPISODE_NEXT / EPISODE_ALONE)
        self.multiply(self.screen.makers[row], SAME_MAKER)
        rows, likeness = self.screen.similar
        self.lift[rows[row]] += SIMILAR_LIFT * likeness[row]


def _new_mind(viewer: Viewer, screen: Screen) -> Mind:
    n = len(screen.titles)
    habits = np.ones(n, np.float32)
    habits[screen.predecessor >= 0] = SEQUEL_FIRST
    habits[screen.parent >= 0] = EPISODE_ALONE
    mind = Mind(viewer, screen, np.zeros(n, np.float32), np.ones(n, np.float32), np.zeros(n, np.float32), habits)
    mind.choose_taste(viewer.joined_at)
    mind.drifted = viewer.drift is not None and viewer.joined_at >= viewer.drift.at
    return mind


def history(viewer: Viewer, screen: Screen, rhythm: Rhythm) -> Iterator[Interaction]:
    """All events of one viewer in the period, oldest first; depends on the viewer's seed and the rhythm alone."""
    rng = np.random.default_rng([viewer.seed, 0])
    mind = _new_mind(viewer, screen)
    clock = 0.0
    for at in sitting_times(viewer, rhythm, rng):
        at = max(float(at), clock + 600.0)  # nobody sits in two rooms
        if viewer.drift and not mind.drifted and at >= viewer.drift.at:
            mind.choose_taste(at)
            mind.drifted = True
        events = sorted(_sitting(mind, rhythm, at, rng), key=lambda event: event.occurred_at)
        clock = events[-1].occurred_at if events else clock
        yield from (event for event in events if event.occurred_at < rhythm.period.until)
        mind.lift *= LIFT_FADES


def _sitting(mind: Mind, rhythm: Rhythm, at: float, rng: np.random.Generator) -> Iterator[Interaction]:
    viewer = mind.viewer
    device = reactions.draw_device(viewer, rng)
    factor = rhythm.factor(at, viewer.region, device)
    if rng.random() < SKIPPED:
        yield from _skip(mind, factor, at, device, rng)
    clock = at + 60.0
    for _ in range(1 + rng.poisson(MORE_TITLES)):
        events = _next_title(mind, factor, clock, device, rng)
        if not events:
            return
        yield from events
        clock = events[-1].occurred_at + 120.0


def _next_title(
    mind: Mind, factor: NDArray[np.float32], at: float, device: str, rng: np.random.Generator
) -> list[Interaction]:
    """Go on with a series, see a favourite again, or find something new; empty when everything is seen."""
    if mind.series and rng.random() < SERIES_GOES_ON:
        return _episodes(mind, list(mind.series)[-1], at, device, rng)
    if mind.liked and rng.random() < REWATCH:
        return _again(mind, mind.liked[int(rng.integers(len(mind.liked)))], at, device)
    row = _pick(mind.pull * factor * (1.0 + mind.lift), rng)
    if row < 0:
        return []
    mind.forget_choice(row)
    title = mind.screen.titles[row]
    found = []
    if rng.random() < SEARCHED:
        found = [reactions.interaction(mind.viewer, title, InteractionType.SEARCH_CLICK, at - 20.0, device)]
    enjoyed = reactions.enjoyment(float(mind.utility[row]), rng)
    if title.type == "series":
        return found + _begin_series(mind, row, enjoyed, at, device, rng)
    events = reactions.watch(mind.viewer, title, enjoyed, rng, at, device)
    if events[1].type is InteractionType.WATCH_COMPLETE and enjoyed > 0:
        mind.enjoyed(row)
    return found + events


def _pick(weights: NDArray[np.float32], rng: np.random.Generator) -> int:
    """A row with probability in proportion to its weight, or -1 when all are 0."""
    total = np.cumsum(weights, dtype=np.float64)
    return int(np.searchsorted(total, rng.random() * total[-1], side="right")) if total[-1] > 0 else -1


def _skip(
    mind: Mind, factor: NDArray[np.float32], at: float, device: str, rng: np.random.Generator
) -> list[Interaction]:
    """A popular title is shown on the front page; whoever would not like it may wave it away."""
    shown = _pick(np.exp(mind.screen.popularity) * factor, rng)
    if rng.random() > reactions.logistic(-2.0 * (float(mind.utility[shown]) + 0.2)):
        return []
    title = mind.screen.titles[shown]
    return [reactions.interaction(mind.viewer, title, InteractionType.SKIP_CONTENT, at, device)]


def _again(mind: Mind, row: int, at: float, device: str) -> list[Interaction]:
    title = mind.screen.titles[row]
    end = at + reactions.runtime_s(title)
    done = InteractionType.WATCH_COMPLETE
    return [reactions.interaction(mind.viewer, title, done, end, device, progress=1.0, rewatch=True)]


def _begin_series(
    mind: Mind, row: int, enjoyed: float, at: float, device: str, rng: np.random.Generator
) -> list[Interaction]:
    title = mind.screen.titles[row]
    events = [reactions.interaction(mind.viewer, title, InteractionType.WATCH_START, at, device)]
    mind.series[row] = 0.0
    if reactions.finishes(enjoyed, rng):
        mind.enjoyed(row)
        return events + _episodes(mind, row, at, device, rng)
    events += _episodes(mind, row, at, device, rng, most=1)
    mind.series.pop(row, None)
    return events + reactions.opinion(mind.viewer, title, enjoyed, rng, events[-1].occurred_at + 30.0, device)


def _episodes(
    mind: Mind, row: int, at: float, device: str, rng: np.random.Generator, most: int = 5
) -> list[Interaction]:
    """One or more episodes of a series in progress, more for those who binge; the last one completes it."""
    title = mind.screen.titles[row]
    length = (title.seasons or 1) * (8 if (title.runtime_minutes or 60) > 35 else 18)
    step = max(1.0 / length, 1.0 / MAX_SERIES_STEPS)
    events = []
    for number in range(1, 1 + min(most, 1 + rng.poisson(2.5 * mind.viewer.habits.binge))):
        done = min(1.0, round(mind.series[row] + step, 3))
        mind.series[row] = done
        kind = InteractionType.WATCH_COMPLETE if done >= 0.999 else InteractionType.WATCH_PROGRESS
        end = at + number * reactions.runtime_s(title)
        events.append(reactions.interaction(mind.viewer, title, kind, end, device, progress=done))
        if kind is InteractionType.WATCH_COMPLETE:
            del mind.series[row]
            enjoyed = reactions.enjoyment(float(mind.utility[row]), rng)
            return events + reactions.opinion(mind.viewer, title, enjoyed, rng, end + 30.0, device)
    return events
