"""What the strategies propose for one request, fused into one ranking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from core.candidates.cold_start import cold_start
from core.candidates.collaborative import collaborative
from core.candidates.content import content
from core.candidates.context import context
from core.candidates.gather import Gathered, Ranking, gather
from core.candidates.graph import graph
from core.candidates.signals import SIGNALS, STRATEGY_OF
from core.candidates.viewer import Viewer
from core.config import RankingSettings
from core.errors import ConfigurationError
from core.ranking.fusion import FUSIONS, Fused, fuse_logs, fuse_rrf, fuse_scores
from core.ranking.weights import Weights, signal_weights, strategy_weights

STRATEGIES = {
    "collaborative": collaborative,
    "content": content,
    "graph": graph,
    "context": context,
    "cold_start": cold_start,
}
SEARCH = "search"  # the strategy that proposes what a request asks for in words


@dataclass(frozen=True, slots=True)
class Proposed:
    """The strategies' titles fused. best: the highest score there could be; failed: strategies without an answer."""

    fused: Fused
    best: float
    failed: tuple[str, ...]
    elapsed_ms: dict[str, float]


def propose(viewer: Viewer, settings: RankingSettings, reach: int, found: Ranking | None = None) -> Proposed:
    """Ask the strategies and fuse what they say; found: what a text asks for, the strategy `search`.

    Raises ConfigurationError for an unknown preset or way to fuse.
    """
    if settings.fusion == "logs":
        return _by_signals(viewer, settings, reach, found)
    if settings.fusion not in FUSIONS:
        raise ConfigurationError(f"fusion {settings.fusion!r} is not one of {', '.join(FUSIONS)}")
    return _by_rankings(viewer, settings, found)


def _by_signals(viewer: Viewer, settings: RankingSettings, reach: int, found: Ranking | None) -> Proposed:
    weights = with_search(signal_weights(viewer, settings.preset), settings.search_weight if found else 0.0)
    asked = {name: SIGNALS[name] for name in weights if name in SIGNALS}
    if found is not None:
        asked[SEARCH] = lambda viewer: over_all(found, len(viewer.allowed))
    gathered = gather(asked, viewer, settings.strategy_deadline_ms)
    fused = fuse_logs(gathered.rankings, weights, STRATEGY_OF, viewer.allowed, reach)
    failed = tuple(dict.fromkeys(STRATEGY_OF.get(name, name) for name in gathered.failed))
    return Proposed(fused, sum(weights.values()), failed, gathered.elapsed_ms)


def _by_rankings(viewer: Viewer, settings: RankingSettings, found: Ranking | None) -> Proposed:
    weights = with_search(strategy_weights(viewer, settings.preset), settings.search_weight if found else 0.0)
    asked: dict[str, Callable[[Viewer], Ranking]] = {
        name: partial(STRATEGIES[name], pool=settings.pool_size) for name in weights if name in STRATEGIES
    }
    if found is not None:
        asked = {SEARCH: lambda viewer: found, **asked}
    gathered: Gathered[Ranking] = gather(asked, viewer, settings.strategy_deadline_ms)
    failed, total = tuple(gathered.failed), sum(weights.values())
    if settings.fusion == "scores":
        return Proposed(fuse_scores(gathered.rankings, weights), total, failed, gathered.elapsed_ms)
    fused = fuse_rrf(gathered.rankings, weights, settings.rrf_k)
    return Proposed(fused, total / (settings.rrf_k + 1), failed, gathered.elapsed_ms)


def with_search(weights: Weights, share: float) -> Weights:
    """The same total, of which search has `share`."""
    if share <= 0:
        return weights
    rest = {name: weight * (1 - share) for name, weight in weights.items()}
    return {SEARCH: share * sum(weights.values()), **rest}


def over_all(ranking: Ranking, n: int) -> NDArray:
    """(n,) scores of all titles, 0 for those that are not ranked."""
    scores = np.zeros(n)
    scores[ranking.rows] = ranking.scores
    return scores
