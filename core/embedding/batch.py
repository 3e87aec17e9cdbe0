"""Embedding what has no vector yet, page by page: whoever is stopped loses one page, and nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.catalog import Title
from core.embedding.encoder import Encoder
from core.stores.protocols import Embeddings

_OF_TEXT = "+text-"


@dataclass(frozen=True, slots=True)
class Embedded:
    """What one task did. titles: embedded; seconds: spent encoding; elapsed_s: with reading and writing."""

    titles: int
    seconds: float
    elapsed_s: float

    @property
    def per_second(self) -> float:
        """Titles per second, reading and writing included; 0 before any time has passed."""
        return self.titles / self.elapsed_s if self.elapsed_s > 0 else 0.0


def vector_version(encoder_version: str, text_format: int) -> str:
    """Name of the vectors that a model gives for titles written out as `text_format`: either change makes new ones."""
    return f"{encoder_version}{_OF_TEXT}{text_format}"


def encoder_version_of(version: str) -> str:
    """The model behind a `vector_version`."""
    return version.partition(_OF_TEXT)[0]


def embed_shard(
    embeddings: Embeddings,
    encoder: Encoder,
    version: str,
    text_of: Callable[[Title], str],
    shard: int = 0,
    shards: int = 1,
    page: int = 128,
    progress: Callable[[Embedded], None] = lambda done: None,
) -> Embedded:
    """Give every title of the shard that needs one a vector of `version`, in pages; `progress` hears of every page.

    Shards are disjoint, so tasks may run side by side; a title changed behind a task is left for the next run.
    """
    began = time.perf_counter()
    titles, seconds, after = 0, 0.0, ""
    while found := embeddings.pending(version, shard, shards, after, page):
        started = time.perf_counter()
        vectors = encoder.embed([text_of(pending.title) for pending in found])
        seconds += time.perf_counter() - started
        titles += embeddings.put(version, found, vectors)
        after = found[-1].title.content_id
        progress(Embedded(titles, seconds, time.perf_counter() - began))
    return Embedded(titles, seconds, time.perf_counter() - began)
