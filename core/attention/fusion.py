"""Attention over the signals of a ranking: how the circumstances of a request share out the weight among them.

The query is a learned embedding of the circumstances (how much is known of the viewer, time of day, weekend, device,
session), every signal has a learned key, and the values are the identity, so the output row says how attention is
shared among the s signals. As a multiple of what a zero query gives (1 / s, where groups are no matter) it multiplies
the weights that are fitted per length of history: circumstances that say nothing change nothing. The words of a request
take no part in the embedding, for the log that it is learned from holds none; they decide which mechanism attends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.registry import Array, weights

# Mechanisms that may learn fusion: with a zero query, where learning begins, they attend the same whatever the keys.
MECHANISMS = ("dot_product", "sparsemax", "hierarchical")
BEST = "best"  # in settings, instead of a mechanism's name
DAYPARTS = ("night", "morning", "afternoon", "evening")
SESSIONS = (0, 2)  # titles of the running session: none, one or two, more
FEATURES = (
    *(f"history {bucket}" for bucket in range(4)),
    *DAYPARTS,
    "working day",
    "weekend",
    *(f"session {part}" for part in range(len(SESSIONS) + 1)),
)


def circumstances(bucket: int, hour: int, weekday: int, session: int, device: str | None) -> tuple[str, ...]:
    """The features that hold of a request. bucket: of the length of history, 0..3; hour 0..23 and weekday, 0 = Monday,
    in UTC; session: titles of it so far."""
    told = (f"device {device}",) if device else ()
    weekend = "weekend" if weekday >= 5 else "working day"
    part = sum(session > upto for upto in SESSIONS)
    return (f"history {bucket}", DAYPARTS[hour // 6], weekend, f"session {part}", *told)


@dataclass(frozen=True, slots=True, eq=False)
class FusionAttention:
    """One mechanism with what it learned. embedding: (f, d), a row for each of `features`; keys: (s, d), one for each
    of `signals`; strategies: (s,) what each signal is a part of, the groups of hierarchical attention."""

    mechanism: str
    features: tuple[str, ...]
    signals: tuple[str, ...]
    strategies: tuple[str, ...]
    embedding: NDArray[np.float32]
    keys: NDArray[np.float32]
    _known: dict[tuple[str, ...], tuple[float, ...]] = field(default_factory=dict, repr=False)

    def factors(self, holding: tuple[str, ...]) -> tuple[float, ...]:
        """(s,) not negative: attention in a request of which the features `holding` hold, against one of which none do.

        Features that were not learned say nothing. Requests differ in a few hundred ways, so each way is attended to
        once.
        """
        known = self._known.get(holding)
        if known is None:
            rows = [self.features.index(name) for name in holding if name in self.features]
            query = self.embedding[rows].sum(axis=0, keepdims=True)
            asked = np.concatenate([query, np.zeros_like(query)])
            row, even = attention_rows(self.mechanism, asked, self.keys, self.strategies)
            known = self._known[holding] = tuple((row / even).tolist())
        return known

    def to_record(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        return {
            "mechanism": self.mechanism,
            "features": list(self.features),
            "signals": list(self.signals),
            "strategies": list(self.strategies),
            "embedding": self.embedding.astype(np.float64).round(5).tolist(),
            "keys": self.keys.astype(np.float64).round(5).tolist(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FusionAttention:
        """From JSON, as a snapshot's manifest has it. Raises KeyError or ValueError for another form."""
        return cls(
            mechanism=str(record["mechanism"]),
            features=tuple(record["features"]),
            signals=tuple(record["signals"]),
            strategies=tuple(record["strategies"]),
            embedding=np.array(record["embedding"], np.float32),
            keys=np.array(record["keys"], np.float32),
        )


def attention_rows(mechanism: str, queries: Array, keys: Array, strategies: tuple[str, ...]) -> Array:
    """(..., n_q, s) attention of queries (..., n_q, d) over keys (..., s, d); rows sum to 1."""
    if mechanism == "hierarchical":  # to strategies first, then to the signals of each
        return weights(mechanism, queries, keys, groups=np.array(strategies))
    return weights(mechanism, queries, keys)


def mixed_factors(
    learned: Mapping[str, FusionAttention], shares: Mapping[str, float], holding: tuple[str, ...]
) -> dict[str, float]:
    """By signal: the factors of several mechanisms averaged by their shares, which sum to 1.

    A mechanism without learned parameters attends evenly. learned: best first, which is what BEST stands for.
    """
    mixed: dict[str, float] = {}
    for name, share in shares.items():
        if attention := learned.get(next(iter(learned), "") if name == BEST else name):
            for signal, factor in zip(attention.signals, attention.factors(holding), strict=True):
                mixed[signal] = mixed.get(signal, 1.0) + share * (factor - 1.0)
    return mixed
