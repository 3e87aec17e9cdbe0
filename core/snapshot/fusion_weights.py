"""Learning how much each signal counts from the deployment's own log: part of every snapshot build.

An item side is built from the time before the last stretch of likes; the stretch is replayed through the signals that
requests ask, the weights are fitted on its first part and judged on the later one, and only if they foretell that at
least as well as the fixed ones, they are fitted on all of it and go into the manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.ranking.examples import Examples
from core.ranking.fit import Shrinkage, as_matrix, fit_weights, gains
from core.ranking.weights import COSTLY, FIXED, LIVE, UPTO, Weights

MIN_EXAMPLES = 400  # fewer, and what is judged on has an error as large as what there is to gain
FITTED = 0.6  # of the stretch; the rest judges
THIRDS = 3
SHRINKAGE = Shrinkage(common=1.0, own=0.25)
NEGLIGIBLE = 0.1  # log-odds between first and last: not worth asking the signal


@dataclass(frozen=True, slots=True)
class LearnedFusion:
    """weights: one mapping of signals per length of history, None for the fixed ones; report: why, for the manifest;
    attention: what mechanisms learned that multiplies them, as records of FusionAttention."""

    weights: tuple[Weights, ...] | None
    report: dict[str, Any]
    attention: tuple[dict[str, Any], ...] = ()

    def asks(self, signal: str) -> bool:
        """Whether any length of history gives the signal weight."""
        return any(signal in weights for weights in self.weights or ())


def learn_fusion(examples: Examples, in_time: bool = True) -> LearnedFusion:
    """Weights from examples, oldest first, or the reason for none. in_time False: judged on other users instead of on
    what came later, where nothing is known of time."""
    if len(examples) < MIN_EXAMPLES:
        return too_few(len(examples))
    parts = _parts(examples, in_time)
    report: dict[str, Any] = {"examples": len(examples)}
    for name in filter(examples.names.__contains__, (*COSTLY, LIVE)):
        spared = examples.without(name)
        more = _judged(examples, parts) - _judged(spared, parts)
        error = float(more.std()) / len(more) ** 0.5
        report[name] = {"gain": _rounded(more), "error": round(error, 5)}
        needed = error if name in COSTLY else 0.0  # what people go on to costs next to nothing to ask
        examples = examples if float(more.mean()) > needed else spared
    usual = np.concatenate([gains(examples.take(judging), as_matrix(FIXED, examples.names)) for judging in parts])
    gain = _judged(examples, parts) - usual
    report |= {"judged_on": len(usual), "ndcg_fixed": _rounded(usual), "gain": _rounded(gain)}
    if float(gain.mean()) < 0:
        return LearnedFusion(None, report | {"kept": "fixed", "reason": "they foretell the later part better"})
    fitted = fit_weights(examples, as_matrix(FIXED, examples.names), SHRINKAGE)
    lengths = np.bincount(examples.bucket, minlength=len(UPTO) + 1).tolist()
    return LearnedFusion(_named(fitted, examples.names), report | {"kept": "learned", "by_length": lengths})


def _judged(examples: Examples, parts: list[NDArray[np.bool_]]) -> NDArray:
    """NDCG@10 of the examples in each part (m,) with the weights that the others teach."""
    found = []
    for judging in parts:
        fitted = fit_weights(examples.take(~judging), as_matrix(FIXED, examples.names), SHRINKAGE)
        found.append(gains(examples.take(judging), fitted))
    return np.concatenate(found)


def too_few(examples: int) -> LearnedFusion:
    """What is said of data that is too small to learn from."""
    reason = f"fewer than {MIN_EXAMPLES} examples"
    return LearnedFusion(None, {"examples": examples, "kept": "fixed", "reason": reason})


def _parts(examples: Examples, in_time: bool) -> list[NDArray[np.bool_]]:
    """What is judged on: the later examples; without times, each third of the viewers by what the others teach."""
    if in_time:
        return [np.arange(len(examples)) >= FITTED * len(examples)]
    third = np.random.default_rng(0).permutation(int(examples.user.max()) + 1)[examples.user] % THIRDS
    return [third == part for part in range(THIRDS)]


def _named(weights: NDArray, names: tuple[str, ...]) -> tuple[Weights, ...]:
    return tuple(
        {name: round(float(weight), 4) for name, weight in zip(names, row, strict=True) if weight >= NEGLIGIBLE}
        for row in weights
    )


def _rounded(values: NDArray) -> float:
    return round(float(values.mean()), 5)
