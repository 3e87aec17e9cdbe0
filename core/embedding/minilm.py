"""all-MiniLM-L6-v2 as int8 ONNX, built from the published weights.

The weights are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0; Reimers & Gurevych 2019, distilled as in
Wang et al. 2020), told by their sha256: whoever hands them over, the bytes are the published ones. The graph is BERT's
encoder (Devlin et al. 2019), written here, so that a model folder can be made wherever the weights are.

Weights are quantized per output column to 7 bits and activations per tensor as they come. Seven and not eight: without
VNNI instructions sums of 8-bit products saturate, and what a text means must not depend on the processor.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.embedding.encoder import KIND, TOKENIZER
from core.embedding.model_folder import MODEL, ModelManifest, write_manifest
from core.errors import CorruptData

if TYPE_CHECKING:
    from onnx import ModelProto

VERSION = "all-minilm-l6-v2-int8-1"  # the last number counts the changes of what this module builds
WEIGHTS = "model.safetensors"
# As pinned by public projects for revision 1110a243 of sentence-transformers/all-MiniLM-L6-v2.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

LAYERS, HEADS, HEAD_DIMS, DIMS = 6, 12, 32, 384
MAX_TOKENS = 256  # of the published configuration
EPSILON = 1e-12
OPSET, IR_VERSION = 20, 9  # the first opset with Gelu; read by onnxruntime since 1.17
LARGEST_CODE = 63  # 7 bits
Floats = NDArray[np.float32]


def build_minilm(source: Path, folder: Path) -> ModelManifest:
    """Write a model folder from the folder `source` with the published `model.safetensors` and `tokenizer.json`.

    Raises CorruptData when a file is missing or is not the published one.
    """
    weights = _published(source / WEIGHTS, WEIGHTS_SHA256)
    tokenizer = _published(source / TOKENIZER, TOKENIZER_SHA256)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(encoder_graph(read_safetensors(weights)).SerializeToString(deterministic=True))
    (folder / TOKENIZER).write_bytes(tokenizer)
    facts = {
        "dims": DIMS,
        "max_tokens": MAX_TOKENS,
        "pooling": "mean",
        "normalize": True,
        "source": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "weights_sha256": WEIGHTS_SHA256,
    }
    return write_manifest(folder, KIND, VERSION, facts)


def is_published(source: Path) -> bool:
    """Whether the folder has both files; what is in them is `build_minilm`'s to check."""
    return (source / WEIGHTS).is_file() and (source / TOKENIZER).is_file()


def _published(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptData(f"{path.name} of all-MiniLM-L6-v2 cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptData(f"{path.name} is not the one published with all-MiniLM-L6-v2")
    return data


def read_safetensors(data: bytes) -> dict[str, Floats]:
    """The float32 tensors of a safetensors file, by name; views of `data`. Raises CorruptData."""
    try:
        (size,) = struct.unpack_from("<Q", data)
        header: dict[str, Any] = json.loads(data[8 : 8 + size])
        body = memoryview(data)[8 + size :]
        return {
            name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] == "F32"
        }
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise CorruptData(f"not a safetensors file: {error!r}") from error


def encoder_graph(weights: dict[str, Floats]) -> ModelProto:
    """BERT's encoder with inputs input_ids, attention_mask (batch, tokens) int64, output token_vectors (batch, tokens,
    dims) float32."""
    from onnx import TensorProto, helper

    graph = _Graph(weights)
    hidden, mask = graph.embeddings(), graph.mask()
    for layer in range(LAYERS):
        hidden = graph.layer(hidden, mask, f"encoder.layer.{layer}.")
    graph.nodes.append(helper.make_node("Identity", [hidden], ["token_vectors"]))
    sizes = ["batch", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, sizes) for name in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("token_vectors", TensorProto.FLOAT, [*sizes, DIMS])]
    body = helper.make_graph(graph.nodes, "minilm", inputs, outputs, graph.constants)
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sona"
    )


class _Graph:
    """An ONNX graph under construction; methods add nodes and return the name of what they compute."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._quantized: dict[str, list[str]] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        from onnx import helper

        names = [f"{kind}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def embeddings(self) -> str:
        """Word (int8, one scale per word) plus position plus the one token type."""
        words = self.weights["embeddings.word_embeddings.weight"]
        scale = np.abs(words).max(axis=1, keepdims=True) / 127
        codes = np.rint(words / np.where(scale > 0, scale, 1))
        word = self.op("Cast", self.op("Gather", self.constant(codes, np.int8), "input_ids"), to=1)
        word = self.op("Mul", word, self.op("Gather", self.constant(scale), "input_ids"))
        positions = self.weights["embeddings.position_embeddings.weight"]
        positions = positions + self.weights["embeddings.token_type_embeddings.weight"][0]
        zero = self.constant([0], np.int64)
        length = self.op("Gather", self.op("Shape", "input_ids"), self.constant([1], np.int64))
        position = self.op("Slice", self.constant(positions), zero, length, zero)
        return self.normalised(self.op("Add", word, position), "embeddings.LayerNorm")

    def mask(self) -> str:
        """(batch, 1, 1, tokens): 0 for a token, very negative for padding, added before the softmax."""
        absent = self.op("Sub", self.constant(1.0), self.op("Cast", "attention_mask", to=1))
        return self.op("Unsqueeze", self.op("Mul", absent, self.constant(-1e9)), self.constant([1, 2], np.int64))

    def layer(self, hidden: str, mask: str, prefix: str) -> str:
        attended = self.dense(self.attention(hidden, mask, f"{prefix}attention.self."), [f"{prefix}attention.output."])
        hidden = self.normalised(self.op("Add", hidden, attended), f"{prefix}attention.output.LayerNorm")
        inner = self.op("Gelu", self.dense(hidden, [f"{prefix}intermediate."]))
        outer = self.dense(inner, [f"{prefix}output."])
        return self.normalised(self.op("Add", hidden, outer), f"{prefix}output.LayerNorm")

    def attention(self, hidden: str, mask: str, prefix: str) -> str:
        """Multi-head attention; the three projections share one product."""
        parts = self.dense(hidden, [f"{prefix}query.", f"{prefix}key.", f"{prefix}value."], suffix="")
        split = self.constant([0, 0, HEADS, HEAD_DIMS], np.int64)
        query, key, value = (
            self.op("Transpose", self.op("Reshape", part, split), perm=order)
            for part, order in zip(
                self.ops("Split", 3, parts, axis=-1, num_outputs=3),
                ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]),
                strict=True,
            )
        )
        scores = self.op("Mul", self.op("MatMul", query, key), self.constant(HEAD_DIMS**-0.5))
        weights = self.op("Softmax", self.op("Add", scores, mask), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        return self.op("Reshape", mixed, self.constant([0, 0, DIMS], np.int64))

    def dense(self, x: str, prefixes: Sequence[str], suffix: str = "dense.") -> str:
        """x W^T + b with the layers side by side, in int8: scales of x and of each column are multiplied back in."""
        W = np.concatenate([self.weights[f"{prefix}{suffix}weight"] for prefix in prefixes]).T  # (in, out)
        b = np.concatenate([self.weights[f"{prefix}{suffix}bias"] for prefix in prefixes])
        scale = np.abs(W).max(axis=0) / LARGEST_CODE
        codes = np.rint(W / np.where(scale > 0, scale, 1))
        if x not in self._quantized:
            self._quantized[x] = self.ops("DynamicQuantizeLinear", 3, x)
        x_codes, x_scale, x_zero = self._quantized[x]
        zeros = self.constant(np.zeros(len(scale)), np.int8)
        product = self.op("MatMulInteger", x_codes, self.constant(codes, np.int8), x_zero, zeros)
        scales = self.op("Mul", x_scale, self.constant(scale))
        return self.op("Add", self.op("Mul", self.op("Cast", product, to=1), scales), self.constant(b))

    def normalised(self, x: str, name: str) -> str:
        gain, bias = self.constant(self.weights[f"{name}.weight"]), self.constant(self.weights[f"{name}.bias"])
        return self.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=EPSILON)
