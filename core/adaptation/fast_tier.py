"""A user's fast tier: rank 2, learned from one interaction at once, and trusted only while it foretells.

Only B is the user's; A belongs to the base generation (core.adaptation.space). Each event first tests the tier and then
teaches it (prequential evaluation, Dawid 1984): the running mean of what the tier gained on events that it had not seen
decides whether requests apply it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.instant import reinforce_output
from core.adaptation.lora import Lora, delta
from core.adaptation.space import Space, carry
from core.numeric.vectors import Floats, is_finite

ALPHA = 1.0  # SonaConfig.lora_alpha, of every tier of a user
TEMPERATURE = (
    1.0  # of the softmax over titles of length at most 1; at .2 the gain in NDCG@10 is a quarter to a half less
)
RATE = 1.0  # delta(q) moves by the whole pull, whose length is that of a title (at most 1, mostly .1 to .3)
GAIN_RATE = 0.1  # of the running mean: about the last ten events count


@dataclass(frozen=True, slots=True, eq=False)
class FastTier:
    """B (d, r) float16 in the space of `generation`. gain: running mean of the drop in loss, in nats, on the event that
    came next; updates: events that it has learned from."""

    generation: str
    B: NDArray[np.float16]
    gain: float = 0.0
    updates: int = 0

    @property
    def useful(self) -> bool:
        """Whether it has foretold better than nothing: only then do requests apply it."""
        return self.updates > 1 and self.gain > 0.0

    def lora(self, space: Space) -> Lora:
        """The tier as an adapter; the generation must be the space's."""
        return Lora(space.A_fast, self.B.astype(np.float32), ALPHA)


def fresh_tier(space: Space) -> FastTier:
    """A tier that changes nothing yet."""
    return FastTier(space.generation, np.zeros((space.A_fast.shape[1], space.A_fast.shape[0]), np.float16))


def in_space(tier: FastTier | None, space: Space) -> FastTier:
    """The tier in the space's generation: carried over where a transfer leads there, else a fresh one, as for a tier
    that is not finite or of other dimensions."""
    if tier is None:
        return fresh_tier(space)
    way = space.transfers.get(tier.generation)
    if tier.generation != space.generation and way is not None and len(tier.B) == len(way.rotation):
        tier = _rounded(tier, space.generation, carry(tier.B.astype(np.float32), way.rotation, way.fast))
    fits = tier.generation == space.generation and tier.B.shape == space.A_fast.shape[::-1]
    return tier if fits and is_finite(tier.B.astype(np.float32)) else fresh_tier(space)


def learn(tier: FastTier, space: Space, q: Floats, items: Floats, advantage: float) -> FastTier:
    """The tier after one event: first judged by it, then taught.

    q: unit query before the event (d,); items (m + 1, d): targets of length at most 1, first that of the event's title,
    then of titles that were passed over; advantage in [-1, 1]: towards the title or away from it. The pull is the
    gradient of the sampled softmax (Jean et al. 2015), advantage x (title - expected title under the present scores).
    A running baseline in place of the neutral 0 lets equal outcomes fade out, although each title is a new lesson: the
    gain in NDCG@10 was a seventh (ml-latest-small) and two thirds (MovieTweetings) of this one's.
    """
    fast = tier.lora(space)
    plain = items @ q
    moved = plain + items @ delta(fast, q)
    before, after = _softmax(plain / TEMPERATURE), _softmax(moved / TEMPERATURE)
    gain = abs(advantage) * (_loss(before, advantage) - _loss(after, advantage))
    taught = reinforce_output(fast, q, np.float32(advantage) * (items[0] - after @ items), RATE)
    result = _rounded(tier, tier.generation, taught.B)
    if tier.updates:  # an empty tier foretells what no tier does
        rate = GAIN_RATE if tier.updates > 1 else 1.0
        result = replace(result, gain=tier.gain + rate * (gain - tier.gain))
    return replace(result, updates=tier.updates + 1)


def _rounded(tier: FastTier, generation: str, B: Floats) -> FastTier:
    """The tier with other weights; their bound keeps them far inside float16."""
    return replace(tier, generation=generation, B=B.astype(np.float16))


def _softmax(scores: NDArray[Any]) -> NDArray[Any]:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def _loss(chances: NDArray[Any], advantage: float) -> float:
    """Nats of surprise that the first title was chosen, or, for a negative advantage, that it was not."""
    chance = float(chances[0])
    return -float(np.log(max(chance if advantage > 0 else 1.0 - chance, 1e-9)))
