"""The story of a snapshot: read the catalogue and the log, build, publish, activate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.adaptation.generation import Generation
from core.adaptation.generation_store import active_generation, load_generation
from core.catalog import Title, content_key
from core.embedding.batch import encoder_version_of
from core.embedding.content_encoder_pair import PlacedTitles, active_pair
from core.embedding.graph_sage_model import GraphSage, active_graph_sage
from core.embedding.model_store import active_model
from core.errors import Conflict, CorruptData, NotFound
from core.flows.services import Services
from core.flows.train_base import train_on
from core.snapshot.build import build
from core.snapshot.inputs import Interactions, collect_interactions
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.publish import activate, publish
from core.snapshot.snapshot import RELATIONSHIP_TYPES, Snapshot
from core.snapshot.text import TextVectors
from core.stores.protocols import Bucket
from core.telemetry import logger

log = logger("publish_snapshot")


def publish_snapshot(
    services: Services, now: float, activate_it: bool, progress: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """Build from all titles and events up to now; reports `version items events bytes seconds active generation
    vectors content_encoder graph_embedding`. Raises TooLarge for one that no instance could hold; the last one goes on
    being served.

    The very first one trains the first base generation, if enough is known.
    """
    began = time.perf_counter()
    progress("reading the catalogue and the event log")
    titles = list(services.catalog.titles())
    interactions = collect_interactions(services.log.evidence())
    generation = _generation(services.bucket, titles, interactions, now, progress)
    text = text_vectors(services)
    placed = _placed(services.bucket, titles, text)
    sage = _graph_sage(services.bucket)
    with TemporaryDirectory() as workplace:
        progress(f"building a snapshot of {len(titles)} titles")
        folder = build(
            titles,
            interactions,
            now,
            Path(workplace),
            SnapshotParameters.serving(services.settings.ranking),
            progress=lambda part, _: progress(f"  {part}"),
            generation=generation,
            text=text,
            reinforced=services.catalog.reinforcements(),
            placed=placed,
            sage=sage,
        )
        snapshot = Snapshot.open(folder)
        progress(f"publishing snapshot {snapshot.version}")
        publish(folder, services.bucket, services.settings.snapshot_max_mib)
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
        "generation": generation.name if generation else None,
        "vectors": text.version if text else None,
        "content_encoder": placed.version if placed else None,
        "graph_embedding": sage.version if sage else None,
    }


def _generation(
    bucket: Bucket, titles: Sequence[Title], interactions: Interactions, now: float, progress: Callable[[str], None]
) -> Generation | None:
    """The active base generation, or else the first one; None while too little is known for one."""
    name, _ = active_generation(bucket)
    if name is None:
        try:
            name = train_on(bucket, titles, interactions, now, progress)["generation"]
        except Conflict:
            name, _ = active_generation(bucket)
            log.warning("another job has activated the first base generation", generation=name)
    return load_generation(bucket, name) if name else None


def _placed(bucket: Bucket, titles: Sequence[Title], text: TextVectors | None) -> PlacedTitles | None:
    """The titles where the active content encoder puts them, None without one. Damaged encoders are left out: a
    snapshot without them is better than none."""
    with TemporaryDirectory() as workplace:
        try:
            pair = active_pair(bucket, Path(workplace))
        except (CorruptData, NotFound) as error:
            log.warning("the content encoder cannot be used", reason=str(error))
            return None
        return pair.place(titles, text) if pair else None


def _graph_sage(bucket: Bucket) -> GraphSage | None:
    """The active graph embedding, None without one. A damaged one is left out: a snapshot without it is better than
    none."""
    with TemporaryDirectory() as workplace:
        try:
            return active_graph_sage(bucket, Path(workplace))
        except (CorruptData, NotFound) as error:
            log.warning("the graph embedding cannot be used", reason=str(error))
            return None


def text_vectors(services: Services) -> TextVectors | None:
    """The vectors that a snapshot should carry: of the model version that covers most titles, of several the active
    encoder's. So a new version takes over when it has caught up with the old one, and at once."""
    stored = services.embeddings.versions()
    if not stored:
        return None
    active = active_model(services.models)
    stored.sort(key=lambda version: encoder_version_of(version) != active)  # stable: then the one written last
    coverage = {version: services.embeddings.coverage(version) for version in stored}
    version = max(stored, key=lambda version: coverage[version].embedded)  # the first of the largest
    ids, rows = zip(*services.embeddings.vectors(version), strict=True)
    keys = np.array([content_key(content_id) for content_id in ids], np.uint64)
    return TextVectors(version, coverage[version].fingerprint, keys, np.stack(rows))


def _edges(snapshot: Snapshot) -> list[tuple[str, str, str, float]]:
    ids = [snapshot.content_id(row) for row in range(len(snapshot))]
    return [
        (ids[edge["source"]], ids[edge["target"]], str(RELATIONSHIP_TYPES[edge["type"]]), float(edge["weight"]))
        for edge in snapshot.relationships
    ]
