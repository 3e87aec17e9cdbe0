"""Just enough of the ONNX file format (protobuf) to see whether a model wants to read other files.

ONNX lets a tensor live in an "external" file that the model names: any path the process can read, and outside what a
manifest's hash covers. A serving instance should not need the `onnx` package to refuse that.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import CorruptData

# Message -> its fields that lead to tensors, by field number (onnx.proto, IR version 10).
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # of TensorProto
_MAX_DEPTH = 64


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of a serialised ONNX model lives outside it. Raises CorruptData for what is no protobuf."""
    try:
        return _external(memoryview(model), "model", 0)
    except IndexError as error:
        raise CorruptData("an ONNX model ends in the middle of a field") from error


def _external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise CorruptData("an ONNX model is nested too deeply")
    if kind == "tensor":
        return any(
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == _EXTERNAL)
            for number, value in _fields(message)
        )
    inner = _MESSAGES[kind]
    return any(
        _external(value, inner[number], depth + 1)
        for number, value in _fields(message)
        if number in inner and isinstance(value, memoryview)
    )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, varint value or bytes) of a message; fixed-size numbers are given as 0."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(message, at)
            if at + size > end:
                raise CorruptData("a field of an ONNX model is longer than the model")
            yield number, message[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            yield number, 0
        else:
            raise CorruptData("not an ONNX model: unknown wire type")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise CorruptData("a number in an ONNX model is too long")
