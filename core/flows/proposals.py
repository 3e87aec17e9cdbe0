"""What the strategies propose for one request, fused into one ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from core.candidates.cold_start import cold_start
from core.candidates.collaborative import collaborative
from core.candidates.content import content
from core.candidates.context import context
from core.candidates.gather import Gathered, Ranking, gather
from core.candidates.graph import graph
from core.candidates.signals import FULL_EVIDENCE, SIGNALS, STRATEGY_OF
from core.candidates.viewer import Viewer
from core.config import RankingSettings
from core.errors import ConfigurationError
from core.ranking.attention_fusion import attended
from core.ranking.fusion import FUSIONS, Fused, fuse_logs, fuse_rrf, fuse_scores
from core.ranking.weights import TUNED, Weights, grouped, normalised, signal_weights, strategy_weights

STRATEGIES = {
    "collaborative": collaborative,
    "content": content,
    "graph": graph,
    "context": context,
    "cold_start": cold_start,
}
SEARCH = "search"  # the strategy that proposes what a request asks for in words
# What is popular now takes microseconds: it is asked whatever the hour when others fail or are late, because they may
# have left nothing.
CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Proposed:
    """The strategies' titles fused. best: the highest score there could be; weights: strategy -> its share of that;
    failed: strategies without an answer; scores: of all titles by signal, where signals were asked."""

    fused: Fused
    best: float
    weights: Weights
    failed: tuple[str, ...]
    elapsed_ms: dict[str, float]
    scores: Mapping[str, NDArray] = field(default_factory=dict)


def propose(
    viewer: Viewer,
    settings: RankingSettings,
    reach: int,
    found: Ranking | None = None,
    attention: Mapping[str, float] | None = None,
) -> Proposed:
    """Ask the strategies and fuse what they say; found: what a text asks for, the strategy `search`; attention: shares
    of mechanisms that weigh the signals.

    Raises ConfigurationError for an unknown preset or way to fuse.
    """
    if settings.fusion == "logs":
        return _by_signals(viewer, settings, reach, found, attention or {})
    if settings.fusion not in FUSIONS:
        raise ConfigurationError(f"fusion {settings.fusion!r} is not one of {', '.join(FUSIONS)}")
    return _by_rankings(viewer, settings, found)


def _by_signals(
    viewer: Viewer, settings: RankingSettings, reach: int, found: Ranking | None, attention: Mapping[str, float]
) -> Proposed:
    weights = signal_weights(viewer, settings.preset)
    if settings.preset == TUNED:  # attention was learned on top of those weights
        weights = attended(weights, attention, viewer)
    weights = with_search(weights, settings.search_weight if found else 0.0)
    asked = {name: SIGNALS[name] for name in weights if name in SIGNALS}
    if found is not None:
        asked[SEARCH] = lambda viewer: over_all(found, len(viewer.allowed))
    gathered = gather(asked, viewer, settings.strategy_deadline_ms)
    if gathered.failed and CONTEXT not in gathered.rankings:
        gathered, weights = gathered.joined_by(CONTEXT, SIGNALS[CONTEXT](viewer)), {CONTEXT: 1.0} | weights
    fused = fuse_logs(gathered.rankings, weights, STRATEGY_OF, viewer.allowed, reach, FULL_EVIDENCE)
    failed = tuple(dict.fromkeys(STRATEGY_OF.get(name, name) for name in gathered.failed))
    shares = normalised(grouped(weights))
    return Proposed(fused, sum(weights.values()), shares, failed, gathered.elapsed_ms, gathered.rankings)


def _by_rankings(viewer: Viewer, settings: RankingSettings, found: Ranking | None) -> Proposed:
    weights = with_search(strategy_weights(viewer, settings.preset), settings.search_weight if found else 0.0)
    asked: dict[str, Callable[[Viewer], Ranking]] = {
        name: partial(STRATEGIES[name], pool=settings.pool_size) for name in weights if name in STRATEGIES
    }
    if found is not None:
        asked = {SEARCH: lambda viewer: found, **asked}
    gathered: Gathered[Ranking] = gather(asked, viewer, settings.strategy_deadline_ms)
    if gathered.failed and CONTEXT not in gathered.rankings:
        popular = STRATEGIES[CONTEXT](viewer, pool=settings.pool_size)
        gathered, weights = gathered.joined_by(CONTEXT, popular), {CONTEXT: 1.0} | weights
    failed, total, shares = tuple(gathered.failed), sum(weights.values()), normalised(weights)
    if settings.fusion == "scores":
        return Proposed(fuse_scores(gathered.rankings, weights), total, shares, failed, gathered.elapsed_ms)
    fused = fuse_rrf(gathered.rankings, weights, settings.rrf_k)
    return Proposed(fused, total / (settings.rrf_k + 1), shares, failed, gathered.elapsed_ms)


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
