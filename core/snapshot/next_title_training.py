"""Training the next-title network on what everybody liked, one title after the other.

Each pass shows one stretch of every viewer's likes, a fifth of the time the latest one, and asks at every step which
title came next. The number of steps is bounded and the rate falls to zero over them, so that a build takes the time
that it was given and uses all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.embedding.content_encoder_training import Adam
from core.numeric.vectors import Floats
from core.snapshot.next_title_gradients import Batch, loss_and_gradients
from core.snapshot.next_title_network import WINDOW, NextTitleNetwork, weights_of

DECAYED = ("embedding", "mix", "up", "down")  # weights that are drawn towards zero; biases and scales are not


@dataclass(frozen=True, slots=True)
class Recipe:
    """passes over all viewers in batches of `viewers`, at most `steps` batches; rivals: about so many titles that a
    choice is held against, drawn by likes^popular; dropout: share of what is dropped; rate: Adam's, rising for
    `warm_up` steps, then falling to zero; decay: of the weights, per step and unit of rate; latest: share of the
    stretches that end with the last like."""

    passes: int
    steps: int
    viewers: int = 32  # ml-1m's validation NDCG@10 alone: .181 after 114 s of one core; 64 take 197 s, 16 reach .180
    rivals: int = 512
    popular: float = 0.5  # NDCG@10 likewise: .177 with 0, .180 with .5, .179 with .75
    dropout: float = 0.2
    rate: float = 0.003
    warm_up: int = 100
    decay: float = 0.2  # .181 with .01; .1 and .4 are within .001
    latest: float = 0.2  # .172 with .8, .184 with .2 and 0

    def shortened(self, share: float) -> Recipe:
        """For a network that has been trained before: this share of the passes, and of the rate."""
        passes, steps = math.ceil(self.passes * share), math.ceil(self.steps * share)
        return replace(self, passes=passes, steps=steps, rate=self.rate * share)


def train(
    network: NextTitleNetwork,
    user: NDArray[Any],
    row: NDArray[Any],
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Callable[[float], None] = lambda done: None,
) -> NextTitleNetwork:
    """The network after training on likes (l,) that lie by user, then time.

    Decoupled weight decay as in AdamW (Loshchilov & Hutter 2019). The same input gives the same weights.
    """
    sequences = sequences_of(network, user, row)
    optimiser = Adam(weights_of(network))
    trained = network.with_weights(optimiser.values)  # which every step changes in place
    steps = min(recipe.passes * -(-len(sequences) // recipe.viewers), recipe.steps)
    likes = np.bincount(np.concatenate([[], *sequences]).astype(np.intp), minlength=len(network.titles))
    included = inclusion(likes, recipe)
    order: list[int] = []
    for step in range(steps):
        if not order:
            order = rng.permutation(len(sequences)).tolist()
            progress(step / steps)
        shown, order = order[: recipe.viewers], order[recipe.viewers :]
        batch = _batch([sequences[place] for place in shown], network, included, recipe, rng)
        _, gradients = loss_and_gradients(trained, batch)
        rate = recipe.rate * min(1.0, (step + 1) / recipe.warm_up) * (1 - step / steps)
        for name in DECAYED:
            optimiser.values[name] *= np.float32(1 - rate * recipe.decay)
        optimiser.step(gradients, rate)
    return trained


def sequences_of(network: NextTitleNetwork, user: NDArray[Any], row: NDArray[Any]) -> list[NDArray[np.intp]]:
    """The places of each user's titles that the network covers, of the users who have two; likes by user, then time."""
    place = np.minimum(np.searchsorted(network.titles, row), len(network.titles) - 1)
    known = network.titles[place] == row
    user, place = user[known], place[known]
    return [each for each in np.split(place, np.flatnonzero(np.diff(user)) + 1) if len(each) > 1]


def inclusion(likes: NDArray[Any], recipe: Recipe) -> NDArray[np.float64]:
    """(m,) how probably a title is among the rivals of a step, each drawn for itself: the popular ones, which are hard
    to beat, more often."""
    wanted = (likes + 1.0) ** recipe.popular
    return np.minimum(recipe.rivals * wanted / wanted.sum(), 1.0)


def rivals_of(included: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.intp], Floats]:
    """Places (s,) of the rivals of one step, and the logarithm (s,) of how many titles each speaks for."""
    drawn = np.flatnonzero(rng.random(len(included)) < included)
    return drawn, -np.log(included[drawn]).astype(np.float32)


def carried_over(earlier: NextTitleNetwork, fresh: NextTitleNetwork) -> NextTitleNetwork:
    """`fresh` with all that an earlier network has learned, but for titles that only one of them covers."""
    weights = weights_of(earlier) | {"embedding": fresh.embedding.copy(), "bias": fresh.bias.copy()}
    known = np.isin(fresh.titles, earlier.titles)
    places = earlier.places(fresh.titles)
    weights["embedding"][known], weights["bias"][known] = earlier.embedding[places], earlier.bias[places]
    return fresh.with_weights(weights)


def _batch(
    sequences: Sequence[NDArray[np.intp]],
    network: NextTitleNetwork,
    included: NDArray[np.float64],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Batch:
    stretches = [_stretch(each, recipe.latest, rng) for each in sequences]
    length = max(len(each) for each in stretches) - 1
    shown = np.zeros((length, len(stretches)), np.intp)
    target = np.full(shown.shape, -1)
    for column, each in enumerate(stretches):
        shown[: len(each) - 1, column], target[: len(each) - 1, column] = each[:-1], each[1:]
    there = target >= 0
    asked = np.flatnonzero(there)
    rivals, mass = rivals_of(included, rng)
    return Batch(
        shown=shown,
        kept=_dropout((*shown.shape, network.embedding.shape[1]), recipe.dropout, rng) * there[:, :, None],
        asked=asked,
        target=target.ravel()[asked],
        hidden=_dropout((len(asked), len(network.up_bias)), recipe.dropout, rng),
        rivals=rivals,
        mass=mass,
    )


def _stretch(sequence: NDArray[np.intp], latest: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """At most WINDOW titles and the one after them."""
    first = len(sequence) - WINDOW - 1
    if first > 0 and rng.random() >= latest:
        first = int(rng.integers(first + 1))
    return sequence[max(first, 0) :][: WINDOW + 1]


def _dropout(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> Floats:
    """Zeros, a share of about `share`, and otherwise what keeps the mean at one."""
    dropped = round(share * 256)  # bytes: a tenth of the time that floats would take
    drawn = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
    return (drawn >= dropped) * np.float32(256 / (256 - dropped))
