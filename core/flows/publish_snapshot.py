"""The story of a snapshot: read the catalogue and the log, build, publish, activate."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.flows.services import Services
from core.snapshot.build import build
from core.snapshot.inputs import collect_interactions
from core.snapshot.publish import activate, publish
from core.snapshot.snapshot import RELATIONSHIP_TYPES, Snapshot


def publish_snapshot(
    services: Services, now: float, activate_it: bool, progress: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """Build from all titles and events up to now; reports `version items events bytes seconds active`."""
    began = time.perf_counter()
    progress("reading the catalogue and the event log")
    titles = list(services.catalog.titles())
    interactions = collect_interactions(services.log.evidence())
    with TemporaryDirectory() as workplace:
        progress(f"building a snapshot of {len(titles)} titles")
        folder = build(titles, interactions, now, Path(workplace), progress=lambda part, _: progress(f"  {part}"))
        snapshot = Snapshot.open(folder)
        progress(f"publishing snapshot {snapshot.version}")
        publish(folder, services.bucket)
        if activate_it:
            activate(services.bucket, snapshot.version)
        services.catalog.put_relationships(_edges(snapshot))
        size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "version": snapshot.version,
        "items": len(snapshot),
        "events": len(interactions.key),
        "bytes": size,
        "seconds": round(time.perf_counter() - began, 1),
        "active": activate_it,
    }


def _edges(snapshot: Snapshot) -> list[tuple[str, str, str, float]]:
    ids = [snapshot.content_id(row) for row in range(len(snapshot))]
    return [
        (ids[edge["source"]], ids[edge["target"]], str(RELATIONSHIP_TYPES[edge["type"]]), float(edge["weight"]))
        for edge in snapshot.relationships
    ]
