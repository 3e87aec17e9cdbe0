"""A trained GraphSAGE as a model folder: both layers, and how a title's facts become the features of the first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.adaptation.tensors import pack, unpack
from core.catalog import RelationshipType, Title
from core.embedding.features import Vocabulary
from core.embedding.graph_sage import Floats, SageWeights
from core.embedding.model_folder import ModelManifest, read_verified, write_manifest
from core.embedding.model_store import active_model, fetch_model
from core.errors import CorruptData
from core.numeric.sparse import truncated_svd
from core.snapshot.graph import by_facts, walk_matrix
from core.stores.protocols import Bucket

KIND = "graph-sage"
WEIGHTS, VOCABULARY = "weights.bin", "vocabulary.json"


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Titles as dense features: `projection` (m, f) of the vocabulary's m terms, by latent semantic analysis."""

    vocabulary: Vocabulary
    projection: Floats

    @classmethod
    def of(cls, titles: Sequence[Title], dims: int, rng: np.random.Generator) -> Facts:
        """Learned from the titles: `dims` directions by truncated SVD, rounded to what the model folder stores."""
        vocabulary = Vocabulary.of(titles)
        features = vocabulary.features(titles)
        left, singular = truncated_svd(features, dims, rng)
        projection = features.T @ (left / np.maximum(singular, 1e-6))
        return cls(vocabulary, np.asarray(projection, np.float32).astype(np.float16).astype(np.float32))

    def features(self, titles: Sequence[Title]) -> Floats:
        """(n, f) unit rows; zeros for a title of which nothing is known."""
        rows = np.asarray(self.vocabulary.features(titles) @ self.projection, np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def fact_walk(edges: NDArray[Any], n: int, weights: Mapping[RelationshipType, float]) -> sparse.csr_array:
    """(n, n) the walk over what is known of titles before anybody has watched them: what the layers see."""
    return walk_matrix(by_facts(edges), n, weights)


@dataclass(frozen=True, slots=True, eq=False)
class GraphSage:
    """A trained model; `version` goes into the manifest of what it embeds."""

    version: str
    weights: SageWeights
    facts: Facts

    def embed(self, titles: Sequence[Title], edges: NDArray[Any], weights: Mapping[RelationshipType, float]) -> Floats:
        """(n, d) unit rows for titles with their RELATIONSHIPS; weights: of the types of edges."""
        return self.weights.embed(self.facts.features(titles), fact_walk(edges, len(titles), weights))

    @classmethod
    def open(cls, folder: Path) -> GraphSage:
        """Verify a model folder and load it. Raises CorruptData naming what is wrong with it."""
        manifest, files = read_verified(folder, KIND, (WEIGHTS, VOCABULARY))
        arrays, _ = unpack(files[WEIGHTS], KIND)
        try:
            first, second, projection = (arrays[name].astype(np.float32) for name in ("first", "second", "projection"))
        except KeyError as error:
            raise CorruptData(f"model {manifest.version} lacks {error}") from error
        vocabulary = Vocabulary.from_bytes(files[VOCABULARY])
        if projection.shape != (len(vocabulary), len(first) // 2) or len(second) != 2 * first.shape[1]:
            raise CorruptData(f"the parts of model {manifest.version} do not fit together")
        return cls(manifest.version, SageWeights(first, second), Facts(vocabulary, projection))


def write_graph_sage(folder: Path, weights: SageWeights, facts: Facts) -> ModelManifest:
    """Write a model folder; its version changes exactly when a weight or a term does."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "first": weights.first,
        "second": weights.second,
        "projection": facts.projection.astype(np.float16),
    }
    files = {WEIGHTS: pack(KIND, arrays, {}), VOCABULARY: facts.vocabulary.to_bytes()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()
    return write_manifest(folder, KIND, f"graph-{digest[:12]}", {"dims": int(weights.second.shape[1])})


def active_graph_sage(bucket: Bucket, cache_dir: Path) -> GraphSage | None:
    """The active model, None before the first. Raises CorruptData for a damaged one, NotFound for a missing one."""
    version = active_model(bucket, KIND)
    return None if version is None else GraphSage.open(fetch_model(bucket, version, cache_dir, KIND))
