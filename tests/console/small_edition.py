"""A small laptop edition with an audience, and one title that is out to do harm."""

import time
from itertools import groupby

import numpy as np

from core.catalog import Title
from core.config import Settings
from core.flows.adapt_users import adapt_users
from core.flows.ingest import append
from core.flows.publish_encoder import ensure_encoder
from core.flows.publish_snapshot import publish_snapshot
from core.flows.train_base import train_base
from core.local.demo import demo_titles
from core.local.demo_story import Client
from core.local.simulator import simulate
from core.local.stack import Stack
from core.wiring import services_for

HOSTILE = Title(
    content_id='"><img src=x onerror="document.title=\'taken\'">',
    title="<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>Zeppelin",
    year=1931,
    genres=("<b>drama</b>", "science fiction"),
    keywords=("zeppelin", "airship", "dirigible"),
    directors=("<u>Nobody</u>",),
    overview="<iframe src=//elsewhere.example></iframe>A zeppelin.",
)
AUDIENCE, SEED = 60, 7
FIRST = 0.6  # share of a history that an adapter learns from at first
DAY_S = 86_400.0


def wait_until_words_are_understood(running: Stack) -> None:
    """The functions load their text encoder with the first query, which does not wait for it."""
    client, deadline = Client(running.gateway.url, running.secret_path, "nobody"), time.monotonic() + 30.0
    while time.monotonic() < deadline:
        answers = [client.post("/api/v1/recommendations", {"query": "a comedy", "limit": 1}) for _ in range(4)]
        if all("routing" in answer for answer in answers):
            return
        time.sleep(0.2)


def fill(settings: Settings) -> None:
    services, now = services_for(settings), time.time()
    titles = [title for title in demo_titles() if title.type != "episode"][::4]
    services.catalog.upsert([*titles, HOSTILE])
    ensure_encoder(services)
    audience = simulate(titles, np.random.default_rng(SEED), until=now, viewers=AUDIENCE)
    histories = {user: list(events) for user, events in groupby(audience.events, lambda event: event.user_id)}
    for user_id, events in histories.items():
        append(services.log, user_id, events[: int(FIRST * len(events))])
    train_base(services, now, lambda stage: None)
    publish_snapshot(services, now, activate_it=True)
    adapt_users(services, 0, 1, lambda: now - 2 * DAY_S)
    for user_id, events in histories.items():
        append(services.log, user_id, events[int(FIRST * len(events)) :])
    adapt_users(services, 0, 1, lambda: now - DAY_S)
