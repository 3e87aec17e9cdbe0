"""The content and the user encoder of one training, which only mean something together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title, content_key
from core.embedding import content_encoder, user_encoder
from core.embedding.content_encoder import ContentEncoder
from core.embedding.model_store import activate_model, active_model, fetch_model, publish_model
from core.embedding.user_encoder import UserEncoder
from core.errors import CorruptData
from core.snapshot.text import TextVectors
from core.stores.protocols import Bucket

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PlacedTitles:
    """m titles in the space of a pair, in any order. fans: the user vector of who liked just that title, so that
    fans[i] . vectors[j] says how well title j suits those who like title i."""

    version: str
    keys: NDArray[np.uint64]  # (m,) core.catalog.content_key
    vectors: Floats  # (m, d) unit rows
    fans: Floats  # (m, d) unit rows

    def over(self, keys: NDArray[np.uint64]) -> tuple[Floats, Floats]:
        """vectors and fans (n, d) for `keys` (n,); zeros for a title that was not placed."""
        order = np.argsort(self.keys)
        found = order[np.minimum(np.searchsorted(self.keys[order], keys), len(order) - 1)]
        known = (self.keys[found] == keys)[:, None]
        zero = np.float32(0)
        return np.where(known, self.vectors[found], zero), np.where(known, self.fans[found], zero)


@dataclass(frozen=True, slots=True, eq=False)
class EncoderPair:
    """Both encoders, loaded; `version` is what both are called."""

    content: ContentEncoder
    user: UserEncoder

    @property
    def version(self) -> str:
        """Of both."""
        return self.content.version

    @classmethod
    def open(cls, content_folder: Path, user_folder: Path, threads: int = 1) -> EncoderPair:
        """Load two model folders. Raises CorruptData when one is damaged or they are not of one training."""
        pair = cls(ContentEncoder.open(content_folder, threads), UserEncoder.open(user_folder, threads))
        if pair.content.version != pair.user.version or pair.content.dims != pair.user.dims:
            raise CorruptData(f"user encoder {pair.user.version} does not go with content encoder {pair.version}")
        return pair

    def place(self, titles: Sequence[Title], text: TextVectors | None = None) -> PlacedTitles:
        """Titles with or without a history in the pair's space. Text vectors of another version than the encoder was
        trained with are left aside: the structured features then speak alone."""
        keys = np.array([content_key(title.content_id) for title in titles], np.uint64)
        usable = text if text and text.version == self.content.text_version else None
        vectors = self.content.embed(titles, None if usable is None else text_rows(usable, keys))
        fans = self.user.embed(vectors[:, None, :], np.ones((len(vectors), 1), np.float32))
        return PlacedTitles(self.version, keys, vectors, fans)


def text_rows(text: TextVectors, keys: NDArray[np.uint64]) -> Floats:
    """(n, t) text vectors of the titles `keys` (n,) in their order, zero rows where there is none."""
    order = np.argsort(keys)
    rows = np.empty((len(keys), text.vectors.shape[1]), np.float32)
    rows[order] = text.over(keys[order])
    return rows


def publish_pair(bucket: Bucket, content_folder: Path, user_folder: Path) -> str:
    """Publish and activate both model folders and return their version; the content encoder, which leads, last."""
    version = publish_model(bucket, user_folder, user_encoder.KIND)
    publish_model(bucket, content_folder, content_encoder.KIND)
    activate_model(bucket, version, user_encoder.KIND)
    activate_model(bucket, version, content_encoder.KIND)
    return version


def active_pair(bucket: Bucket, cache_dir: Path, threads: int = 1) -> EncoderPair | None:
    """The pair of the active content encoder, None before the first; downloaded to `cache_dir` unless it is there.

    Raises CorruptData for damaged models, NotFound when one is not published.
    """
    version = active_model(bucket, content_encoder.KIND)
    if version is None:
        return None
    content = fetch_model(bucket, version, cache_dir, content_encoder.KIND)
    return EncoderPair.open(content, fetch_model(bucket, version, cache_dir, user_encoder.KIND), threads)
