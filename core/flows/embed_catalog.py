"""The story of embeddings: every title that is new or different gets a vector, then a snapshot carries them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.embedding.batch import Embedded, embed_shard, vector_version
from core.embedding.features import TEXT_FORMAT, text_of
from core.errors import NotFound
from core.flows.publish_snapshot import publish_snapshot
from core.flows.services import Services
from core.snapshot.publish import active_manifest
from core.telemetry import logger

log = logger("embed_catalog")


def embed_catalog(
    services: Services, shard: int, shards: int, progress: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """Embed what this shard (0 <= shard < shards) lacks for the active encoder, and nothing that is already there.

    Reports `vectors` (the version's name) `embedded documents_per_second titles left`; left counts all shards' titles
    that still lack one. Raises NotFound when no encoder is active.
    """
    encoder = services.encoders.active()
    version = vector_version(encoder.version, TEXT_FORMAT)

    def report(done: Embedded) -> None:
        progress(f"embedded {done.titles} titles, {done.per_second:.0f} a second")

    page = services.settings.embedding.page
    done = embed_shard(services.embeddings, encoder, version, text_of, shard, shards, page, report)
    coverage = services.embeddings.coverage(version)
    return {
        "vectors": version,
        "embedded": done.titles,
        "documents_per_second": round(done.per_second, 1),
        "titles": coverage.titles,
        "left": coverage.titles - coverage.current,
    }


def embed_if_possible(services: Services, progress: Callable[[str], None] = lambda stage: None) -> bool:
    """Embed what the whole catalogue lacks; False, and said so, when no encoder is active."""
    try:
        embed_catalog(services, 0, 1, progress)
    except NotFound:
        progress("no text encoder is active: search will go by words")
        return False
    return True


def publish_when_complete(
    services: Services, version: str, now: float, progress: Callable[[str], None] = lambda stage: None
) -> dict[str, Any] | None:
    """When every title has a current vector that the active snapshot does not carry: index them, publish, activate.

    Every task calls this when it is done; the last one finds the catalogue complete. None when there is nothing to do,
    or somebody else is doing it. A task that dies here is started again and finds the snapshot still missing.
    """
    with services.embeddings.publishing() as alone:
        coverage = services.embeddings.coverage(version)
        wanted = {"version": version, "fingerprint": coverage.fingerprint}
        if not alone or not coverage.titles or coverage.current < coverage.titles or _carried(services) == wanted:
            return None
        progress("indexing the vectors")
        services.embeddings.index(version)
        return publish_snapshot(services, now, activate_it=True, progress=progress)


def _carried(services: Services) -> dict[str, str] | None:
    """Which vectors the active snapshot carries."""
    try:
        carried: dict[str, str] | None = active_manifest(services.bucket).parameters.get("text")
    except NotFound:
        return None
    return carried
