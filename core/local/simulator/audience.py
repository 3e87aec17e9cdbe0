"""Who is in the audience: ten named demo viewers and as many drawn ones as wanted. Nobody here is a real person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from core.interaction import Onboarding
from core.local.simulator import reactions
from core.local.simulator.screen import Screen
from core.local.simulator.taste import Taste, archetypes, read_toml
from core.local.simulator.viewer import Drift, Habits, Viewer

AGE_BANDS = {"18-24": 0.20, "25-34": 0.27, "35-44": 0.22, "45-54": 0.16, "55+": 0.15}
REGIONS = {"US": 0.40, "GB": 0.15, "DE": 0.12, "FR": 0.10, "JP": 0.09, "BR": 0.08, "IN": 0.06}
LANGUAGES = {"US": "en", "GB": "en", "DE": "de", "FR": "fr", "JP": "ja", "BR": "pt", "IN": "hi"}

TILT = 2.0  # how much likelier an archetype is in the ages and regions it names
MOTHER_TONGUE = 0.5  # favourite weight of titles in one's own language, other than English
NEWCOMERS = 0.35  # share that joins during the period
FAVOURITES, DISLIKED = 9, 2  # people and themes beyond the archetypes, and how many of them are disliked
ONBOARDING_GENRES, ONBOARDING_TITLES = 3, 60  # genres that stand out among the best-liked titles
PERIOD_DAYS = 180.0  # what `sittings` in personas.toml refers to


@dataclass(frozen=True, slots=True)
class Period:
    """The time that is simulated, in Unix seconds."""

    start: float
    until: float

    @property
    def days(self) -> int:
        """Rounded to whole ones."""
        return round((self.until - self.start) / 86_400.0)


@dataclass(frozen=True, slots=True)
class Persona:
    """A named demo viewer as written in personas.toml."""

    user_id: str
    about: str
    age_band: str
    region: str
    language: str
    taste: Taste
    sittings: float  # in PERIOD_DAYS


def _personas() -> Iterator[Persona]:
    for name, row in read_toml("personas.toml").items():
        taste = Taste(tuple(row["tastes"].items()), tuple(row["favourites"].items()))
        facts = {key: row[key] for key in ("about", "age_band", "region", "language")}
        yield Persona(user_id=name, taste=taste, sittings=float(row["sittings"]), **facts)


DEMO_VIEWERS: dict[str, Persona] = {persona.user_id: persona for persona in _personas()}


def demo_viewers(screen: Screen, period: Period) -> Iterator[Viewer]:
    """The personas of DEMO_VIEWERS: the same whatever the rest of the audience is."""
    for number, persona in enumerate(DEMO_VIEWERS.values()):
        rng = np.random.default_rng([1895, number])  # 1895: the first cinema audience
        habits = _draw_habits(rng, persona.taste, period)
        yield Viewer(
            user_id=persona.user_id,
            age_band=persona.age_band,
            region=persona.region,
            language=persona.language,
            taste=persona.taste,
            drift=None,
            habits=replace(
                habits,
                focus=1.5,  # the cast of a demo is more typical than life
                mainstream=0.6 * habits.mainstream,
                sittings=persona.sittings * period.days / PERIOD_DAYS,
                opinionated=0.35,
            ),
            joined_at=period.start,
            seed=number,
            **_scale(screen, persona.taste),
        )


def recruit(screen: Screen, period: Period, rng: np.random.Generator, count: int, drifting: float) -> Iterator[Viewer]:
    """`count` viewers; a share `drifting` of them changes taste in the middle third of the period."""
    length = period.until - period.start
    for number in range(count):
        region = str(rng.choice(list(REGIONS), p=list(REGIONS.values())))
        age = str(rng.choice(list(AGE_BANDS), p=list(AGE_BANDS.values())))
        taste = _draw_taste(screen, rng, age, region)
        joined_at = period.start + (rng.uniform(0.0, 0.9) * length if rng.random() < NEWCOMERS else 0.0)
        drift = None
        if rng.random() < drifting:
            drift_at = max(joined_at, period.start + rng.uniform(0.35, 0.65) * length)
            drift = Drift(drift_at, _draw_taste(screen, rng, age, region, without=taste.mixture[0][0]))
        yield Viewer(
            user_id=f"viewer-{number:05d}",
            age_band=age,
            region=region,
            language="en" if region == "IN" and rng.random() < 0.5 else LANGUAGES[region],
            taste=taste,
            drift=drift,
            habits=_draw_habits(rng, taste, period),
            joined_at=joined_at,
            seed=int(rng.integers(2**62)),
            **_scale(screen, taste),
        )


def _scale(screen: Screen, taste: Taste) -> dict[str, float]:
    scores = screen.scores(taste)
    return {"centre": float(scores.mean()), "spread": max(float(scores.std()), 1e-6)}


def _draw_taste(screen: Screen, rng: np.random.Generator, age: str, region: str, without: str = "") -> Taste:
    """One to three archetypes, the first with the largest share, then favourites among what these like."""
    names, chances = _chances(age, region)
    chances = np.where(np.array(names) == without, 0.0, chances)
    count = int(rng.choice([1, 2, 3], p=[0.3, 0.45, 0.25]))
    chosen = rng.choice(len(names), size=count, replace=False, p=chances / chances.sum())
    shares = np.sort(rng.dirichlet([3.0, 1.5, 1.0][:count]))[::-1]
    taste = Taste(tuple((names[row], float(share)) for row, share in zip(chosen, shares, strict=True)))
    favourites = _draw_favourites(screen, rng, taste)
    if LANGUAGES[region] != "en":
        favourites[f"language:{LANGUAGES[region]}"] = MOTHER_TONGUE
    return replace(taste, favourites=tuple(favourites.items()))


@cache
def _chances(age: str, region: str) -> tuple[tuple[str, ...], np.ndarray]:
    known = archetypes().values()
    weights = [one.share * TILT ** (age in one.ages) * TILT ** (region in one.regions) for one in known]
    return tuple(archetypes()), np.array(weights) / sum(weights)


def _draw_favourites(screen: Screen, rng: np.random.Generator, taste: Taste) -> dict[str, float]:
    """People or themes of titles that the taste likes, the last few of which the viewer has come to dislike."""
    pull = np.exp(screen.scores(taste) + 0.5 * screen.popularity)
    rows = rng.choice(len(pull), size=min(FAVOURITES, len(pull)), replace=False, p=pull / pull.sum())
    favourites = {}
    for place, row in enumerate(rows):
        named = [feature for feature in screen.features[row] if feature.startswith(("person:", "keyword:"))]
        if named:
            sign = 1.0 if place < FAVOURITES - DISLIKED else -1.0
            favourites[named[int(rng.integers(len(named)))]] = sign * float(rng.uniform(0.3, 0.9))
    return favourites


def _draw_habits(rng: np.random.Generator, taste: Taste, period: Period) -> Habits:
    """Log-normal activity (few watch a lot), evening hours, television first, and a personal scale of stars."""
    mainstream = sum(share * archetypes()[name].mainstream for name, share in taste.mixture)
    return Habits(
        focus=float(rng.uniform(0.75, 1.25)),
        mainstream=mainstream * float(rng.uniform(0.6, 1.4)),
        sittings=float(np.clip(rng.lognormal(2.55, 0.75), 2.0, 120.0)) * period.days / PERIOD_DAYS,
        prime_hour=float(np.clip(rng.normal(20.5, 1.5), 8.0, 23.5)),
        devices=tuple(float(share) for share in np.cumsum(rng.dirichlet([3.0, 1.2, 0.5, 0.8]))[:-1]),
        binge=float(rng.beta(2.0, 3.0)),
        opinionated=float(rng.beta(1.2, 5.0)),
        mean_stars=float(np.clip(rng.normal(2.6, 0.35), 1.5, 3.7)),
        stars_per_sd=float(rng.uniform(0.4, 0.8)),
    )


def onboarding_of(viewer: Viewer, screen: Screen) -> Onboarding:
    """What the viewer would tell when joining: the genres they like best (not always exactly) and who they are."""
    rng = np.random.default_rng([viewer.seed, 1])
    return Onboarding(
        event_id=reactions.event_id(viewer.user_id, "", "onboarding", viewer.joined_at),
        user_id=viewer.user_id,
        occurred_at=viewer.joined_at,
        genres=_best_genres(screen, viewer.taste, rng),
        age_band=viewer.age_band,
        region=viewer.region,
        language=viewer.language,
    )


def _best_genres(screen: Screen, taste: Taste, rng: np.random.Generator) -> tuple[str, ...]:
    """Genres with a large share of the best-liked titles, more so where it is larger than usual."""
    scores = screen.scores(taste)
    best = np.zeros(len(scores), bool)
    best[np.argsort(-scores, kind="stable")[:ONBOARDING_TITLES]] = True
    liking = {}
    for genre, rows in screen.genres.items():
        share, usual = float(best[rows].sum()) / float(best.sum()), len(rows) / len(scores)
        liking[genre] = share * float(np.sqrt(share / usual)) * float(rng.lognormal(0.0, 0.2))
    return tuple(sorted(liking, key=lambda genre: (-liking[genre], genre))[:ONBOARDING_GENRES])
