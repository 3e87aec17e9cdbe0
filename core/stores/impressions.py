"""What the flows need to say how recommendations do: what was shown, counted with what viewers made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

DEPTHS = (1, 5, 10)  # k of precision@k


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown to viewers in one day or in the whole period, altogether or by one strategy or variant.

    by: all, strategy or variant; name: which one, "" for all, experiment:variant; day: YYYY-MM-DD in UTC, "" for the
    whole period. impressions: titles shown, of which `clicked` were opened (or more) and `liked`; top and top_liked:
    the same at the first k places, in the order of DEPTHS. titles: different ones shown; place_sum: see `gini` of
    core.flows.online_metrics. latency_ms: median and 95th percentile of the strategies' time, None where unknown.
    """

    by: str
    name: str
    day: str
    answers: int
    viewers: int
    impressions: int
    clicked: int
    liked: int
    top: tuple[int, ...]
    top_liked: tuple[int, ...]
    titles: int
    place_sum: float
    latency_ms: tuple[float | None, float | None]


class Impressions(Protocol):
    """Impressions in Cloud SQL. All methods raise StoreUnavailable without an answer."""

    def shown(self, since: float, until: float, window_s: float, patient: bool = False) -> tuple[list[Shown], int]:
        """Everything shown from `since` to before `until`, by all, strategy and variant, in all and by day; and the
        number of titles in the catalogue.

        What a viewer does to a title counts for the answer that it names, or else for the last one that showed the
        title, when it happens less than `window_s` after that. patient: without a time limit.
        """
