"""Which variant (model, node, prompt) does well for which kind of query: remembered outcomes, kernel estimate, UCB
choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.trajectory import NodeId
from core.errors import CorruptData, InvalidInput
from core.numeric.vectors import Floats, require_number

CAPACITY = 2048
BANDWIDTH = 0.2  # of the kernel exp((cos - 1) / bandwidth): an orthogonal query weighs .007 of an equal one
PRIOR = 0.5  # outcomes of kernel weight that the variant's overall mean counts for
EXPLORATION = 0.5


class VariantScores(dict[NodeId, float]):
    """Predicted outcome in [0, 1] by variant; `evidence` tells by how many comparable outcomes each is supported."""

    def __init__(self, scores: Mapping[NodeId, float], evidence: Mapping[NodeId, float]) -> None:
        super().__init__(scores)
        self.evidence = dict(evidence)


class VariantMemory:
    """The last outcomes (unit query (d,), variant, reward in [0, 1]) in a ring. Its owner holds a lock around every
    call."""

    def __init__(self, dim: int, capacity: int = CAPACITY) -> None:
        self.queries = np.zeros((capacity, dim), dtype=np.float32)
        self.variant_of = np.zeros(capacity, dtype=np.int64)
        self.rewards = np.zeros(capacity, dtype=np.float32)
        self.written = 0
        self.variants: dict[NodeId, int] = {}

    def __len__(self) -> int:
        return min(self.written, len(self.rewards))

    def add(self, query: Floats, variant: NodeId, reward: float) -> None:
        """Remember one outcome; the oldest makes room."""
        slot = self.written % len(self.rewards)
        self.queries[slot] = query
        self.variant_of[slot] = self.variants.setdefault(variant, len(self.variants))
        self.rewards[slot] = reward
        self.written += 1
        if len(self.variants) > 2 * len(self.rewards):
            self._forget_lost_variants()

    def predict(self, queries: Floats) -> list[VariantScores]:
        """For each unit query (n, d) the Nadaraya-Watson estimate of every remembered variant's outcome, shrunk towards
        the variant's mean, and that towards .5, where little is known."""
        n = len(self)
        owner, rewards = self.variant_of[:n], self.rewards[:n]
        size = len(self.variants)
        counts = np.bincount(owner, minlength=size)
        means = (np.bincount(owner, rewards, minlength=size) + 0.5) / (counts + 1.0)
        kernel = np.exp((queries @ self.queries[:n].T - 1.0) / np.float32(BANDWIDTH))
        answers = []
        for weights in kernel:
            evidence = np.bincount(owner, weights, minlength=size)
            estimate = (np.bincount(owner, weights * rewards, minlength=size) + PRIOR * means) / (evidence + PRIOR)
            known = {name: i for name, i in self.variants.items() if counts[i]}
            answers.append(
                VariantScores(
                    {name: float(estimate[i]) for name, i in known.items()},
                    {name: float(evidence[i]) for name, i in known.items()},
                )
            )
        return answers

    def counts(self) -> dict[NodeId, float]:
        """Remembered outcomes by variant."""
        counts = np.bincount(self.variant_of[: len(self)], minlength=len(self.variants))
        return {name: float(counts[i]) for name, i in self.variants.items()}

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The outcomes, oldest slot first; the variants' names travel separately, in index order."""
        n = len(self)
        return {
            "queries": self.queries[:n],
            "variant_of": self.variant_of[:n],
            "rewards": self.rewards[:n],
            "written": np.array([self.written], dtype=np.int64),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], variants: Sequence[NodeId]) -> None:
        """Take over what `to_arrays` gave. Raises CorruptData if it does not fit."""
        n = len(arrays["rewards"])
        fits = arrays["queries"].shape == (n, self.queries.shape[1]) and n <= len(self.rewards)
        if not fits or arrays["variant_of"].shape != (n,) or np.any(arrays["variant_of"] >= len(variants)):
            raise CorruptData("stored variant outcomes do not fit")
        self.queries[:n], self.variant_of[:n], self.rewards[:n] = (
            arrays["queries"], arrays["variant_of"], arrays["rewards"]
        )  # fmt: skip
        self.written = int(arrays["written"][0])
        self.variants = {name: i for i, name in enumerate(variants)}

    def _forget_lost_variants(self) -> None:
        present = np.unique(self.variant_of[: len(self)])
        renumbered = {int(old): new for new, old in enumerate(present)}
        self.variants = {name: renumbered[i] for name, i in self.variants.items() if i in renumbered}
        self.variant_of[: len(self)] = np.searchsorted(present, self.variant_of[: len(self)])


def select_by_ucb(
    variants: Sequence[Any], scores: Mapping[Any, float] | Sequence[float], evidence: Mapping[Any, float],
    exploration: float = EXPLORATION,
) -> Any:  # fmt: skip
    """The variant of highest score + exploration sqrt(ln(1 + N) / n) (UCB1, Auer et al. 2002); n is the variant's
    evidence and N the sum. Variants without any are tried first, in the order given. scores: by variant, or in the
    variants' order.
    """
    if not variants:
        raise InvalidInput("there is no variant to choose from")
    if not isinstance(scores, Mapping):
        if len(scores) != len(variants):
            raise InvalidInput(f"{len(scores)} scores for {len(variants)} variants")
        scores = dict(zip(variants, scores, strict=True))
    given = {variant: require_number(score, f"the score of {variant!r}") for variant, score in scores.items()}
    total = sum(evidence.get(variant, 0.0) for variant in variants)

    def bound(variant: Any) -> float:
        n = evidence.get(variant, 0.0)
        if variant not in given or n <= 0.0:
            return math.inf
        return given[variant] + exploration * math.sqrt(math.log1p(total) / n)

    return max(variants, key=bound)
