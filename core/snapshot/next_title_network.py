"""A small network that foretells the next title from the order of the last ones.

The embeddings of the liked titles are summed up with several decays (moving averages with a free weight for every age,
compare Ma et al. 2023), mixed, passed through one residual layer and normalised; the scores are inner products with the
same embeddings (Press & Wolf 2017). One block and no attention: a request costs little more than one product of the
embeddings and a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.numeric.activations import silu
from core.numeric.vectors import Floats

DECAYS = (0.015, 0.51, 0.70, 0.84, 0.94, 0.99)  # per step, from the very last title to everything
WINDOW = 50  # steps that are looked back: as many as requests do
FADING = np.array(DECAYS)[:, None] ** np.arange(WINDOW)
EPSILON = 1e-5  # of the variance that is divided by
SPREAD = 0.5  # length of an untrained embedding


@dataclass(frozen=True, slots=True, eq=False)
class NextTitleNetwork:
    """Weights over m titles, d dimensions, k decays and a hidden layer of width f = 2 d, float32.

    titles: snapshot rows, ascending; the others it does not know. A row of `embedding` is a title as input and as
    output.
    """

    titles: NDArray[np.int32]  # (m,)
    embedding: Floats  # (m, d)
    bias: Floats  # (m,)
    ages: Floats  # (k, WINDOW) times decay^age: how much a title of so many steps ago counts
    mix: Floats  # (k, d, d)
    up: Floats  # (d, f)
    up_bias: Floats  # (f,)
    down: Floats  # (f, d)
    down_bias: Floats  # (d,)
    gain: Floats  # (d,)
    shift: Floats  # (d,)

    def with_weights(self, weights: dict[str, Floats]) -> NextTitleNetwork:
        """The same titles with other weights, by name."""
        return NextTitleNetwork(self.titles, **weights)

    def places(self, rows: NDArray[Any]) -> NDArray[np.intp]:
        """Snapshot rows (l,) -> places among `titles`, without those that it does not know."""
        found = np.minimum(np.searchsorted(self.titles, rows), len(self.titles) - 1)
        return found[self.titles[found] == rows]

    def logits(self, places: NDArray[np.intp]) -> Floats:
        """(m,) log-odds of each title to come next, up to a constant, after the titles at `places`, oldest first."""
        latest = places[: -WINDOW - 1 : -1]
        sums = kernels(self.ages)[:, : len(latest)] @ self.embedding[latest]  # (k, d)
        mixed = sums.ravel() @ self.mix.reshape(sums.size, -1)
        mixed = mixed + silu(mixed @ self.up + self.up_bias) @ self.down + self.down_bias
        centred = mixed - mixed.mean()
        state = centred / np.sqrt(centred @ centred / len(centred) + EPSILON) * self.gain + self.shift
        logits: Floats = self.embedding @ state.astype(np.float32) + self.bias
        return logits


def kernels(ages: Floats) -> Floats:
    """(k, WINDOW): what a title counts by its age in steps."""
    return ages * FADING.astype(ages.dtype)


def shapes(titles: int, dims: int) -> dict[str, tuple[int, ...]]:
    """Of every array of weights, by name."""
    return {
        "embedding": (titles, dims),
        "bias": (titles,),
        "ages": FADING.shape,
        "mix": (len(DECAYS), dims, dims),
        "up": (dims, 2 * dims),
        "up_bias": (2 * dims,),
        "down": (2 * dims, dims),
        "down_bias": (dims,),
        "gain": (dims,),
        "shift": (dims,),
    }


def weights_of(network: NextTitleNetwork) -> dict[str, Floats]:
    """What is trained, by name."""
    return {name: getattr(network, name) for name in shapes(1, 1)}


def untrained(titles: NDArray[np.int32], likes: NDArray[Any], dims: int, rng: np.random.Generator) -> NextTitleNetwork:
    """A network over `titles` (m,) that knows no more than how many liked each of them, likes (m,)."""
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(len(titles), dims).items()}
    # A sum of independent vectors with decay g has 1 / (1 - g^2) times the variance of one; mixed, it shall have 1.
    calm = np.sqrt((1 - np.array(DECAYS) ** 2) / len(DECAYS)) / SPREAD
    scale = {"embedding": SPREAD * dims**-0.5, "mix": calm[:, None, None], "up": dims**-0.5, "down": 0.5 * dims**-0.5}
    for name, size in scale.items():
        weights[name][:] = size * rng.standard_normal(weights[name].shape)
    weights["bias"][:] = np.log((likes + 1) / (likes + 1).sum())
    weights["ages"][:] = weights["gain"][:] = 1.0
    return NextTitleNetwork(titles, **weights)


Load = Callable[[str, Any, tuple[int | None, ...]], NDArray[Any]]
"""Reads one array of a snapshot and checks that it is what it should be."""


def read_network(load: Load) -> NextTitleNetwork:
    """The network of a snapshot. What `load` raises passes through."""
    titles = load("next_title_titles", np.int32, (None,))
    dims = load("next_title_embedding", np.float32, (len(titles), None)).shape[1]
    found = {name: load(f"next_title_{name}", np.float32, shape) for name, shape in shapes(len(titles), dims).items()}
    return NextTitleNetwork(titles, **found)
