"""What a variant may change: settings of the ranking, and the weight of search personalization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any, get_type_hints

from core.attention import names
from core.attention.fusion import BEST, MECHANISMS
from core.attention.select import SELECTED
from core.config import RankingSettings
from core.errors import InvalidInput
from core.ranking.fusion import FUSIONS, PRESETS
from core.ranking.weights import TUNED

SEARCH_WEIGHT = "search_weight"  # w of personalized search; no ranking setting, so applied where results are blended

# Settings of the instance, not of an answer: what they configure is shared by all variants.
_SHARED = {"kindred_viewers", "popularity_half_life_days", "counters_max_age_s", "events"}
_CHOICES = {
    "preset": {TUNED, *PRESETS},
    "fusion": set(FUSIONS),
    "fusion_attention": {"", BEST, SELECTED, *MECHANISMS},
    "history_attention": {"", SELECTED, *names()},
}
_SHARES = {"mmr_lambda", "genre_cap", "history_decay", "exploration_share", SEARCH_WEIGHT}
_LARGEST = 1000.0  # of every other number: far beyond what makes sense, and nothing overflows


@cache
def variable() -> Mapping[str, type]:
    """Setting -> type of its values."""
    hints = get_type_hints(RankingSettings)
    kinds: dict[str, type] = {item.name: hints[item.name] for item in fields(RankingSettings)}
    return {name: kind for name, kind in kinds.items() if name not in _SHARED} | {SEARCH_WEIGHT: float}


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raises InvalidInput naming the setting that does not exist, or the value that it cannot have."""
    for name, value in overrides.items():
        kind = variable().get(name)
        if kind is None:
            raise InvalidInput(f"{name!r} cannot be varied; what can: {', '.join(sorted(variable()))}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise InvalidInput(f"{name} must be {kind.__name__}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise InvalidInput(f"{name} must be one of {', '.join(sorted(_CHOICES[name]))}")
        if isinstance(value, int | float) and kind is not bool and not _possible(name, value):
            raise InvalidInput(f"{name} cannot be {value}")


def _possible(name: str, value: float) -> bool:
    lowest = 1.0 if variable()[name] is int else 0.0
    return math.isfinite(value) and lowest <= value <= (1.0 if name in _SHARES else _LARGEST)


def overridden(settings: RankingSettings, overrides: Mapping[str, Any]) -> RankingSettings:
    """The settings that a variant serves with."""
    own = {name: value for name, value in overrides.items() if name != SEARCH_WEIGHT}
    return replace(settings, **own) if own else settings
