"""The trained content encoder as an ONNX graph: what training computed, for onnxruntime.

A title is fed as its non-zero features, `terms` (n, L) int64 and `weights` (n, L) float32 padded with weight 0, and,
where the encoder has one, its `text` vector (n, t); `vectors` (n, d) come out as unit rows. The table of terms is kept
in float16, half the file, and widened after the gather.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.embedding.content_encoder_network import ContentWeights

if TYPE_CHECKING:
    from onnx import NodeProto, ValueInfoProto

OPSET, IR_VERSION = 20, 9  # as the text encoder's: read by onnxruntime since 1.17
SMALLEST = 1e-6  # added to a length, as in training
Arrays = Mapping[str, NDArray[Any]]


def content_graph(weights: ContentWeights) -> bytes:
    """The serialised model."""
    from onnx import TensorProto, helper

    node = helper.make_node
    with_text = bool(weights.text.shape[0])
    nodes = [
        node("Gather", ["term_table", "terms"], ["rows16"]),
        node("Cast", ["rows16"], ["rows"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["weights", "one"], ["weights_row"]),
        node("MatMul", ["weights_row", "rows"], ["summed_row"]),
        node("Squeeze", ["summed_row", "one"], ["summed"]),
    ]
    if with_text:
        nodes += [node("MatMul", ["text", "text_map"], ["told"]), node("Add", ["summed", "told"], ["x"])]
    else:
        nodes += [node("Identity", ["summed"], ["x"])]
    nodes += [
        node("Add", ["x", "bias"], ["shifted"]),
        node("Relu", ["shifted"], ["active"]),
        node("MatMul", ["active", "hidden"], ["moved"]),
        node("Add", ["x", "moved"], ["z"]),
        *unit("z", "vectors"),
    ]
    inputs = [
        helper.make_tensor_value_info("terms", TensorProto.INT64, ["n", "L"]),
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["n", "L"]),
    ]
    if with_text:
        inputs.append(helper.make_tensor_value_info("text", TensorProto.FLOAT, ["n", weights.text.shape[0]]))
    constants: dict[str, NDArray[Any]] = {
        "term_table": weights.terms.astype(np.float16),
        "bias": weights.bias.astype(np.float32),
        "hidden": weights.hidden.astype(np.float32),
        "one": np.array([1], np.int64),
    }
    if with_text:
        constants["text_map"] = weights.text.astype(np.float32)
    return model("content_encoder", nodes, inputs, constants, weights.dims)


def unit(name: str, result: str) -> list[NodeProto]:
    """Nodes that divide each row of `name` by its length; they want the constants of `model`."""
    from onnx import helper

    return [
        helper.make_node("ReduceL2", [name, "last_axis"], [f"{name}_norm"], keepdims=1),
        helper.make_node("Add", [f"{name}_norm", "smallest"], [f"{name}_length"]),
        helper.make_node("Div", [name, f"{name}_length"], [result]),
    ]


def model(
    name: str, nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], constants: Arrays, dims: int
) -> bytes:
    """A checked, serialised model whose result is `vectors` (n, dims); the same weights always give the same bytes."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shared: Arrays = {"last_axis": np.array([1], np.int64), "smallest": np.array(SMALLEST, np.float32)}
    graph = helper.make_graph(
        nodes,
        name,
        inputs,
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", dims])],
        [numpy_helper.from_array(np.ascontiguousarray(value), key) for key, value in {**constants, **shared}.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)
