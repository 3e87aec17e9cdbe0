"""When people watch and what the calendar does to it: weekdays, hours, seasons, new arrivals and waves of talk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.local.simulator.audience import Period
from core.local.simulator.screen import Screen
from core.local.simulator.viewer import Viewer

DAY_S = 86_400.0
UTC_OFFSET_HOURS = {"US": -6.0, "GB": 0.0, "DE": 1.0, "FR": 1.0, "JP": 9.0, "BR": -3.0, "IN": 5.5}
WEEKDAY = np.array([0.8, 0.8, 0.85, 0.9, 1.3, 1.6, 1.4])  # Monday first
WINTER_MONTHS, WINTER = (11, 12, 1, 2), 1.2
NEW_LIFT, NEW_DAYS = 2.0, 14.0  # a new arrival is watched three times as much at first, fading over two weeks
NOT_YET = 0.15  # before a title arrives anywhere, only those who know it from elsewhere watch it
WAVE_LIFT, WAVE_DAYS, DAYS_PER_WAVE = 2.0, 6.0, 9.0

# Feature -> factor while the season lasts: (first month, day), (last month, day).
SEASONS: tuple[tuple[tuple[int, int], tuple[int, int], str, float], ...] = (
    ((12, 1), (12, 27), "keyword:christmas", 4.0),
    ((10, 10), (10, 31), "genre:horror", 2.0),
    ((2, 7), (2, 15), "genre:romance", 1.6),
    ((6, 1), (8, 31), "genre:adventure", 1.3),
)
SLOTS = ("morning", "afternoon", "evening", "night")
SLOT_TASTES: tuple[dict[str, float], ...] = (
    {"genre:family": 1.7, "genre:animation": 1.4, "genre:comedy": 1.2, "genre:horror": 0.5, "genre:thriller": 0.8},
    {"genre:family": 1.6, "genre:documentary": 1.3, "genre:adventure": 1.2, "genre:horror": 0.6},
    {"genre:drama": 1.1},
    {"genre:horror": 1.8, "genre:thriller": 1.3, "genre:science fiction": 1.2, "genre:family": 0.5},
)
SHORT_MINUTES, LONG_MINUTES = 35, 120


@dataclass(frozen=True, slots=True, eq=False)
class Rhythm:
    """Factors on the chance of watching each of n titles."""

    period: Period
    by_day: NDArray[np.float32]  # (days, n) season, arrival and talk of the day
    by_slot: NDArray[np.float32]  # (4, n) time of day, in the order of SLOTS
    by_weekend: NDArray[np.float32]  # (2, n) weekday, weekend
    on_small_screen: NDArray[np.float32]  # (n,) mobile and tablet
    sittings: NDArray[np.float64]  # (days,) relative number of sittings

    def factor(self, at: float, region: str, device: str) -> NDArray[np.float32]:
        """(n,) all factors together for one sitting."""
        day = min(int((at - self.period.start) / DAY_S), len(self.by_day) - 1)
        local = datetime.fromtimestamp(at + 3600.0 * UTC_OFFSET_HOURS[region], UTC)
        factor = self.by_day[day] * self.by_slot[slot_of(local.hour)] * self.by_weekend[int(local.weekday() >= 5)]
        return factor * self.on_small_screen if device in ("mobile", "tablet") else factor


def slot_of(hour: int) -> int:
    """Index into SLOTS: morning from 6, afternoon from 12, evening from 18, night from 23."""
    return 0 if 6 <= hour < 12 else 1 if 12 <= hour < 18 else 2 if 18 <= hour < 23 else 3


def find_rhythm(screen: Screen, period: Period, rng: np.random.Generator) -> Rhythm:
    """The rhythm of a period for all titles; only the waves of talk are drawn."""
    n = len(screen.titles)
    by_day = _arrivals(screen.titles, period) * _seasons(screen, period) * _waves(screen, period, rng)
    by_slot = np.ones((len(SLOTS), n), np.float32)
    for slot, tastes in enumerate(SLOT_TASTES):
        _multiply(screen, by_slot[slot], tastes)
    by_weekend = np.ones((2, n), np.float32)
    _multiply(screen, by_weekend[0], {"type:series": 1.25})
    _multiply(screen, by_weekend[1], {"type:movie": 1.25})
    runtime = np.array([title.runtime_minutes or 60 for title in screen.titles])
    small = np.where(runtime <= SHORT_MINUTES, 1.6, np.where(runtime > LONG_MINUTES, 0.6, 1.0)).astype(np.float32)
    dates = [datetime.fromtimestamp(period.start + DAY_S * day, UTC) for day in range(period.days)]
    sittings = [WEEKDAY[date.weekday()] * (WINTER if date.month in WINTER_MONTHS else 1.0) for date in dates]
    return Rhythm(period, by_day, by_slot, by_weekend, small, np.array(sittings))


def _multiply(screen: Screen, factors: NDArray[np.float32], tastes: dict[str, float]) -> None:
    for feature, factor in tastes.items():
        if feature in screen.postings:
            factors[screen.postings[feature]] *= np.float32(factor)


def _arrivals(titles: Sequence[Title], period: Period) -> NDArray[np.float32]:
    """(days, n) a boost that fades after each arrival in the catalogue, and little before the first one."""
    days = period.start + DAY_S * np.arange(period.days)
    factors = np.ones((period.days, len(titles)), np.float32)
    for row, title in enumerate(titles):
        arrivals = [entry.added_at for entry in title.availability]
        for added_at in arrivals:
            age = (days - added_at) / DAY_S
            boost = 1.0 + NEW_LIFT * np.exp(-np.maximum(age, 0.0) / NEW_DAYS)
            factors[:, row] = np.where(age >= 0, np.maximum(factors[:, row], boost), factors[:, row])
        if arrivals:
            factors[days < min(arrivals), row] = NOT_YET
    return factors


def _seasons(screen: Screen, period: Period) -> NDArray[np.float32]:
    factors = np.ones((period.days, len(screen.titles)), np.float32)
    for day in range(period.days):
        date = datetime.fromtimestamp(period.start + DAY_S * day, UTC)
        for first, last, feature, factor in SEASONS:
            if first <= (date.month, date.day) <= last:
                _multiply(screen, factors[day], {feature: factor})
    return factors


def _waves(screen: Screen, period: Period, rng: np.random.Generator) -> NDArray[np.float32]:
    """(days, n) now and then everybody talks about one title, its franchise and its makers."""
    factors = np.ones((period.days, len(screen.titles)), np.float32)
    fame = np.exp(screen.popularity.astype(float))
    for _ in range(rng.poisson(period.days / DAYS_PER_WAVE)):
        row, day = int(rng.choice(len(fame), p=fame / fame.sum())), int(rng.integers(period.days))
        franchise = screen.postings.get(f"franchise:{screen.titles[row].franchise}", np.zeros(0, np.int32))
        rows = np.unique(np.concatenate([[row], franchise, screen.makers[row]])).astype(int)
        fading = 1.0 + WAVE_LIFT * np.exp(-np.arange(period.days - day) / WAVE_DAYS)
        factors[day:, rows] *= fading[:, None].astype(np.float32)
    return factors


def sitting_times(viewer: Viewer, rhythm: Rhythm, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sorted Unix seconds at which the viewer sits down to watch, between joining and the end."""
    period = rhythm.period
    first = int((viewer.joined_at - period.start) / DAY_S)
    days, weight = np.arange(first, period.days), rhythm.sittings[first:]
    count = max(1, rng.poisson(viewer.habits.sittings * len(days) / max(period.days, 1)))
    chosen = days[rng.choice(len(days), size=count, p=weight / weight.sum())]
    hour = rng.normal(viewer.habits.prime_hour, 1.3, count)
    daytime = rng.random(count) < 0.25
    hour = np.where(daytime, rng.uniform(8.0, 18.0, count), hour)
    midnight = np.floor((period.start + DAY_S * chosen) / DAY_S) * DAY_S
    times = midnight + 3600.0 * (hour - UTC_OFFSET_HOURS[viewer.region])
    return np.sort(times[(times >= viewer.joined_at) & (times < period.until)])
