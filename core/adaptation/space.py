"""The vector space that adapters live in: one base generation, laid out over the titles of a snapshot.

A generation is trained by `train_base` and ships together what belongs together: title factors, the A factors against
which users' B factors are trained, the base adapter that all users share, and how to carry older adapters over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.adaptation.lora import Lora
from core.numeric.vectors import Floats


@dataclass(frozen=True, slots=True)
class Transfer:
    """From an older generation into this one: vectors by `rotation` (d, d), B factors by `slow` and `fast` (r, r)."""

    rotation: Floats
    slow: Floats
    fast: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """n titles in d dimensions; float32 arrays.

    A request's query is the normalised sum of the `sources` rows of what was liked; a title's score for a query q is
    (q + delta(q)) . targets[title]. Titles unknown to the generation have zero rows: adapters are silent there.
    """

    generation: str
    embedding_version: str
    sources: Floats  # (n, d)
    targets: Floats  # (n, d)
    A_slow: Floats  # (r_slow, d)
    A_fast: Floats  # (r_fast, d)
    base: Lora
    transfers: Mapping[str, Transfer] = field(default_factory=dict)  # by older generation
