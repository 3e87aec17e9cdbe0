"""A base generation: title factors and shared adapters, made together by `train_base` and shipped as one checked file.

The same file, laid out over a snapshot's titles, is part of the snapshot (core.snapshot.space).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation import tensors
from core.adaptation.lora import Lora
from core.adaptation.space import Space, Transfer
from core.errors import CorruptData
from core.numeric.vectors import Floats

KIND = "sona-generation"
_WAYS = ("rotation", "slow", "fast")  # the parts of a Transfer


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """m titles in d dimensions, by content key; the rest as in core.adaptation.space.Space."""

    name: str
    embedding_version: str
    keys: NDArray[np.uint64]  # (m,) core.catalog.content_key, ascending
    sources: NDArray[np.float16]  # (m, d)
    targets: NDArray[np.float16]  # (m, d)
    A_slow: Floats  # (r_slow, d)
    A_fast: Floats  # (r_fast, d)
    base: Lora
    transfers: Mapping[str, Transfer] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """d."""
        return int(self.sources.shape[1])

    def space(self) -> Space:
        """The space over this generation's own titles, in float32."""
        sources, targets = self.sources.astype(np.float32), self.targets.astype(np.float32)
        return Space(
            self.name, self.embedding_version, sources, targets, self.A_slow, self.A_fast, self.base, self.transfers
        )


def to_bytes(generation: Generation) -> bytes:
    """The generation as one container; the same generation always gives the same bytes."""
    arrays: dict[str, NDArray[Any]] = {
        "keys": generation.keys.view(np.int64),  # containers know no unsigned numbers of this size
        "sources": generation.sources,
        "targets": generation.targets,
        "A_slow": generation.A_slow,
        "A_fast": generation.A_fast,
        "base_A": generation.base.A,
        "base_B": generation.base.B,
    }
    for older, transfer in generation.transfers.items():
        arrays |= {f"{older}/{part}": getattr(transfer, part) for part in _WAYS}
    meta = {
        "name": generation.name,
        "embedding": generation.embedding_version,
        "base_alpha": generation.base.alpha,
        "transfers": list(generation.transfers),
    }
    return tensors.pack(KIND, arrays, meta)


def from_bytes(blob: bytes) -> Generation:
    """Inverse of `to_bytes`. Raises CorruptData for anything that it did not write."""
    arrays, meta = tensors.unpack(blob, KIND)
    try:
        generation = Generation(
            name=str(meta["name"]),
            embedding_version=str(meta["embedding"]),
            keys=arrays["keys"].view(np.uint64),
            sources=arrays["sources"],
            targets=arrays["targets"],
            A_slow=arrays["A_slow"],
            A_fast=arrays["A_fast"],
            base=Lora(arrays["base_A"], arrays["base_B"], float(meta["base_alpha"])),
            transfers={
                str(older): Transfer(*(arrays[f"{older}/{part}"] for part in _WAYS)) for older in meta["transfers"]
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"unreadable base generation: {error!r}") from error
    _check(generation)
    return generation


def _check(generation: Generation) -> None:
    m, d = len(generation.keys), generation.A_slow.shape[-1]
    base = generation.base
    shapes = [a.shape for a in (generation.sources, generation.targets, generation.A_slow, generation.A_fast)]
    wanted = [(m, d), (m, d), (len(generation.A_slow), d), (len(generation.A_fast), d)]
    if shapes != wanted or base.A.shape != (len(base.A), d) or base.B.shape != (d, len(base.A)):
        raise CorruptData(f"the arrays of generation {generation.name} do not fit each other: {shapes}")
    for older, transfer in generation.transfers.items():
        ranks = transfer.slow.shape[-1], transfer.fast.shape[-1]
        if transfer.rotation.shape != (d, d) or ranks != (len(generation.A_slow), len(generation.A_fast)):
            raise CorruptData(f"the transfer from {older} does not fit generation {generation.name}")
    if not (generation.keys[1:] > generation.keys[:-1]).all():
        raise CorruptData(f"the titles of generation {generation.name} are not in the order of their keys")
