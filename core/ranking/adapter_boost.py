"""The viewer's adapter at work: fused scores are bent by how well a title answers what the adapter made of the query.

Log-odds gain strength x match, match in [-1, 1]; other scores are multiplied by 1 + strength x match (the original's
form). Its input varies per request: the latest likes, those of the running session counted double, and what the caller
has done since.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.adaptation.codec import UserAdapter
from core.adaptation.fast_tier import FastTier, in_space
from core.adaptation.lora import Lora, delta
from core.adaptation.query import RECENT, query_vector, recency_weights
from core.adaptation.slow_tier import applied, carried_adapter
from core.adaptation.space import Space
from core.candidates.viewer import Viewer
from core.config import RankingSettings
from core.numeric.vectors import Floats
from core.ranking.fusion import Fused
from core.ranking.history_pooling import pooled

PART = "adapter"
Degraded = tuple[str, ...]


def boost(
    fused: Fused,
    viewer: Viewer,
    adapter: UserAdapter | None,
    settings: RankingSettings,
    reach: int,
    pooled_by: Mapping[str, float] | None = None,
) -> tuple[Fused, Degraded]:
    """The first `reach` of the fused titles in their new order, with what the adapter gave or took as one more part.

    ("adapter",) when there are weights that cannot be applied: not finite, or of a generation from which no transfer
    leads into this one. Nothing changes where the adapters are silent: no like yet, or no tier switched on. pooled_by:
    shares of attention mechanisms that make the query of the history; without any it is pooled by recency.
    """
    lift, degraded = lifts(viewer, fused.rows[:reach], adapter, settings, pooled_by)
    if lift is None:
        return fused, degraded
    return fused.bent(fused.gains(lift), PART), degraded


def lifts(
    viewer: Viewer,
    rows: NDArray,
    adapter: UserAdapter | None,
    settings: RankingSettings,
    pooled_by: Mapping[str, float] | None = None,
) -> tuple[NDArray | None, Degraded]:
    """(m,) lift of each row in [-1, 1], or None where the adapters are silent; and ("adapter",) as for `boost`.

    lift = sum over tiers of strength x delta(q) . target / typical length of a target, cut at 1: against the longest
    target, which is three to twelve times the typical one, hardly anything would move.
    """
    space = viewer.snapshot.space
    if space is None:
        return None, (PART,) if adapter is not None and settings.slow_tier else ()
    tiers, degraded = _tiers(space, adapter, viewer.state.fast, settings)
    q = request_query(space, viewer, pooled_by)
    if not tiers or not len(rows) or not q.any():
        return None, degraded
    change = np.zeros(len(q), np.float32)
    for tier, strength in tiers:
        change += np.float32(strength) * delta(tier, q)
    if not np.isfinite(change).all():
        return None, (PART,)
    match = space.targets.take(rows, axis=0) @ (change / typical_length(space))
    return np.minimum(np.maximum(match, -1.0), 1.0), degraded


def request_query(space: Space, viewer: Viewer, pooled_by: Mapping[str, float] | None = None) -> Floats:
    """(d,) unit query of this request; zeros for a viewer who has liked nothing yet. pooled_by: as for `boost`."""
    liked = viewer.liked[-RECENT:]
    rows = viewer.rows[liked]
    usual = query_vector(space, rows, recency_weights(len(liked), viewer.in_session(liked)))
    if not pooled_by:
        return usual
    return pooled(viewer.snapshot, space.sources[rows], rows, viewer.at[liked], viewer.now, usual, pooled_by)


@lru_cache(maxsize=2)  # the active snapshot's space and the one before it
def typical_length(space: Space) -> np.float32:
    """Median length of the targets that are known."""
    lengths = np.sqrt(np.einsum("ij,ij->i", space.targets, space.targets))
    known = lengths[lengths > 0]
    return np.float32(np.median(known)) if len(known) else np.float32(1.0)


def _tiers(
    space: Space, adapter: UserAdapter | None, fast: FastTier | None, settings: RankingSettings
) -> tuple[list[tuple[Lora, float]], Degraded]:
    """The tiers that are switched on and live in this space, each with its strength, and ("adapter",) when one had to
    be left out."""
    slow = adapter if settings.slow_tier else None
    quick = fast if settings.fast_tier and fast is not None and fast.useful else None
    lost = slow is not None and carried_adapter(slow, space) is None
    if quick is not None and quick.generation != space.generation:
        quick = in_space(quick, space)
        lost |= not quick.useful
    strengths = {"base": settings.base_tier, "slow": settings.slow_tier, "fast": settings.fast_tier}
    tiers = [(lora, strengths[name]) for name, lora in applied(space, slow, quick).items() if strengths[name]]
    return tiers, (PART,) if lost else ()
