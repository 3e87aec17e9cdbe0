"""The story of a base generation: read the log, renew what all users share, publish, activate.

The next snapshot is built with it (core.flows.publish_snapshot), and from then on requests use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from core.adaptation.evidence import of_series
from core.adaptation.generation import Generation
from core.adaptation.generation_store import (
    activate_generation,
    active_generation,
    load_generation,
    named,
    publish_generation,
)
from core.adaptation.renewal import REMEMBERED, GenerationSettings, renew
from core.catalog import Title
from core.errors import NotFound
from core.flows.services import Services
from core.patterns.segments import as_viewers
from core.snapshot.inputs import Interactions, collect_interactions
from core.stores.protocols import Bucket
from core.telemetry import logger

log = logger("train_base")


def train_base(services: Services, now: float, progress: Callable[[str], None] = lambda stage: None) -> dict[str, Any]:
    """Train and activate a generation from all events up to now.

    Reports `generation` (None, and nothing is changed, when too little is known) `titles users likes base_accepted
    loss_before loss_after bytes seconds`. Raises Conflict when another one was activated meanwhile.
    """
    progress("reading the catalogue and the event log")
    titles = list(services.catalog.titles())
    interactions = as_viewers(collect_interactions(services.log.evidence()), services.patterns.changes(0).put)
    return train_on(services.bucket, titles, interactions, now, progress)


def train_on(
    bucket: Bucket,
    titles: Iterable[Title],
    interactions: Interactions,
    now: float,
    progress: Callable[[str], None] = lambda stage: None,
    settings: GenerationSettings | None = None,
) -> dict[str, Any]:
    """`train_base` on what has already been read."""
    began = time.perf_counter()
    active, pointer = active_generation(bucket)
    progress("training a base generation")
    renewed = renew(of_series(interactions, titles), recent_generations(bucket, active), settings)
    if renewed is None:
        return {"generation": None, "titles": 0, "users": 0, "likes": 0, "base_accepted": False}
    generation, outcome = named(renewed[0], now), renewed[1]
    progress(f"publishing generation {generation.name}")
    size = publish_generation(bucket, generation, outcome.facts())
    if generation.name != active:
        activate_generation(bucket, generation.name, pointer)
    base = outcome.base
    return {
        "generation": generation.name,
        "titles": outcome.titles,
        "users": base.users,
        "likes": outcome.likes,
        "base_accepted": base.accepted,
        "loss_before": round(base.loss_before, 5),
        "loss_after": round(base.loss_after, 5),
        "bytes": size,
        "seconds": round(time.perf_counter() - began, 1),
    }


def recent_generations(bucket: Bucket, active: str | None) -> list[Generation]:
    """The active generation and those that adapters could be carried over from when it was made, newest first."""
    if active is None:
        return []
    newest = load_generation(bucket, active)
    found = [newest]
    for name in list(newest.transfers)[: REMEMBERED - 1]:
        try:
            found.append(load_generation(bucket, name))
        except NotFound:  # cleared away: whoever is still there will be re-fitted
            log.warning("an older base generation is gone", generation=name)
    return found
