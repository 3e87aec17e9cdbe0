"""Weights of fusion that depend on the circumstances of a request: those per length of history, times attention."""

from __future__ import annotations

from collections.abc import Mapping

from core.attention.fusion import circumstances, mixed_factors
from core.candidates.viewer import Viewer
from core.ranking.weights import Weights, history_bucket

HOUR_S = 3600
EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday


def circumstances_of(viewer: Viewer) -> tuple[str, ...]:
    """The features that hold of a viewer's request."""
    hours = int(viewer.now // HOUR_S)
    weekday = (hours // 24 + EPOCH_WEEKDAY) % 7
    bucket, device = history_bucket(viewer.positives), viewer.context.device
    return circumstances(bucket, hours % 24, weekday, viewer.session.size, device)


def attended(weights: Weights, shares: Mapping[str, float], viewer: Viewer) -> Weights:
    """The weights times the attention that `shares` of the snapshot's mechanisms pay to each signal; the same weights
    where none was learned. Signals that attention does not know keep theirs."""
    learned = viewer.snapshot.attention
    if not learned:
        return weights
    factors = mixed_factors(learned, shares, circumstances_of(viewer))
    return {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}
