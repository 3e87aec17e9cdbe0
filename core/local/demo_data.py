"""Fill an empty laptop edition: the demo catalogue, its simulated audience, and a first snapshot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from core.config import Settings
from core.flows.ingest import append
from core.flows.publish_snapshot import publish_snapshot
from core.interaction import Event
from core.local.demo import demo_titles
from core.local.simulator import Simulated, simulate
from core.wiring import services_for

SEED = 20_260_101
REPORT_EVERY = 250  # viewers


def load_demo(settings: Settings, marker: Path, progress: Callable[[str], None]) -> None:
    """Load what is missing. An interrupted load goes on with the same simulated time, so nothing doubles."""
    state = json.loads(marker.read_text()) if marker.exists() else {"until": time.time(), "loaded": False}
    if state["loaded"]:
        return
    marker.write_text(json.dumps(state))
    services = services_for(settings)
    titles = list(demo_titles())
    progress(f"loading {len(titles)} titles")
    services.catalog.upsert(titles)
    audience = simulate(titles, np.random.default_rng(SEED), until=state["until"])
    for number, (user_id, events) in enumerate(_by_viewer(audience)):
        if number % REPORT_EVERY == 0:
            progress(f"loading the history of simulated viewers: {number} of {len(audience.viewers)}")
        append(services.log, user_id, events)
    publish_snapshot(services, state["until"], activate_it=True, progress=progress)
    marker.write_text(json.dumps({**state, "loaded": True}))


def _by_viewer(audience: Simulated) -> Iterator[tuple[str, list[Event]]]:
    told = {event.user_id: event for event in audience.onboarding}
    for viewer in audience.viewers:
        events: list[Event] = [told[viewer.user_id]] if viewer.user_id in told else []
        events += audience.events_of(viewer)
        yield viewer.user_id, events
