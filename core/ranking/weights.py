"""How much each signal and each strategy counts, by preset and by how much is known of the viewer."""

from __future__ import annotations

from collections.abc import Mapping

from core.candidates.cold_start import cold_start_share
from core.candidates.rarity import has_history
from core.candidates.signals import STRATEGY_OF
from core.candidates.viewer import Viewer
from core.errors import ConfigurationError
from core.ranking.fusion import PRESETS

Weights = dict[str, float]

TUNED = "tuned"
# Asked only where something is known of what happened since the snapshot. A snapshot that learns its weights gives it
# one only where it has foretold more than the others do without it.
LIVE = "live"
UPTO = (0, 5, 20)  # liked titles: new, one to five, six to twenty, more

# Log-odds between the best standing and none, for the four lengths of history. Fallback of a snapshot that has learned
# none of its own: chosen for NDCG@10 on the validation windows of two data sets at once.
FIXED: tuple[Weights, ...] = tuple(
    {"similar": 1.3, "following": 0.5, LIVE: 3.0, "sequence": 2.1, "content": 1.2, "graph": 0.9, "context": popular}
    | {"rising": 2.0}
    for popular in (7.0, 8.0, 4.0, 1.2)
)
# Signals whose weights a snapshot learns; what cold start counts follows from that of context.
LEARNED = (
    "similar",
    "following",
    "onward",
    LIVE,
    "sequence",
    "lasting",
    "kindred",
    "next_title",
    "content",
    "graph",
    "context",
    "rarity",
    "rising",
)
# A third and a tenth of a millisecond: each has to foretell more than the others do without it.
COSTLY = ("kindred", "next_title")
INNER = {"similar": 0.55, "following": 0.10, "sequence": 0.35}  # of collaborative, where a preset names only that
SCALE = 10.0  # log-odds that a preset's weights, which sum to 1, are worth


def history_bucket(positives: int) -> int:
    """Place among the four lengths of history."""
    return sum(positives > upto for upto in UPTO)


def signal_weights(viewer: Viewer, preset: str) -> Weights:
    """Weights in log-odds by signal. Raises ConfigurationError for an unknown preset."""
    if preset == TUNED:
        weights = dict((viewer.snapshot.fusion or FIXED)[history_bucket(viewer.positives)])
        if viewer.live is None:
            weights.pop(LIVE, None)
        if not has_history(viewer):
            weights.pop("rarity", None)  # silent: not asked
        share = cold_start_share(viewer.positives)
        if share and (viewer.positives == 0 or viewer.state.onboarding):  # otherwise it knows no more than context does
            weights["cold_start"] = share * weights["context"]
        return weights
    weights = {}
    for name, weight in strategy_weights(viewer, preset).items():
        inner = INNER if name == "collaborative" else {name: 1.0}
        weights |= {signal: SCALE * weight * part for signal, part in inner.items()}
    return weights


def strategy_weights(viewer: Viewer, preset: str) -> Weights:
    """Weights by strategy: the preset's, of which cold start takes its share while there is little history.

    Raises ConfigurationError for an unknown preset.
    """
    if preset == TUNED:
        return normalised(grouped(signal_weights(viewer, TUNED)))
    if preset not in PRESETS:
        raise ConfigurationError(f"preset {preset!r} is not one of {', '.join([TUNED, *PRESETS])}")
    share = cold_start_share(viewer.positives)
    weights = {name: weight * (1 - share) for name, weight in PRESETS[preset].items()}
    weights["context"] = PRESETS[preset]["context"]  # circumstances count for a new viewer too
    weights["cold_start"] = share
    return {name: weight for name, weight in weights.items() if weight > 0}


def grouped(weights: Mapping[str, float]) -> Weights:
    """By strategy: the sum over its signals."""
    sums: Weights = {}
    for name, weight in weights.items():
        strategy = STRATEGY_OF.get(name, name)
        sums[strategy] = sums.get(strategy, 0.0) + weight
    return sums


def normalised(weights: Mapping[str, float]) -> Weights:
    """Weights that sum to 1; those that are not positive are left out."""
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight > 0}
