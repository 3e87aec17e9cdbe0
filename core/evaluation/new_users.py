"""How fast a new user is understood: the same future, foretold after none, one, ... five interactions.

Users without an event before the cut who do at least five things and like something afterwards. At the moment of the
sixth event each of them gets six lists, made as if only the first 0, 1, ... 5 events were known; what these five were
about appears in none. The targets are all later likes, the same for every list, so that the steps are compared on the
same users and titles. Frozen after nothing is the first row; popularity, online and of all time, is what everybody
would get.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from core.candidates.gather import top
from core.candidates.viewer import normalise_counts
from core.catalog import content_key
from core.evaluation.answers import Progress
from core.evaluation.batches import OnlineCounts
from core.evaluation.histories import Histories
from core.evaluation.metrics import K, Ragged, accuracy, paired_difference
from core.evaluation.serving import Variant, counted_in_service, restricted
from core.evaluation.splits import Cases, Split
from core.evaluation.summary import as_record, with_errors
from core.flows.recommend import rank
from core.ranking.query import Filters, Query
from core.ranking.rules import allowed_rows
from core.snapshot.snapshot import Snapshot

STEPS = 5
METRICS = (f"ndcg@{K}", f"precision@{K}")
POPULARITY = "popularity"


def newcomers(split: Split) -> Cases:
    """One case per new user, in order of time: `visible` is STEPS, `now` the next event's time, targets all later
    likes of ranked titles that the first events were not about."""
    data, found = split.data, []
    ranked = np.zeros(len(data.titles), bool)
    ranked[split.catalogue] = True
    for user in range(data.users):
        events = split.timeline.row(user)
        if len(events) <= STEPS or split.fit[events].any():
            continue
        first, later = events[:STEPS], events[STEPS:]
        liked = np.unique(data.item[later[data.positive[later]]])
        targets = liked[ranked[liked] & ~np.isin(liked, data.item[first])]
        if len(targets):
            found.append((int(later[0]), user, targets))
    found.sort(key=lambda case: case[0])
    before = np.array([index for index, _, _ in found], np.int64)
    users = np.array([user for _, user, _ in found], np.int32)
    start = np.concatenate([[0], np.cumsum([len(targets) for _, _, targets in found])]).astype(np.int64)
    values = np.concatenate([np.empty(0, np.int32), *(targets for _, _, targets in found)])
    steps = np.full(len(found), STEPS, np.int32)
    return Cases(users, steps, np.zeros_like(steps), data.at[before], before, Ragged(values, start))


def new_user_curve(
    split: Split,
    snapshot: Snapshot,
    variant: Variant,
    users: Histories | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """As plain JSON: `users`; `popularity`, and `steps`, a row for each number of interactions known, with NDCG@10 and
    precision@10, their standard errors over users, and the paired difference to the step before and to popularity."""
    cases = newcomers(split)
    lists = _lists(split, snapshot, variant, users or Histories(split, snapshot), cases, progress)
    values = {name: accuracy(found, cases.targets) for name, found in lists.items()}
    return {
        "users": len(cases),
        POPULARITY: with_errors(_chosen(values[POPULARITY]), cases.user),
        "steps": [
            with_errors(_chosen(values[step]), cases.user)
            | {"gain": _gap(values, step, max(step - 1, 0), cases), "lead": _gap(values, step, POPULARITY, cases)}
            for step in range(STEPS + 1)
        ],
    }


def _chosen(values: dict[str, NDArray]) -> dict[str, NDArray]:
    return {metric: values[metric] for metric in METRICS}


def _gap(values: dict[int | str, dict[str, NDArray]], ours: int, theirs: int | str, cases: Cases) -> dict[str, Any]:
    return {
        metric: as_record(paired_difference(values[ours][metric], values[theirs][metric], cases.user))
        for metric in METRICS
    }


def _lists(
    split: Split, snapshot: Snapshot, variant: Variant, users: Histories, cases: Cases, progress: Progress
) -> dict[int | str, NDArray]:
    """System or number of interactions known -> (m, K) item codes, -1 where a list ends."""
    data, settings = split.data, replace(variant.settings, strategy_deadline_ms=inf)
    rows = snapshot.rows(np.array([content_key(title.content_id) for title in data.titles], np.uint64))
    codes = np.full(len(snapshot), -1, np.int32)
    codes[rows] = np.arange(len(rows))
    served = restricted(snapshot, rows[split.catalogue])
    counters = OnlineCounts(split, settings.popularity_half_life_days, counted_in_service(data))
    counts = np.zeros(len(snapshot), np.float32)
    names: list[int | str] = [*range(STEPS + 1), POPULARITY]
    lists = {name: np.full((len(cases), K), -1, np.int32) for name in names}
    for case, user in enumerate(cases.user.tolist()):
        now = float(cases.now[case])
        counts[rows] = counters.advance(int(cases.before[case]), now)
        query = Query(data.user_ids[user], limit=K, exclude=users.titles(user, 0, STEPS))
        for step in range(STEPS + 1):
            state, adapter = users.at(user, step)
            shown = [item.row for item in rank(served, state, counts, query, settings, now, adapter).items]
            lists[step][case, : len(shown)] = codes[shown]
        allowed = allowed_rows(served, users.at(user, 0)[0], Filters(), query.exclude, True, now)
        popular = top(normalise_counts(counts, snapshot.popularity_all), allowed, K).rows
        lists[POPULARITY][case, : len(popular)] = codes[popular]
        progress("new users", case + 1, len(cases))
    return lists


def new_user_table(curve: dict[str, Any]) -> Table:
    """One row per number of interactions known; what a step gains over the one before, with its 95 % interval."""
    title = f"{curve['users']} new users: the same later likes, foretold after so many interactions"
    table = Table(title=title, title_justify="left")
    for column in ("known", *METRICS, "ndcg gained by this step", "against popularity"):
        table.add_column(column, justify="left" if column == "known" else "right", no_wrap=True)
    popularity = curve[POPULARITY]
    table.add_row(POPULARITY, *(_cell(popularity, metric) for metric in METRICS), "", "")
    for step, row in enumerate(curve["steps"]):
        gained = _interval(row["gain"][METRICS[0]]) if step else ""
        known = f"{step}" if step else "0 (frozen)"
        table.add_row(known, *(_cell(row, m) for m in METRICS), gained, _interval(row["lead"][METRICS[0]]))
    return table


def _cell(row: dict[str, Any], metric: str) -> str:
    value, error = row[metric], row[f"{metric}_se"]
    return "-" if value is None else f"{value:.4f}" + ("" if error is None else f" ±{error:.4f}")


def _interval(gap: dict[str, Any]) -> str:
    if gap["difference"] is None:
        return "-"
    interval = "" if gap["low"] is None else f" [{gap['low']:+.4f}, {gap['high']:+.4f}]"
    return f"{gap['difference']:+.4f}{interval}"
