"""One running laptop edition with the demo, shared by the tests that need everything."""

from collections.abc import Iterator

import pytest

from core.local.demo_story import Client
from core.local.stack import Stack

VIEWERS = 400  # a fifth of the demo's audience: starting takes a third of the time


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("home"), None)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SONA_RANKING_STRATEGY_DEADLINE_MS", "10000")  # a busy machine leaves no strategy out
        running.start(viewers=VIEWERS)
    yield running
    running.stop()


@pytest.fixture
def viewer(stack: Stack, request: pytest.FixtureRequest) -> Client:
    """A viewer of this test's own."""
    return Client(stack.gateway.url, stack.secret_path, f"viewer-{request.node.name}")
