"""Fill an empty laptop edition: the demo catalogue, its simulated audience, and what the jobs make of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from core.catalog import Title
from core.config import Settings
from core.flows.adapt_users import adapt_users
from core.flows.embed_catalog import embed_if_possible
from core.flows.ingest import append
from core.flows.publish_encoder import ensure_encoder
from core.flows.publish_snapshot import publish_snapshot
from core.flows.services import Services
from core.flows.train_base import train_base
from core.interaction import Event
from core.local.demo import demo_titles
from core.local.simulator import AUDIENCE, Simulated, simulate
from core.wiring import services_for

SEED = 20_260_101
REPORT_EVERY = 250  # viewers


def load_demo(settings: Settings, marker: Path, progress: Callable[[str], None], viewers: int = AUDIENCE) -> None:
    """Load what is missing. An interrupted load goes on with the same simulated time and audience, so nothing doubles.

    viewers: of the audience. Kept with the time in `marker` until everything is loaded.
    """
    begun = {"until": time.time(), "viewers": viewers, "loaded": False}
    state = begun | (json.loads(marker.read_text()) if marker.exists() else {})
    if state["loaded"]:
        return
    marker.write_text(json.dumps(state))
    services = services_for(settings)
    titles = list(demo_titles())
    progress(f"loading {len(titles)} titles")
    services.catalog.upsert(titles)
    with ThreadPoolExecutor(1) as beside:  # the encoder computes while the history waits for the database
        embedding = beside.submit(_embed, services, progress)
        _load_history(services, titles, state["until"], state["viewers"], progress)
        embedding.result()
    train_base(services, state["until"], progress)
    publish_snapshot(services, state["until"], activate_it=True, progress=progress)
    progress("adapting the simulated viewers")
    adapt_users(services, 0, 1, time.time)
    marker.write_text(json.dumps({**state, "loaded": True}))


def _embed(services: Services, progress: Callable[[str], None]) -> None:
    ensure_encoder(services)
    embed_if_possible(services, progress)


def _load_history(
    services: Services, titles: list[Title], until: float, viewers: int, progress: Callable[[str], None]
) -> None:
    audience = simulate(titles, np.random.default_rng(SEED), until=until, viewers=viewers)
    for number, (user_id, events) in enumerate(_by_viewer(audience)):
        if number % REPORT_EVERY == 0:
            progress(f"loading the history of simulated viewers: {number} of {len(audience.viewers)}")
        append(services.log, user_id, events)


def _by_viewer(audience: Simulated) -> Iterator[tuple[str, list[Event]]]:
    told = {event.user_id: event for event in audience.onboarding}
    for viewer in audience.viewers:
        events: list[Event] = [told[viewer.user_id]] if viewer.user_id in told else []
        events += audience.events_of(viewer)
        yield viewer.user_id, events
