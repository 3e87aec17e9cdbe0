"""Who sees which variant: a function of salt, experiment and user alone, so that it is sticky without being stored.

The share of users who take part and the variant are two independent hashes: raising the traffic adds users and moves
nobody. The variant is chosen by weighted rendezvous hashing (Thaler & Ravishankar 1998; weights as in Schindelhauer &
Schomaker 2005): user u takes the variant with the smallest -ln(h(u, v)) / w_v, which is v with probability w_v / sum w.
When a weight grows, users only move to that variant: what a bandit needs, and nobody else changes sides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from core.experiments.experiment import Experiment, Variant


def uniform(*parts: str) -> float:
    """A number in (0, 1) that follows from the parts, the same on every machine and in every version."""
    name = "\x00".join(parts).encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
    return ((number >> 11) + 0.5) / (1 << 53)


def assign(experiment: Experiment, user_id: str) -> Variant | None:
    """The user's variant; None for whoever does not take part. Whether the experiment runs is the caller's to know."""
    if uniform(experiment.salt, experiment.name, "traffic", user_id) >= experiment.traffic:
        return None
    return min(experiment.variants, key=lambda variant: _distance(experiment, variant, user_id))


def assign_all(experiments: Iterable[Experiment], user_id: str) -> dict[str, Variant]:
    """Experiment -> variant, for those in which the user takes part."""
    found = ((experiment.name, assign(experiment, user_id)) for experiment in experiments)
    return {name: variant for name, variant in found if variant is not None}


def _distance(experiment: Experiment, variant: Variant, user_id: str) -> float:
    return -math.log(uniform(experiment.salt, experiment.name, "variant", variant.name, user_id)) / variant.weight
