"""What a query asks of attention, read off the router's FastGRNN: a softmax over query types on its last state.

The recurrent part stays as the router trained it and only this head is learned (`sona train attention`), on sentences
of our own labelled with the types of design table 8; so routing is the same with and without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from core.adaptation.tensors import pack, unpack
from core.embedding.model_folder import ModelManifest, read_verified, write_manifest
from core.errors import ConfigurationError, CorruptData
from core.numeric.activations import softmax
from core.routing.fastgrnn import Array
from core.routing.router import shipped_router

KIND = "attention-types"
FILE = "types.sona"
SHIPPED = Path(__file__).parent / "model"  # made by `sona train attention`


@dataclass(frozen=True, slots=True, eq=False)
class TypeHead:
    """weights (h, types) and bias (types,), divided by the temperature that calibrates them; `types`: their names.
    router: the version whose states it reads."""

    weights: Array
    bias: Array
    types: tuple[str, ...]
    router: str
    version: str

    def chances(self, state: Array) -> Array:
        """(..., types) probabilities from states (..., h)."""
        return softmax(state @ self.weights + self.bias)


def save_head(folder: Path, head: TypeHead, facts: dict[str, Any]) -> ModelManifest:
    """Write a model folder."""
    arrays = {"weights": np.asarray(head.weights, np.float32), "bias": np.asarray(head.bias, np.float32)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(pack(KIND, arrays, {"types": list(head.types), "router": head.router}))
    return write_manifest(folder, KIND, head.version, facts)


def open_head(folder: Path = SHIPPED) -> TypeHead:
    """Verify a model folder and load it. Raises CorruptData naming what is wrong with it."""
    manifest, files = read_verified(folder, KIND, (FILE,))
    arrays, meta = unpack(files[FILE], KIND)
    try:
        weights, bias = (np.array(arrays[name], np.float32) for name in ("weights", "bias"))
        types = tuple(map(str, meta["types"]))
        if weights.ndim != 2 or weights.shape[1:] != (len(types),) or bias.shape != (len(types),):
            raise CorruptData(f"head {manifest.version} has {weights.shape} weights for {len(types)} types")
        return TypeHead(weights, bias, types, str(meta["router"]), manifest.version)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"head {manifest.version} is incomplete: {error!r}") from error


@cache
def shipped_head() -> TypeHead:
    """The head that comes with the package, loaded once. Raises ConfigurationError when it was trained on the states of
    another router than the one beside it."""
    head, router = open_head(SHIPPED), shipped_router()
    if head.router != router.version:
        raise ConfigurationError(f"the attention head reads {head.router}, the router is {router.version}: train it")
    return head
