"""The path of the online metrics, for administrators."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field, TypeAdapter
from typing_extensions import TypedDict

from core.api.answers import rfc3339
from core.api.auth import administrator
from core.api.http import Call, Route
from core.api.schemas import Moment, Strict
from core.flows.online_metrics import DAY_S, WINDOW_S, as_records, online_metrics

HOUR_S = 3600.0
LATEST_S = 7 * DAY_S  # what is told without a period


class MetricsBody(Strict):
    """A period, until now by default, and how long after a title was shown a reaction counts."""

    since: AwareDatetime
    until: AwareDatetime | None = None
    window_hours: Annotated[float, Field(gt=0, le=720)] = Field(
        WINDOW_S / HOUR_S, description="after a title was shown, in which a reaction counts for it"
    )


class MetricsRow(TypedDict):
    """`day` is empty for the whole period; `by` is all, strategy or variant (named experiment:variant)."""

    day: str
    by: str
    name: str
    answers: int
    viewers: Annotated[int, Field(description="who were shown something")]
    impressions: Annotated[int, Field(description="titles shown")]
    ctr: Annotated[float | None, Field(description="share of impressions that were opened, or more")]
    precision_at_1: Annotated[
        float | None, Field(description="share of the titles at the first k places that were liked")
    ]
    precision_at_5: Annotated[float | None, Field(description="as precision_at_1")]
    precision_at_10: Annotated[float | None, Field(description="as precision_at_1")]
    coverage: Annotated[float | None, Field(description="share of the catalogue that was shown at all")]
    gini: Annotated[
        float | None, Field(description="of how often each title was shown; 0: all equally often, 1: one title only")
    ]
    latency_p50_ms: Annotated[
        float | None, Field(description="of a strategy, in the answers in which it proposed something")
    ]
    latency_p95_ms: float | None


class MetricsOut(TypedDict):
    """How recommendations did: the whole period's rows first, then each day's. null: nothing to divide by."""

    since: Moment
    until: Moment
    window_hours: float
    metrics: list[MetricsRow]


def answer_latest_metrics(call: Call) -> MetricsOut:
    """How recommendations did in the last seven days: CTR, precision@k, coverage, latency."""
    return _told(call, call.now - LATEST_S, call.now, WINDOW_S)


def answer_metrics(call: Call) -> MetricsOut:
    """How recommendations did in a period of at most 92 days: CTR, precision@k, coverage, latency."""
    body: MetricsBody = call.body
    until = body.until.timestamp() if body.until else call.now
    return _told(call, body.since.timestamp(), until, body.window_hours * HOUR_S)


def _told(call: Call, since: float, until: float, window_s: float) -> MetricsOut:
    found = as_records(online_metrics(call.services, since, until, window_s))
    rows = [MetricsRow(**record) for record in found]  # type: ignore[typeddict-item]
    return {"since": rfc3339(since), "until": rfc3339(until), "window_hours": window_s / HOUR_S, "metrics": rows}


METRIC_ROUTES = {
    "/api/v1/metrics": {
        "GET": Route(answer_latest_metrics, caller=administrator),
        "POST": Route(answer_metrics, TypeAdapter(MetricsBody), caller=administrator),
    }
}
