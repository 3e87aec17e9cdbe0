"""One simulated audience of the demo catalogue for all the tests of this folder."""

import numpy as np
import pytest

from core.catalog import Title
from core.interaction import Interaction, InteractionType
from core.local.demo import demo_titles
from core.local.simulator import Simulated, simulate

NOVEMBER_2026 = 1_795_000_000.0
WATCHING = {InteractionType.WATCH_START, InteractionType.WATCH_PROGRESS, InteractionType.WATCH_COMPLETE}


@pytest.fixture(scope="session")
def now() -> float:
    return NOVEMBER_2026


@pytest.fixture(scope="session")
def titles() -> list[Title]:
    return list(demo_titles())


@pytest.fixture(scope="session")
def by_id(titles: list[Title]) -> dict[str, Title]:
    return {title.content_id: title for title in titles}


@pytest.fixture(scope="session")
def audience(titles: list[Title], now: float) -> Simulated:
    return simulate(titles, np.random.default_rng(5), until=now, viewers=600)


@pytest.fixture(scope="session")
def histories(audience: Simulated) -> dict[str, list[Interaction]]:
    """User -> all events, oldest first."""
    return {viewer.user_id: list(audience.events_of(viewer)) for viewer in audience.viewers}


@pytest.fixture(scope="session")
def viewings(histories: dict[str, list[Interaction]]) -> dict[str, list[str]]:
    """User -> content ids in the order of their first watching."""
    return {
        user_id: list(dict.fromkeys(event.content_id for event in events if event.type in WATCHING))
        for user_id, events in histories.items()
    }
