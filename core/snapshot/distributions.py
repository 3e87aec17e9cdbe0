"""How popular titles are: over time, by time of day, weekday, device and demographic segment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.snapshot.inputs import Interactions

_DAY_S = 86_400
_SEASONS_FROM_S = 2 * 365.25 * _DAY_S
_EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0


def daypart_of(at: NDArray[Any]) -> NDArray[np.int64]:
    """Unix seconds -> 0 night (0-6 o'clock), 1 morning, 2 afternoon, 3 evening (18-24), in UTC."""
    return (np.asarray(at) % _DAY_S // 21_600).astype(np.int64)


def weekend_of(at: NDArray[Any]) -> NDArray[np.int64]:
    """Unix seconds -> 1 on Saturday and Sunday, else 0, in UTC."""
    return ((np.asarray(at) // _DAY_S + _EPOCH_WEEKDAY) % 7 >= 5).astype(np.int64)


def season_of(at: NDArray[Any]) -> NDArray[np.int64]:
    """Unix seconds -> 0 December to February, 1 to May, 2 to August, 3 to November, in UTC.

    -1, unknown, for all where nine tenths of the events lie within less than two years: what was new then would pass
    for what is in season.
    """
    at = np.asarray(at, np.float64)
    if not len(at) or float(np.diff(np.quantile(at, (0.05, 0.95)))[0]) < _SEASONS_FROM_S:
        return np.full(len(at), -1, np.int64)
    month = at.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12  # January is 0
    return np.asarray((month + 1) % 12 // 3, dtype=np.int64)


def decayed_popularity(
    row: NDArray[Any], at: NDArray[Any], n: int, now: float, half_life_s: float
) -> NDArray[np.float32]:
    """(n,) sum of 2^(-age / half_life_s) over the positives of each title; an event from the future counts as new."""
    age = np.maximum(now - at, 0.0)
    return np.bincount(row, weights=np.exp2(-age / half_life_s), minlength=n).astype(np.float32)


def title_share(row: NDArray[Any], n: int) -> NDArray[np.float64]:
    """(n,) add-one share of each title in all positives; sums to 1."""
    return (np.bincount(row, minlength=n) + 1.0) / (len(row) + n)


def conditional(
    condition: NDArray[Any], row: NDArray[Any], conditions: int, share: NDArray[Any], prior_events: float
) -> NDArray[np.float32]:
    """(conditions, n) P(title | condition) from positives (condition, row), each (m,); condition -1 is unknown.

    Dirichlet smoothing (Zhai & Lafferty 2004): (count + prior_events share) / (total + prior_events), share (n,) being
    everybody's, so that a condition seen rarely looks like everybody. Rows sum to 1.
    """
    n, known = len(share), condition >= 0
    cell = condition[known].astype(np.int64) * n + row[known]
    counts = np.bincount(cell, minlength=conditions * n).reshape(conditions, n)
    total = counts.sum(axis=1, keepdims=True)
    return ((counts + prior_events * share) / (total + prior_events)).astype(np.float32)


def segment_popularity(
    interactions: Interactions,
    user: NDArray[Any],
    row: NDArray[Any],
    share: NDArray[Any],
    prior_events: float,
    min_users: int,
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names and (m, n) P(title | segment) of the demographic segments that at least `min_users` users named.

    user, row: the positives. Smaller segments are left out: too noisy, and they would tell about single people.
    """
    named = interactions.segments  # (users, 3)
    members = np.bincount(named[named >= 0], minlength=len(interactions.segment_names))
    kept = np.flatnonzero(members >= min_users)
    recode = np.full(len(members) + 1, -1)  # the last entry keeps -1
    recode[kept] = np.arange(len(kept))
    condition = recode[named][user].T.ravel()  # each positive counts for its user's age band, region and language
    table = conditional(condition, np.tile(row, 3), len(kept), share, prior_events)
    return tuple(interactions.segment_names[code] for code in kept), table
