"""A base generation laid out over the rows of a snapshot, so that a request needs nothing but the snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.adaptation.generation import Generation, from_bytes, to_bytes
from core.adaptation.space import Space
from core.errors import CorruptData
from core.numeric.vectors import Floats

if TYPE_CHECKING:
    from scipy import sparse

FILE = "space.bin"


def lay_out(
    generation: Generation, keys: NDArray[np.uint64], index: NDArray[np.int32], weight: NDArray[np.float16]
) -> Generation:
    """The generation over the snapshot titles `keys` (n,), ascending: known titles keep their factors, the others get
    some that explain their collaborative neighbours, index and weight (n, K); without known neighbours, zeros."""
    from scipy import sparse  # requests read spaces without it

    n = len(keys)
    place = np.minimum(np.searchsorted(generation.keys, keys), len(generation.keys) - 1)
    known = generation.keys[place] == keys
    start = np.arange(n + 1) * index.shape[1]
    lists = sparse.csr_array((weight.astype(np.float32).ravel(), index.ravel(), start), shape=(n, n))
    own, other = (
        np.where(known[:, None], factors[place].astype(np.float32), np.float32(0))
        for factors in (generation.sources, generation.targets)
    )
    sources, targets = (
        np.where(known[:, None], factors, folded_in(factors, across, lists, known)).astype(np.float16)
        for factors, across in ((own, other), (other, own))
    )
    return replace(generation, keys=keys, sources=sources, targets=targets)


def folded_in(factors: Floats, across: Floats, lists: sparse.csr_array, known: NDArray[np.bool_]) -> Floats:
    """(n, d): for each title the x with the least squared error of x . across[j] against its weights to all titles j.

    factors, across (n, d): own and opposite factors of the `known` titles (n,), zero for the others; lists (n, n).
    Lists are cut to the strongest neighbours and so explain only a part: the scale is the one that brings known titles
    nearest to the factors they have. On ml-latest-small the direction then has a cosine of .87 with the true one.
    """
    gram = across.T.astype(np.float64) @ across
    solution = np.asarray((lists @ across) @ np.linalg.pinv(gram, rcond=1e-6, hermitian=True), dtype=np.float32)
    squares = float(np.vdot(solution[known], solution[known]))
    scale = float(np.vdot(solution[known], factors[known])) / squares if squares > 0 else 1.0
    return np.asarray(solution * np.float32(max(scale, 0.0)))


def write_space(folder: Path, laid_out: Generation) -> None:
    """Put a generation that is laid out over a snapshot's titles into the snapshot's folder."""
    (folder / FILE).write_bytes(to_bytes(laid_out))


def read_space(folder: Path, keys: NDArray[np.uint64]) -> Space:
    """The space of the snapshot in `folder`, whose titles are `keys`. Raises CorruptData."""
    try:
        laid_out = from_bytes((folder / FILE).read_bytes())
    except OSError as error:
        raise CorruptData(f"{FILE} of a snapshot cannot be read: {error}") from error
    if not np.array_equal(laid_out.keys, keys):
        raise CorruptData(f"{FILE} of a snapshot is laid out over other titles")
    return laid_out.space()
