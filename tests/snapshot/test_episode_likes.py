"""Who likes an episode likes the series: requests show series, so the item side is learned about them."""

from pathlib import Path

import numpy as np
import pytest

from core.catalog import Title
from core.interaction import Interaction, InteractionType
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Neighbours, Snapshot

START = 1_700_000_000.0
FILM, SERIES, EPISODES, OTHER = "film", "series", ("first", "second"), "other"
VIEWERS = 12


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Twelve viewers like an episode or both, then a film; twelve others another film alone."""
    titles = [Title(FILM, "Film"), Title(SERIES, "Series", type="series"), Title(OTHER, "Other")]
    titles += [Title(name, name, type="episode", series_id=SERIES) for name in EPISODES]
    events = []
    for user in range(VIEWERS):
        liked = [EPISODES[0], *([EPISODES[1]] if user % 2 else []), FILM]
        events += [like(f"v{user}", title, user, place) for place, title in enumerate(liked)]
        events.append(like(f"o{user}", OTHER, user, 0))
    parameters = SnapshotParameters(ease_min_positives=1)
    folder: Path = tmp_path_factory.mktemp("episodes")
    return Snapshot.open(build(titles, collect_interactions(events), START + 30 * 86_400.0, folder, parameters))


def like(user: str, title: str, day: int, hour: int) -> Interaction:
    at = START + 86_400.0 * day + 3600.0 * hour
    return Interaction(f"{user}-{title}", user, title, InteractionType.LIKE, at)


def led_to(lists: Neighbours, world: Snapshot, name: str) -> set[str]:
    row = world.row(name)
    return {world.content_id(int(other)) for other in lists.index[row][lists.weight[row] > 0]}


def test_the_series_is_what_goes_with_the_film(world: Snapshot) -> None:
    assert led_to(world.collaborative, world, FILM) == {SERIES}
    assert led_to(world.collaborative, world, SERIES) == {FILM}


def test_the_series_is_what_people_go_on_from(world: Snapshot) -> None:
    assert led_to(world.transitions, world, SERIES) == {FILM}
    for episode in EPISODES:
        assert not led_to(world.transitions, world, episode)


def test_a_series_is_as_popular_as_it_has_viewers_and_an_episode_as_it_has_itself(world: Snapshot) -> None:
    likes = {name: float(world.popularity_all[world.row(name)]) for name in (SERIES, *EPISODES, FILM)}
    assert likes == {SERIES: VIEWERS, EPISODES[0]: VIEWERS, EPISODES[1]: VIEWERS / 2, FILM: VIEWERS}
    assert np.isfinite(world.popularity).all()
