"""How sure to be: a temperature for the classes and a threshold for secondary routes, from sentences held back.

Sentences that mean nearly the same are held back together, in clusters of their embeddings: what is then predicted is
as far from what was learned as a user's own words are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.numeric.activations import softmax
from core.numeric.kmeans import kmeans
from core.routing.fastgrnn import Array

BINS = 10
COVERAGE = 0.9
TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(4.0), 200))
THRESHOLDS = np.linspace(0.2, 0.8, 61)
SENTENCES_PER_CLUSTER = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """temperature: divides the class logits; threshold: a secondary route's least probability; plausible: a class's
    least probability to be among those that hold the right one in 9 of 10 cases."""

    temperature: float
    threshold: float
    plausible: float


def folds_by_meaning(embeddings: Array, folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(n,) fold of each of n embeddings (n, d); a cluster stays in one fold."""
    clusters = max(len(embeddings) // SENTENCES_PER_CLUSTER, folds)
    _, assigned, _ = kmeans(embeddings, clusters, rng)
    return rng.integers(folds, size=clusters)[assigned]


def fit_temperature(logits: Array, classes: NDArray[np.intp]) -> float:
    """The temperature with the least cross-entropy of classes (n,) given logits (n, c) (Guo et al. 2017)."""
    rows = np.arange(len(classes))
    losses = [-np.log(softmax(logits / t)[rows, classes] + 1e-12).mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def fit_plausible(chances: Array, classes: NDArray[np.intp], coverage: float = COVERAGE) -> float:
    """The least probability to ask of a class so that the classes that reach it hold the right one with `coverage`:
    split conformal prediction (Vovk et al. 2005) on chances (n, c) and right classes (n,)."""
    right = np.sort(chances[np.arange(len(classes)), classes])
    spared = int((1 - coverage) * (len(right) + 1))  # right classes that may fall below
    return float(right[spared - 1]) if spared else 0.0


def uncertainty(chances: Array) -> float:
    """Entropy of chances (c,) as a share of the greatest possible: 0 certain, 1 all the same."""
    present = chances[chances > 0]
    return float(-(present * np.log(present)).sum() / np.log(len(chances)))


def fit_threshold(chances: Array, leading: NDArray[np.intp], parts: Array) -> float:
    """The threshold with the best F1 of the routes that are named besides the leading one.

    chances (n, r) of each route; leading (n,) class that was named first; parts (n, r): which routes belong.
    """
    scores = [secondary_f1(chances >= threshold, leading, parts) for threshold in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(scores))])


def secondary_f1(named: NDArray[np.bool_], leading: NDArray[np.intp], parts: Array) -> float:
    """F1 over all (query, route) pairs but the leading route's, which the classes have already named."""
    others = np.arange(parts.shape[1]) != leading[:, None]
    hits = float((named & (parts > 0) & others).sum())
    return 2 * hits / max(float((named & others).sum() + ((parts > 0) & others).sum()), 1.0)


def calibration_error(confidence: Array, correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015): |confidence - accuracy| in bins of equal width, weighted by
    how many answers (n,) fall into each."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[place == b].mean() - correct[place == b].mean()) * (place == b).sum()
        for b in range(bins)
        if (place == b).any()
    ]
    return float(sum(gaps) / len(confidence))
