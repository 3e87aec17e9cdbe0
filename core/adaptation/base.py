"""The base tier: one low-rank adapter for everybody, trained in the background on a sample of everybody's preferences.

It learns what title factors miss for all users alike, so that a user's own tiers only learn what is personal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.adaptation.examples import Evidence, ground, lesson
from core.adaptation.factors import input_directions
from core.adaptation.lora import Lora, bounded, delta, factor_gradients, sigmoid
from core.adaptation.space import Space
from core.adaptation.train import Preferences
from core.numeric.vectors import Floats


@dataclass(frozen=True, slots=True)
class BaseSettings:
    """sample: likes to learn from, of as many users as it takes; negatives: titles passed over for each. rate: Adam's,
    for weights of (alpha / r) B A with alpha = r. passes: over the sample. limit: bound on |delta(q)| / |q|.

    Measured on held-back likes against popular titles, pairs in the right order without and with this base tier:
    simulated viewers .751 .774, ml-latest-small .770 .788, MovieTweetings .629 .670. Rank 4 reaches .004 to .005 less,
    rank 2 .008 to .016. Three times the rate or the passes lowers the loss of the simulated by .004 and raises that of
    MovieTweetings by as much.
    """

    rank: int = 16  # as specified
    sample: int = 20_000  # ten for each of its 2 048 weights; 200 000 pairs take 100 MB
    negatives: int = 10
    held_back: float = 0.2  # of each user's likes, the latest
    batch: int = 512
    passes: int = 5
    rate: float = 0.001
    temperature: float = 0.2  # of the scores in the loss, as in TrainSettings
    limit: float = 0.9  # below 1, so that q + delta(q) keeps every direction and users' tiers can build on it


@dataclass(frozen=True, slots=True)
class BaseReport:
    """Weighted mean binary cross-entropies on what was held back: of the base before and of the one just trained."""

    accepted: bool
    users: int
    likes: int
    loss_before: float
    loss_after: float


def sampled(users: Sequence[Evidence], likes: int, rng: np.random.Generator) -> list[Evidence]:
    """Users in random order until they have `likes` liked titles together."""
    chosen: list[Evidence] = []
    for place in rng.permutation(len(users)):
        if likes <= 0:
            break
        chosen.append(users[int(place)])
        likes -= int((users[int(place)].weights > 0).sum())
    return chosen


def train_base_tier(
    space: Space, users: Sequence[Evidence], popularity: Floats, rng: np.random.Generator,
    settings: BaseSettings | None = None,
) -> tuple[Lora, BaseReport]:  # fmt: skip
    """The base adapter to use from now on: a new one if it foretells what was held back better than `space.base` does.

    users: in rows of the space; popularity (n,): likes per title. Training starts from no adapter at all, so that no
    generation inherits what has stopped being true.
    """
    settings = settings or BaseSettings()
    on = ground(replace(space, base=silent(space.base)))  # examples without any base tier in their queries
    lessons = [
        lesson(on, user, popularity, -np.inf, rng, held_back=settings.held_back, replay=0, negatives=settings.negatives)
        for user in sampled(users, settings.sample, rng)
    ]
    taught = [one for one in lessons if one is not None and len(one.examples)]
    if not taught:
        return space.base, BaseReport(False, 0, 0, 0.0, 0.0)
    examples, held_back = (_joined([getattr(one, name) for one in taught]) for name in ("examples", "held_back"))
    trained = bounded(_descend(_start(examples, settings), examples, rng, settings), settings.limit)
    losses = [_loss(lora, held_back, settings.temperature) for lora in (space.base, trained)]
    accepted = bool(losses[1] < losses[0])  # not a number compares false
    likes = sum(one.liked for one in taught)
    return trained if accepted else space.base, BaseReport(accepted, len(taught), likes, losses[0], losses[1])


def silent(base: Lora) -> Lora:
    """The adapter that changes nothing, of the same shape."""
    return Lora(base.A, np.zeros_like(base.B), base.alpha)


def _joined(several: list[Preferences]) -> Preferences:
    parts = ("queries", "items", "labels", "weights")
    return Preferences(*(np.concatenate([getattr(one, part) for one in several]) for part in parts))


def _start(examples: Preferences, settings: BaseSettings) -> Lora:
    A = input_directions(examples.queries, settings.rank)
    return Lora(A, np.zeros((A.shape[1], len(A)), np.float32), float(settings.rank))


def _loss(lora: Lora, data: Preferences, temperature: float) -> float:
    """Weighted mean binary cross-entropy."""
    scores = ((data.queries + delta(lora, data.queries)) * data.items).sum(axis=1) / temperature
    losses = np.logaddexp(0.0, scores) - data.labels * scores
    return float((data.weights * losses).sum() / max(float(data.weights.sum()), 1e-12))


def _descend(lora: Lora, data: Preferences, rng: np.random.Generator, settings: BaseSettings) -> Lora:
    """Adam (Kingma & Ba 2015) over minibatches, on both factors, with the true gradient of the weighted loss."""
    weights = [lora.A, lora.B]
    mean, square = ([np.zeros_like(part) for part in weights] for _ in range(2))
    step = 0
    for _ in range(settings.passes):
        order = rng.permutation(len(data))
        for start in range(0, len(order), settings.batch):
            step += 1
            batch = data.rows(order[start : start + settings.batch])
            gradients = _gradients(Lora(weights[0], weights[1], lora.alpha), batch, settings.temperature)
            for i, gradient in enumerate(gradients):
                mean[i] += 0.1 * (gradient - mean[i])
                square[i] += 0.001 * (gradient**2 - square[i])
                unbiased = mean[i] / (1 - 0.9**step), square[i] / (1 - 0.999**step)
                weights[i] = weights[i] - np.float32(settings.rate) * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return Lora(weights[0].astype(np.float32), weights[1].astype(np.float32), lora.alpha)


def _gradients(lora: Lora, batch: Preferences, temperature: float) -> tuple[Floats, Floats]:
    scores = ((batch.queries + delta(lora, batch.queries)) * batch.items).sum(axis=1) / temperature
    share = batch.weights / np.maximum(batch.weights.sum(), np.float32(1e-12))
    outer = batch.items * (share * (sigmoid(scores) - batch.labels) / np.float32(temperature))[:, None]
    return factor_gradients(lora, batch.queries, outer)
