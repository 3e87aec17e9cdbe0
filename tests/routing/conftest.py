"""The shipped router with its encoder, the hand-written test set, and the demo catalogue to find names in."""

from pathlib import Path

import pytest
from router_queries import NOW

from core.embedding.encoder import Encoder
from core.interaction import Interaction, InteractionType
from core.local.demo import demo_titles
from core.routing.router import Router, open_router
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.snapshot import Snapshot


@pytest.fixture(scope="session")
def encoder(encoder_folder: Path) -> Encoder:
    return Encoder.open(encoder_folder)


@pytest.fixture(scope="session")
def router() -> Router:
    return open_router()


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The demo's titles, a few of them watched."""
    titles = list(demo_titles())
    watched = ["the-office-2005", "nosferatu-2024", "dune-2021", "heat-1995", "alien-1979", "inception-2010"]
    events = [
        Interaction(f"{user}-{name}", f"user-{user}", name, InteractionType.LIKE, NOW - 86_400.0 * (user + 1))
        for user in range(4)
        for name in watched
    ]
    return Snapshot.open(build(titles, collect_interactions(events), NOW, tmp_path_factory.mktemp("catalogue")))
