"""The vector space that adapters live in: one base generation, laid out over the titles of a snapshot.

A generation is trained by `train_base` and ships together what belongs together: title factors, the A factors against
which users' B factors are trained, the base adapter that all users share, and how to carry older adapters over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from core.adaptation import tiers
from core.adaptation.lora import Lora
from core.errors import InvalidInput
from core.numeric.vectors import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """From an older generation into this one: vectors by `rotation` (d, d), x_new = x_old @ rotation; B factors also
    by `slow` and `fast`, (r_old, r_new) each."""

    rotation: Floats
    slow: Floats
    fast: Floats


def make_transfer(rotation: Floats, old: tuple[Floats, Floats], new: tuple[Floats, Floats]) -> Transfer:
    """The transfer between two generations of A factors (A_slow, A_fast), given how vectors turn: in the new
    coordinates the old A is A_old R, so T = (A_old R) A_new^+."""
    slow, fast = (tiers.transfer(before @ rotation, after) for before, after in zip(old, new, strict=True))
    return Transfer(rotation, slow, fast)


def carry(B: Floats, rotation: Floats, T: Floats) -> Floats:
    """A user's B (d, r_old) of an older generation in this one, (d, r_new): its output turns with the titles, its input
    is matched by T. B' = R^T B T, so that (B' A_new) x_new is R^T (B A_old) x_old as far as A_new sees what A_old
    saw."""
    if B.shape[0] != rotation.shape[0]:
        raise InvalidInput(f"a rotation of {rotation.shape[0]} dimensions cannot turn an adapter of {B.shape[0]}")
    return np.asarray(rotation.T @ tiers.project(B, T), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """n titles in d dimensions; float32 arrays.

    A request's query is the normalised sum of the `sources` rows of what was liked (core.adaptation.query); a title's
    score for a query q is (q + delta(q)) . targets[title]. Titles unknown to the generation have factors folded in from
    their neighbours, or zero rows: adapters are silent there.
    """

    generation: str
    embedding_version: str  # how the factors were made; another one cannot be carried over, only re-fitted
    sources: Floats  # (n, d)
    targets: Floats  # (n, d)
    A_slow: Floats  # (r_slow, d) orthonormal rows
    A_fast: Floats  # (r_fast, d) orthonormal rows
    base: Lora
    transfers: Mapping[str, Transfer] = field(default_factory=dict)  # by older generation
