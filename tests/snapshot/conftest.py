"""A small world: twelve titles of two tastes, and viewers who like the one or the other."""

from pathlib import Path

import numpy as np
import pytest
from small_world import DAY_S, LOVE, NOW, SPACE, FolderBucket, like

from core.catalog import Availability, Title
from core.interaction import Interaction, Onboarding
from core.snapshot.build import build
from core.snapshot.inputs import Interactions, collect_interactions


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture(scope="session")
def titles() -> list[Title]:
    def film(content_id: str, **facts: object) -> Title:
        name, _, year = content_id.rpartition("-")
        return Title(content_id, name.replace("-", " ").title(), year=int(year), **facts)  # type: ignore[arg-type]

    space = {"genres": ("science fiction", "thriller"), "keywords": ("space", "isolation"), "language": "en"}
    love = {"genres": ("romance", "drama"), "keywords": ("love", "chance meeting")}
    weaver = {"cast": ("Sigourney Weaver",), "franchise": "alien"}
    linklater = {"cast": ("Ethan Hawke", "Julie Delpy"), "directors": ("Richard Linklater",), "franchise": "before"}
    here = (Availability("Lumen", "DE", NOW - 30 * DAY_S), Availability("Orbit", "DE", NOW - DAY_S, NOW + DAY_S))
    return [
        film("alien-1979", **space, **weaver, directors=("Ridley Scott",), maturity=16, availability=here),
        film("aliens-1986", **space, **weaver, directors=("James Cameron",), maturity=16),
        film("solaris-1972", **{**space, "language": "ru"}, directors=("Andrei Tarkovsky",)),
        film("gravity-2013", **space, directors=("Alfonso Cuaron",), runtime_minutes=91),
        film("moon-2009", **space, directors=("Duncan Jones",)),
        film("before-sunrise-1995", **love, **linklater),
        film("before-sunset-2004", **love, **linklater),
        film("brief-encounter-1945", **love, directors=("David Lean",)),
        film("amelie-2001", **{**love, "genres": ("comedy", "romance")}, directors=("Jean-Pierre Jeunet",)),
        film("past-lives-2023", **love, directors=("Celine Song",)),
        Title("the-expanse-2015", "The Expanse", "series", 2015, genres=("science fiction", "drama"), seasons=6),
        Title("the-expanse-2015-s01e01", "Dulcinea", "episode", 2015, series_id="the-expanse-2015"),
    ]


@pytest.fixture(scope="session")
def interactions() -> Interactions:
    """Forty viewers like four or five titles of their taste, one a day, in catalogue order; the last day is now."""
    events: list[Interaction | Onboarding] = []
    rng = np.random.default_rng(0)
    for number in range(40):
        taste, region = (SPACE, "DE") if number % 2 else (LOVE, "FR")
        user = f"viewer-{number}"
        events.append(Onboarding(f"{user}-said", user, NOW, region=region))
        skipped = taste[rng.integers(5)]
        chosen = [content_id for content_id in taste if content_id != skipped]
        device = "tv" if number % 2 else "mobile"
        events += [
            like(user, content_id, NOW - (len(chosen) - 1 - day) * DAY_S, device)
            for day, content_id in enumerate(chosen)
        ]
    return collect_interactions(events)


@pytest.fixture(scope="session")
def folder(titles: list[Title], interactions: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built snapshot of the small world; not to be changed."""
    return build(titles, interactions, NOW, tmp_path_factory.mktemp("snapshots"))
