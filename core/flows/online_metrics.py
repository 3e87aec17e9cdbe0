"""The story of the online metrics: how recommendations did, out of what was shown and what viewers made of it.

- CTR: of the titles shown, the share that was opened (or more).
- precision@k: of the titles shown at the first k places, the share that was liked: watched by half, rated above 3.4,
  or said to be liked.
- coverage: the share of the catalogue that was shown at all, and the Gini coefficient of how often each title was
  (0: all equally often, 1: one title only), titles never shown included.
- latency: the time that a strategy took in the answers in which it proposed something.

Each for everything, for every strategy (whose share set a title apart) and for every variant of an experiment (of
users while it served them), in the whole period and by day. Explicit reactions count for the answer they name, others
for the last answer that showed the title within the window.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from core.errors import InvalidInput
from core.flows.services import Services
from core.stores.impressions import DEPTHS, Shown

DAY_S = 86_400.0
WINDOW_S = DAY_S  # a title shown tonight is watched tonight or tomorrow; later it was found another way
LONGEST_S = 92 * DAY_S
_UNITS = {"m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S}


@dataclass(frozen=True, slots=True)
class OnlineMetrics:
    """One row: `by`, `name` and `day` as in core.stores.impressions; None where there is nothing to divide by."""

    day: str
    by: str
    name: str
    answers: int
    viewers: int
    impressions: int
    ctr: float | None
    precision_at_1: float | None
    precision_at_5: float | None
    precision_at_10: float | None
    coverage: float | None
    gini: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None


def online_metrics(
    services: Services, since: float, until: float, window_s: float = WINDOW_S, patient: bool = False
) -> list[OnlineMetrics]:
    """Rows for the period, the whole period's first. Raises InvalidInput for a period that is empty or too long,
    StoreUnavailable; patient: without a time limit, for jobs and people who wait."""
    if not 0 < until - since <= LONGEST_S:
        raise InvalidInput(f"a period has between a moment and {LONGEST_S / DAY_S:.0f} days")
    if not 0 < window_s <= 30 * DAY_S:
        raise InvalidInput("a window has between a moment and 30 days")
    shown, catalogue = services.impressions.shown(since, until, window_s, patient)
    return [row(one, catalogue) for one in shown]


def row(shown: Shown, catalogue: int) -> OnlineMetrics:
    """The metrics of one group; catalogue: number of titles there are."""
    precision = [_share(liked, top) for liked, top in zip(shown.top_liked, shown.top, strict=True)]
    titles = max(catalogue, shown.titles)  # what was shown may have left the catalogue meanwhile
    return OnlineMetrics(
        day=shown.day,
        by=shown.by,
        name=shown.name,
        answers=shown.answers,
        viewers=shown.viewers,
        impressions=shown.impressions,
        ctr=_share(shown.clicked, shown.impressions),
        **{f"precision_at_{k}": value for k, value in zip(DEPTHS, precision, strict=True)},
        coverage=_share(shown.titles, titles),
        gini=gini(titles, shown.titles, shown.impressions, shown.place_sum),
        latency_p50_ms=shown.latency_ms[0],
        latency_p95_ms=shown.latency_ms[1],
    )


def gini(titles: int, shown: int, impressions: int, place_sum: float) -> float | None:
    """G = 2 sum_i i x_i / (n sum_i x_i) - (n + 1) / n for counts x_1 <= ... <= x_n of n titles, of which `shown` are
    above 0; place_sum: sum_j j x_j over those alone. None where nothing was shown."""
    if not impressions:
        return None
    ranked = place_sum + (titles - shown) * impressions  # titles that were never shown come first
    return 2.0 * ranked / (titles * impressions) - (titles + 1) / titles


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def seconds(text: str) -> float:
    """7d, 12h, 30m or 2w as seconds. Raises InvalidInput."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if found is None:
        raise InvalidInput(f"{text!r} is no duration: write 30m, 12h, 7d or 2w")
    return int(found.group(1)) * _UNITS[found.group(2)]


def as_records(rows: Sequence[OnlineMetrics]) -> list[dict[str, Any]]:
    """Plain JSON form; None where there is nothing to divide by."""
    return [asdict(one) for one in rows]


def as_csv(rows: Sequence[OnlineMetrics]) -> str:
    """With a header; what is unknown is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(OnlineMetrics)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_records(rows))
    return text.getvalue()


LABELS = ("day", "by", "name")


def as_prometheus(rows: Sequence[OnlineMetrics]) -> str:
    """Gauges `sona_online_...` of the whole period in Prometheus' text format; a scraper has its own days."""
    lines: list[str] = []
    for field in fields(OnlineMetrics):
        if field.name not in LABELS:
            known = [(one, value) for one in rows if not one.day and (value := getattr(one, field.name)) is not None]
            lines += [f"# TYPE sona_online_{field.name} gauge"] if known else []
            lines += [
                f'sona_online_{field.name}{{by="{_label(one.by)}",name="{_label(one.name)}"}} {value:g}'
                for one, value in known
            ]
    return "".join(f"{line}\n" for line in lines)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
