"""Which attention mechanisms work in a request: the configured ones, or those proposed for its type."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from core.attention import names
from core.attention.fusion import BEST, MECHANISMS
from core.attention.select import SELECTED, WITHOUT_WORDS, Attending, observed, only, shares_of, types_of
from core.config import RankingSettings
from core.errors import ConfigurationError
from core.flows.route import Routed
from core.flows.services import Services
from core.snapshot.snapshot import Snapshot


def configured(settings: RankingSettings) -> Attending:
    """The mechanisms that the settings name; none where they leave it to selection.

    Raises ConfigurationError for one that there is not, or that cannot learn fusion.
    """
    return _configured(settings.fusion_attention, settings.history_attention)


@lru_cache(maxsize=64)  # experiments may set them too, but there are few
def _configured(fusion: str, history: str) -> Attending:
    return Attending(
        _named("fusion_attention", fusion, (BEST, *MECHANISMS)), _named("history_attention", history, names())
    )


def _named(setting: str, name: str, choices: Collection[str]) -> Mapping[str, float]:
    if name in ("", SELECTED):
        return {}
    if name not in choices:
        raise ConfigurationError(f"{setting} {name!r} is not one of {', '.join([SELECTED, *choices])}")
    return {name: 1.0}


def attending(
    services: Services, settings: RankingSettings, snapshot: Snapshot, routed: Routed | None, now: float
) -> tuple[Attending, tuple[str, ...]]:
    """The mechanisms for a request, and what is degraded. Selection is by the type of the query, corrected by observed
    rewards: for fusion among those that the snapshot has learned, for the history among all."""
    fixed = configured(settings)
    among_learned = settings.fusion_attention == SELECTED and bool(snapshot.attention)
    if not among_learned and settings.history_attention != SELECTED:
        return fixed, ()
    of_type = only(WITHOUT_WORDS) if routed is None else types_of(routed.routing)
    counts, _, degraded = services.routing.learned(now)
    seen = observed(counts)
    return Attending(
        shares_of(of_type, *seen, snapshot.attention) if among_learned else fixed.fusion,
        shares_of(of_type, *seen, names()) if settings.history_attention == SELECTED else fixed.history,
    ), degraded
