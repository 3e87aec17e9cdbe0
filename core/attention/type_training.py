"""`sona train attention`: the head that reads query types off the router's states, from sentences to a model folder.

`sentences/<type>.txt` were written for this; the router's sentences take the types of their routes, a route of several
types as shares of each. The test set is in neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.select import QUERY_TYPES, ROUTE_TYPES
from core.attention.type_head import TypeHead
from core.numeric.activations import softmax
from core.routing.calibrate import calibration_error, fit_temperature, folds_by_meaning
from core.routing.corpus import hand_written
from core.routing.router import Router
from core.routing.routes import OUT_OF_DOMAIN
from core.routing.training import Progress, TokenVectors

FOLDER = Path(__file__).parent / "sentences"
FOLDS = 4
COMMAND = "sona train attention"


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """How the head is trained; chosen on held-back sentences, never on the test set."""

    seed: int = 20_261_121
    ridge: float = 0.03  # of the mean loss; .001 to .1 are within .03 of each other
    own: float = 10.0  # weight of a sentence written for a type, where one that has its route's type counts 1
    pooled: float = 0.3  # weight of a sentence's pooled vector alone, as when a query comes as an embedding


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """accuracy, error: of sentences written for a type, held back by meaning."""

    head: TypeHead
    sentences: int
    accuracy: float
    error: float

    def facts(self, recipe: HeadRecipe) -> dict[str, Any]:
        """What a reader of the manifest wants to know."""
        held = {"accuracy": round(self.accuracy, 4), "calibration_error": round(self.error, 4)}
        about = {"command": COMMAND, "router": self.head.router, "sentences": self.sentences, "held_back": held}
        return about | {"parameters": int(self.head.weights.size + self.head.bias.size), "recipe": asdict(recipe)}


def labelled(recipe: HeadRecipe) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32], int]:
    """Texts, their shares of the types (n, types), weights (n,), and how many of them, the first, were written for a
    type."""
    pairs = [(text, {name: 1.0}) for name in QUERY_TYPES for text in _lines(name)]
    own = len(pairs)
    for sentence in hand_written():
        lead = sentence.routes[0]
        if lead != OUT_OF_DOMAIN:  # no query for titles
            pairs.append((sentence.text, {"mixed": 1.0} if len(sentence.routes) > 1 else ROUTE_TYPES[lead]))
    shares = np.array([[types.get(name, 0.0) for name in QUERY_TYPES] for _, types in pairs], np.float32)
    weight = np.ones(len(pairs), np.float32)
    weight[:own] = recipe.own
    return [text for text, _ in pairs], shares, weight, own


def train_head(
    router: Router, encoder: TokenVectors, recipe: HeadRecipe, say: Progress = lambda text: None
) -> TrainedHead:
    """Train on everything, calibrated on sentences held back in FOLDS rounds. The same router and sentences give the
    same head."""
    texts, shares, weight, own = labelled(recipe)
    say(f"encoding {len(texts)} sentences")
    tokens = encoder.token_vectors(texts)
    pooled = np.array([vectors.mean(axis=0) for vectors in tokens], np.float32)
    learned = _Sentences(
        np.array([router.state(vectors) for vectors in tokens]),
        np.array([router.pooled_state(vector) for vector in pooled]),
        shares,
        weight / np.sqrt((shares * weight[:, None]).sum(axis=0))[shares.argmax(axis=1)],  # a small type counts, too
    )
    fold = folds_by_meaning(_unit(pooled), FOLDS, np.random.default_rng(recipe.seed))
    logits = _held_back(learned, fold, recipe, say)
    wanted, certain = shares.argmax(axis=1), shares.max(axis=1) == 1.0
    temperature = fit_temperature(logits[certain], wanted[certain])
    chances, right = softmax(logits[:own] / temperature), logits[:own].argmax(axis=1) == wanted[:own]
    say("training on everything")
    w, b = learned.fit(recipe)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
    head = TypeHead(
        (w / temperature).astype(np.float32),
        (b / temperature).astype(np.float32),
        QUERY_TYPES,
        router.version,
        f"types-{digest}-{router.version}",
    )
    return TrainedHead(head, len(texts), float(right.mean()), calibration_error(chances.max(axis=1), right))


@dataclass(frozen=True, slots=True, eq=False)
class _Sentences:
    """n sentences as states by their tokens and by their pooled vectors, both (n, h), with shares (n, c) and weights
    (n,)."""

    states: NDArray[np.float32]
    alone: NDArray[np.float32]
    shares: NDArray[np.float32]
    weight: NDArray[np.float32]

    def fit(self, recipe: HeadRecipe, chosen: NDArray[np.bool_] | slice = slice(None)) -> tuple[NDArray, NDArray]:
        """Weights and bias learned from the sentences `chosen`."""
        states = np.concatenate([self.states[chosen], self.alone[chosen]])
        shares, weight = self.shares[chosen], self.weight[chosen]
        both = np.concatenate([weight, recipe.pooled * weight])
        return fit_softmax(states, np.concatenate([shares, shares]), both, recipe.ridge)


def _held_back(learned: _Sentences, fold: NDArray[np.intp], recipe: HeadRecipe, say: Progress) -> NDArray[np.float32]:
    """(n, types) logits of sentences by heads that have not seen their like."""
    logits = np.zeros_like(learned.shares)
    for number in range(FOLDS):
        say(f"calibrating: round {number + 1} of {FOLDS}")
        w, b = learned.fit(recipe, fold != number)
        logits[fold == number] = learned.states[fold == number] @ w + b
    return logits


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def fit_softmax(states: NDArray, shares: NDArray, weight: NDArray, ridge: float) -> tuple[NDArray, NDArray]:
    """Weights (h, c) and bias (c,) that minimise the weighted mean cross-entropy against shares (n, c) plus
    ridge / 2 |weights|^2."""
    from scipy.optimize import minimize  # heavy, and only training fits

    h, c = states.shape[1], shares.shape[1]
    part = (weight / weight.sum())[:, None].astype(np.float64)
    x = states.astype(np.float64)

    def loss(flat: NDArray) -> tuple[float, NDArray]:
        w, b = flat[: h * c].reshape(h, c), flat[h * c :]
        p = softmax(x @ w + b)
        slope = part * (p - shares)
        value = -float(np.sum(part * shares * np.log(p + 1e-12))) + ridge / 2 * float(np.sum(w * w))
        return value, np.concatenate([(x.T @ slope + ridge * w).ravel(), slope.sum(axis=0)])

    found = minimize(loss, np.zeros(h * c + c), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return found[: h * c].reshape(h, c), found[h * c :]


def _lines(name: str) -> Sequence[str]:
    return [line for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
