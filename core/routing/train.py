"""Training the router: back-propagation through time with Adam, and confidence calibrated on sentences not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.routing.corpus import Sentence
from core.routing.fastgrnn import Array
from core.routing.head import Network, loss_and_gradient, new_network
from core.routing.routes import CLASSES, ROUTES
from core.routing.sequences import Floats, padded, sequence

Report = Callable[[int, int, float], None]
"""Called after each epoch with its number, the number of epochs, and the mean loss."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the router is trained; chosen on held-back sentences of the corpus, never on the test set."""

    seed: int = 20_261_121
    hidden: int = 320
    rank_w: int = 160
    rank_u: int = 96
    epochs: int = 14
    batch: int = 64
    learning_rate: float = 2e-3  # of Adam, falling to 0 along half a cosine
    weight_decay: float = 1e-3  # decoupled, on matrices only
    clip: float = 1.0  # longest gradient
    dropout: float = 0.3  # of the last state
    token_dropout: float = 0.1  # of the steps before the pooled one
    pooled_only: float = 0.15  # share of examples of which only the pooled step is shown
    lead: float = 0.7  # share of the leading route in what a mixed sentence is; the others divide the rest
    smoothing: float = 0.02  # of the wanted shares, spread over all classes
    templates: int = 12  # sentences made of each template
    template_weight: float = 0.5  # of an example, where a hand-written sentence has 1
    slips: float = 0.3  # share of hand-written sentences that are also learned with slips of the pen


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """sequences: n arrays (t_i, d); wanted (n, 7) shares that sum to 1; parts (n, 6) zeros and ones; weight (n,)."""

    sequences: list[Floats]
    wanted: Floats
    parts: Floats
    weight: Floats

    def subset(self, places: NDArray[np.intp]) -> Examples:
        """The examples at these places, in their order."""
        return Examples(
            [self.sequences[place] for place in places], self.wanted[places], self.parts[places], self.weight[places]
        )


def examples(sentences: Sequence[Sentence], tokens: Sequence[Floats], weight: Floats, recipe: Recipe) -> Examples:
    """Sentences with their token vectors and weights (n,) as something to learn from."""
    wanted = np.zeros((len(sentences), len(CLASSES)), np.float32)
    parts = np.zeros((len(sentences), len(ROUTES)), np.float32)
    for row, sentence in enumerate(sentences):
        places = [CLASSES.index(route) for route in sentence.routes]
        if len(places) > 1:
            wanted[row, places[1:]] = (1 - recipe.lead) / (len(places) - 1)
        wanted[row, places[0]] = recipe.lead if len(places) > 1 else 1.0
        parts[row, [place for place in places if place < len(ROUTES)]] = 1.0
    wanted = (1 - recipe.smoothing) * wanted + recipe.smoothing / len(CLASSES)
    return Examples([sequence(vectors) for vectors in tokens], wanted, parts, weight)


def fit(learned: Examples, recipe: Recipe, report: Report = lambda epoch, epochs, loss: None) -> Network:
    """A network trained on the examples. The same examples and recipe give the same network."""
    rng = np.random.default_rng(recipe.seed)
    dims = learned.sequences[0].shape[1]
    network = new_network(rng, dims, recipe.hidden, recipe.rank_w, recipe.rank_u, len(CLASSES), len(ROUTES))
    optimizer = Adam(network.arrays(), recipe)
    weight = _balanced(learned)
    steps_per_epoch = -(-len(weight) // recipe.batch)
    for epoch in range(recipe.epochs):
        losses = []
        for step, places in enumerate(_batches(learned.sequences, recipe.batch, rng)):
            x, mask = padded([_thinned(learned.sequences[place], recipe, rng) for place in places])
            kept = rng.random((len(places), recipe.hidden)) >= recipe.dropout
            keep = (kept / (1 - recipe.dropout)).astype(np.float32)
            loss, gradient = loss_and_gradient(
                network, x, mask, learned.wanted[places], learned.parts[places], weight[places], keep
            )
            done = (epoch + step / steps_per_epoch) / recipe.epochs
            optimizer.step(gradient, recipe.learning_rate * 0.5 * (1 + np.cos(np.pi * done)))
            losses.append(loss)
        report(epoch + 1, recipe.epochs, float(np.mean(losses)))
    return network


def _balanced(learned: Examples) -> Floats:
    """(n,) weights with which a class of few sentences counts nearly like one of many: by 1 / sqrt(its total)."""
    leading = learned.wanted.argmax(axis=1)
    totals = np.bincount(leading, learned.weight, minlength=len(CLASSES))
    weight = learned.weight / np.sqrt(totals[leading])
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def _batches(sequences: Sequence[Floats], size: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Every place once, in batches of sequences of about the same length, in random order."""
    lengths = np.array([len(steps) for steps in sequences]) + rng.random(len(sequences)) * 2
    order = np.argsort(lengths)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return [batches[place] for place in rng.permutation(len(batches))]


def _thinned(steps: Floats, recipe: Recipe, rng: np.random.Generator) -> Floats:
    """A sequence with some steps left out, or all but the pooled one."""
    if rng.random() < recipe.pooled_only:
        return steps[-1:]
    kept = rng.random(len(steps)) >= recipe.token_dropout
    kept[-1] = True
    return steps[kept]


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019); changes the parameters given."""

    def __init__(self, parameters: dict[str, Array], recipe: Recipe) -> None:
        self._parameters, self._recipe = parameters, recipe
        self._mean = {name: np.zeros_like(values) for name, values in parameters.items()}
        self._square = {name: np.zeros_like(values) for name, values in parameters.items()}
        self._steps = 0

    def step(self, gradient: dict[str, Array], rate: float, beta: float = 0.9, beta_square: float = 0.999) -> None:
        """One update by gradients of the parameters' names, together shrunk to the length `clip`."""
        self._steps += 1
        length = float(np.sqrt(sum(float(np.square(values).sum()) for values in gradient.values())))
        shrink = min(1.0, self._recipe.clip / max(length, 1e-12))
        unbias, unbias_square = 1 - beta**self._steps, 1 - beta_square**self._steps
        for name, values in self._parameters.items():
            slope = gradient[name] * shrink
            mean, square = self._mean[name], self._square[name]
            mean += (1 - beta) * (slope - mean)
            square += (1 - beta_square) * (slope * slope - square)
            if values.ndim == 2:
                values *= 1 - rate * self._recipe.weight_decay
            values -= rate * (mean / unbias) / (np.sqrt(square / unbias_square) + 1e-8)
