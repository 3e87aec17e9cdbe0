"""How much one user would like given titles, with the parts of the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.adaptation.codec import UserAdapter
from core.candidates.context import dated
from core.candidates.signals import FULL_EVIDENCE, SIGNALS, STRATEGY_OF
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.errors import NotFound
from core.flows.attending import configured
from core.flows.services import Services
from core.flows.viewers import load_viewer
from core.ranking.adapter_boost import lifts
from core.ranking.attention_fusion import attended
from core.ranking.fusion import standing
from core.ranking.query import Query
from core.ranking.weights import TUNED, signal_weights
from core.snapshot.snapshot import Snapshot
from core.stores.deadline import within

BOOST = "lora_boost"  # the adapter's component, as the specification names it


@dataclass(frozen=True, slots=True)
class Score:
    """`score` in [0, 1] is the sum of `components`: each strategy's weight times the title's standing there, and what
    the user's adapter adds or takes, `lora_boost`."""

    content_id: str
    score: float
    components: dict[str, float]


def score(
    services: Services, query: Query, content_ids: tuple[str, ...], now: float, snapshot: Snapshot | None = None
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """Scores in the order asked for, and what is degraded. Raises NotFound naming the titles that are unknown.

    snapshot: the one that the caller has in hand, unless the newest is wanted.
    """
    degraded: tuple[str, ...] = ()
    if snapshot is None:
        snapshot, degraded = services.snapshot(now)
    rows = [snapshot.row(content_id) for content_id in content_ids]
    if unknown := [content_id for content_id, row in zip(content_ids, rows, strict=True) if row is None]:
        raise NotFound(f"content {', '.join(unknown[:5])} is not in the catalogue")
    with within(services.settings.request_deadline_s):
        state, adapter, state_degraded = load_viewer(services, query)
        counts, counts_degraded = services.trending.counts(snapshot, now)
        live = services.live.transitions(snapshot, now)
    everything = np.ones(len(snapshot.keys), bool)
    settings = services.settings.ranking
    context = dated(query.context, settings.events, now)
    viewer = view(snapshot, state, context, now, counts, everything, settings.history_decay, live=live)
    scores, boost_degraded = score_rows(viewer, np.array(rows, np.int64), adapter, settings)
    named = tuple(Score(name, *parts) for name, parts in zip(content_ids, scores, strict=True))
    return named, tuple(dict.fromkeys(degraded + state_degraded + counts_degraded + boost_degraded))


def score_rows(
    viewer: Viewer, rows: NDArray, adapter: UserAdapter | None, settings: RankingSettings
) -> tuple[list[tuple[float, dict[str, float]]], tuple[str, ...]]:
    """(score, components) of each row, and what is degraded: the score that fusion by logs and the adapter give the
    title in a recommendation, as a share of the best there could be, and not beyond 1."""
    attention = configured(settings)
    weights = signal_weights(viewer, settings.preset)
    if settings.preset == TUNED:  # attention was learned on top of those weights
        weights = attended(weights, attention.fusion, viewer)
    total = sum(weights.values())
    components: dict[str, NDArray] = {}
    for name, weight in weights.items():
        values = standing(SIGNALS[name](viewer), full=FULL_EVIDENCE.get(name, 0.0))
        part = weight / total * values[rows].astype(np.float64)
        strategy = STRATEGY_OF.get(name, name)
        components[strategy] = components[strategy] + part if strategy in components else part
    proposed = np.sum(list(components.values()), axis=0)
    lift, degraded = lifts(viewer, rows, adapter, settings, attention.history)
    if lift is not None:
        components[BOOST] = np.clip(lift / total, -proposed, 1.0 - proposed)
    scores = np.sum(list(components.values()), axis=0).round(6).tolist()
    parts = np.stack(list(components.values()), axis=1).round(6).tolist()
    return [
        (score, dict(zip(components, row, strict=True))) for score, row in zip(scores, parts, strict=True)
    ], degraded
