"""Texts as vectors: a transformer encoder run by onnxruntime, with its own tokenizer.

Mean pooling over the tokens of the text and unit length, as the model was trained (Reimers & Gurevych 2019).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.embedding.model_folder import MODEL, ModelManifest, open_session, read_verified
from core.errors import CorruptData, InvalidInput

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

KIND = "text-encoder"
TOKENIZER = "tokenizer.json"
BATCH_TOKENS = 1024  # of one run, padding included: more is no faster on a CPU and takes memory
READINGS_KEPT = 64  # of single texts: a request's words are routed and searched for, and pages ask again
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """One text: tokens (t, dims), one vector per token as the model sees it, and vector (dims,), their mean at unit
    length. Shared among callers, so neither can be written to."""

    tokens: Floats
    vector: Floats


class Encoder:
    """A text encoder in memory; one per instance, shared by threads. `dims` and `version` are its manifest's."""

    def __init__(self, manifest: ModelManifest, session: InferenceSession, tokenizer: Tokenizer) -> None:
        self.version = manifest.version
        self.dims = int(manifest.facts["dims"])
        self.max_tokens = int(manifest.facts["max_tokens"])
        self._session = session
        self._tokenizer = tokenizer
        self.read = lru_cache(maxsize=READINGS_KEPT)(self._read)
        """The reading of one text, kept for the latest of them. Raises InvalidInput for what is not text."""

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> Encoder:
        """Verify a model folder and load it. Raises CorruptData naming what is wrong with it.

        threads: of one run. What runs is what was hashed, and it may read no other file.
        """
        manifest, files = read_verified(folder, KIND, (MODEL, TOKENIZER), ("dims", "max_tokens"))
        facts = manifest.facts
        wanted = {"pooling": "mean", "normalize": True}
        if any(facts.get(name) != value for name, value in wanted.items()):
            raise CorruptData(f"model {manifest.version} is not pooled as this code pools: {wanted}")
        return cls(manifest, open_session(files[MODEL], threads), _tokenizer(files[TOKENIZER], facts["max_tokens"]))

    def embed(self, texts: Sequence[str]) -> Floats:
        """(n, dims) unit rows, in the order of `texts`; what exceeds `max_tokens` is cut off. A text's vector does
        not depend on the texts beside it beyond rounding. Raises InvalidInput for what is not text."""
        vectors = np.empty((len(texts), self.dims), np.float32)
        for places, hidden, mask in self._runs(texts):
            summed = np.einsum("btd,bt->bd", hidden, mask, optimize=True)
            vectors[places] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> list[Floats]:
        """Per text (t_i, dims): one vector per token as the model sees it, the opening and closing marks included."""
        found: list[Floats] = [np.empty((0, self.dims), np.float32)] * len(texts)
        for places, hidden, mask in self._runs(texts):
            for place, vectors, length in zip(places, hidden, mask.sum(axis=1).astype(int), strict=True):
                found[place] = vectors[:length].copy()
        return found

    def _read(self, text: str) -> Reading:
        tokens = self.token_vectors([text])[0]
        summed = tokens.sum(axis=0)
        vector = summed / np.linalg.norm(summed)
        tokens.flags.writeable = vector.flags.writeable = False
        return Reading(tokens, vector)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of each text the model sees."""
        return [len(encoding) for encoding in self._encode(texts)]

    def _runs(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
        """Batches: places in `texts` (b,), token vectors (b, t, dims), mask (b, t)."""
        for places, ids, mask in self.batches(texts):
            hidden = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            yield places, hidden, mask.astype(np.float32)

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """What the model is run on, texts of similar length together: places in `texts` (b,), token ids (b, t), mask
        (b, t)."""
        encodings = self._encode(texts)
        lengths = np.array([len(encoding) for encoding in encodings], np.int64)
        for places in _batches(lengths):
            ids = np.zeros((len(places), int(lengths[places].max())), np.int64)
            for row, place in enumerate(places):
                ids[row, : lengths[place]] = encodings[place].ids
            yield places, ids, (np.arange(ids.shape[1]) < lengths[places, None]).astype(np.int64)

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InvalidInput("texts must be a sequence of strings")
        if len(texts) == 1:  # no detour over the tokenizer's thread pool
            return [self._tokenizer.encode(texts[0])]
        encodings: list[Any] = self._tokenizer.encode_batch_fast(list(texts))
        return encodings


def _tokenizer(data: bytes, max_tokens: int) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        json.loads(data)["model"]  # the Rust binding would raise the base of all exceptions
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(f"{TOKENIZER} is not a tokenizer: {error!r}") from error
    tokenizer = Tokenizer.from_buffer(data)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def _batches(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Places of texts in batches of at most BATCH_TOKENS, sorted by length so that little is padding."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= BATCH_TOKENS:
            stop += 1
        yield order[start:stop]
        start = stop
