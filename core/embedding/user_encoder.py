"""Users as vectors of what they will like: the trained user encoder, run by onnxruntime.

It reads the content encoder's vectors of what somebody liked, and its product with any title's vector says how well
the two go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.embedding.content_encoder_graph import model, unit
from core.embedding.model_folder import MODEL, ModelManifest, open_session, read_verified, write_manifest
from core.embedding.user_encoder_network import UserWeights
from core.errors import InvalidInput

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KIND = "user-encoder"
BATCH = 256  # histories of one run
_TINY, _ABSENT = 1e-30, -1e9
Floats = NDArray[np.float32]


class UserEncoder:
    """A user encoder in memory; one per instance, shared by threads. It goes with its version's content encoder."""

    def __init__(self, manifest: ModelManifest, session: InferenceSession) -> None:
        self.version = manifest.version
        self.dims = int(manifest.facts["dims"])
        self._session = session

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> UserEncoder:
        """Verify a model folder and load it. Raises CorruptData naming what is wrong with it."""
        manifest, files = read_verified(folder, KIND, (MODEL,), ("dims",))
        return cls(manifest, open_session(files[MODEL], threads))

    def embed(self, history: NDArray[np.floating], strength: NDArray[np.floating]) -> Floats:
        """(n, dims) unit rows for n histories. history: (n, L, dims) content vectors; strength: (n, L) how much each
        speaks, >= 0 (recency x strength of the signal), 0 where there is no title.

        An empty history gives what people like whom nothing is known of. Raises InvalidInput for other shapes, negative
        or non-finite numbers.
        """
        if history.ndim != 3 or history.shape[2] != self.dims or strength.shape != history.shape[:2]:
            raise InvalidInput(f"histories are {history.shape}, strengths {strength.shape}, not (n, L, {self.dims})")
        if not (np.isfinite(history).all() and np.isfinite(strength).all() and (strength >= 0).all()):
            raise InvalidInput("histories must be finite, and their strengths not negative")
        if not history.shape[1]:
            history, strength = np.zeros((len(history), 1, self.dims)), np.zeros((len(history), 1))
        vectors = np.empty((len(history), self.dims), np.float32)
        for start in range(0, len(history), BATCH):
            part = slice(start, start + BATCH)
            feed = {"history": history[part].astype(np.float32), "strength": strength[part].astype(np.float32)}
            vectors[part] = self._session.run(None, feed)[0]
        return vectors


def user_graph(weights: UserWeights) -> bytes:
    """The serialised model: `history` (n, L, d) and `strength` (n, L) in, `vectors` (n, d) out, unit rows."""
    from onnx import TensorProto, helper

    node, dims = helper.make_node, int(weights.turn.shape[0])
    nodes = [
        node("MatMul", ["history", "keys"], ["looked_up"]),
        node("Tanh", ["looked_up"], ["keyed"]),
        node("MatMul", ["keyed", "query"], ["score_column"]),
        node("Squeeze", ["score_column", "two"], ["score"]),
        node("Greater", ["strength", "zero"], ["present"]),
        node("Max", ["strength", "tiny"], ["positive"]),
        node("Log", ["positive"], ["logs"]),
        node("Where", ["present", "logs", "absent"], ["prior"]),
        node("Add", ["score", "prior"], ["raised"]),
        node("Softmax", ["raised"], ["shares"], axis=1),
        node("Cast", ["present"], ["mask"], to=TensorProto.FLOAT),
        node("Mul", ["shares", "mask"], ["attention"]),  # an empty history pools zeros
        node("Unsqueeze", ["attention", "one"], ["attention_row"]),
        node("MatMul", ["attention_row", "history"], ["pooled_row"]),
        node("Squeeze", ["pooled_row", "one"], ["pooled"]),
        node("MatMul", ["pooled", "turn"], ["turned"]),
        node("Add", ["turned", "shift"], ["u"]),
        *unit("u", "vectors"),
    ]
    inputs = [
        helper.make_tensor_value_info("history", TensorProto.FLOAT, ["n", "L", dims]),
        helper.make_tensor_value_info("strength", TensorProto.FLOAT, ["n", "L"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "keys": weights.keys.astype(np.float32),
        "query": weights.query.astype(np.float32)[:, None],
        "turn": weights.turn.astype(np.float32),
        "shift": weights.shift.astype(np.float32),
        "zero": np.array(0, np.float32),
        "tiny": np.array(_TINY, np.float32),
        "absent": np.array(_ABSENT, np.float32),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
    }
    return model("user_encoder", nodes, inputs, constants, dims)


def write_user_encoder(
    folder: Path, version: str, weights: UserWeights, facts: Mapping[str, Any] | None = None
) -> ModelManifest:
    """Write a model folder; `version` is that of the content encoder it was trained with."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(user_graph(weights))
    return write_manifest(folder, KIND, version, {**(facts or {}), "dims": int(weights.turn.shape[0])})
