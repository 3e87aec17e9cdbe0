"""Titles as vectors of who they are for: the trained content encoder, run by onnxruntime.

Its vectors live in one space with those of the user encoder it was trained with. A title needs no history to have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.catalog import Title
from core.embedding.content_encoder_graph import content_graph
from core.embedding.content_encoder_network import ContentWeights
from core.embedding.features import Vocabulary
from core.embedding.model_folder import MODEL, ModelManifest, open_session, read_verified, write_manifest
from core.errors import InvalidInput

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KIND = "content-encoder"
VOCABULARY = "vocabulary.json"
BATCH = 256  # titles of one run: 100 terms x 512 x 256 floats are 52 MB
Floats = NDArray[np.float32]


class ContentEncoder:
    """A content encoder in memory; one per instance, shared by threads.

    dims: of its vectors; text_version: which text vectors it was trained with, None for none at all; text_dims: theirs.
    """

    def __init__(self, manifest: ModelManifest, session: InferenceSession, vocabulary: Vocabulary) -> None:
        self.version = manifest.version
        self.facts: Mapping[str, Any] = manifest.facts
        self.dims = int(manifest.facts["dims"])
        self.text_dims = int(manifest.facts["text_dims"])
        self.text_version: str | None = manifest.facts["text_version"]
        self._session = session
        self._vocabulary = vocabulary

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> ContentEncoder:
        """Verify a model folder and load it. Raises CorruptData naming what is wrong with it."""
        manifest, files = read_verified(folder, KIND, (MODEL, VOCABULARY), ("dims", "text_dims", "text_version"))
        return cls(manifest, open_session(files[MODEL], threads), Vocabulary.from_bytes(files[VOCABULARY]))

    def embed(self, titles: Sequence[Title], text: NDArray[np.floating] | None = None) -> Floats:
        """(n, dims) unit rows. text: (n, text_dims) vectors of `text_version`, zero rows for titles without one; None
        where there are none at all: the structured features then speak alone, as they did for part of the training.

        Raises InvalidInput for text vectors of another shape.
        """
        if text is None:
            text = np.zeros((len(titles), self.text_dims), np.float32)
        if text.shape != (len(titles), self.text_dims):
            raise InvalidInput(f"text vectors are {text.shape}, not {(len(titles), self.text_dims)}")
        vectors = np.empty((len(titles), self.dims), np.float32)
        for start in range(0, len(titles), BATCH):
            part = slice(start, start + BATCH)
            terms, weights = padded_terms(self._vocabulary.features(titles[part]))
            feed = {"terms": terms, "weights": weights}
            if self.text_dims:
                feed["text"] = text[part].astype(np.float32)
            vectors[part] = self._session.run(None, feed)[0]
        return vectors


def padded_terms(features: sparse.csr_array) -> tuple[NDArray[np.int64], Floats]:
    """(n, m) sparse features as places and weights (n, L), padded with weight 0; L at least 1."""
    counts = np.diff(features.indptr)
    within = np.arange(max(int(counts.max(initial=0)), 1)) < counts[:, None]
    terms, weights = np.zeros(within.shape, np.int64), np.zeros(within.shape, np.float32)
    terms[within], weights[within] = features.indices, features.data
    return terms, weights


def write_content_encoder(
    folder: Path, version: str, weights: ContentWeights, vocabulary: Vocabulary, facts: Mapping[str, Any]
) -> ModelManifest:
    """Write a model folder. facts: `text_version`, and what else is worth knowing of the training, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(content_graph(weights))
    (folder / VOCABULARY).write_bytes(vocabulary.to_bytes())
    sizes = {"dims": weights.dims, "text_dims": int(weights.text.shape[0])}
    return write_manifest(folder, KIND, version, {"text_version": None, **facts, **sizes})
