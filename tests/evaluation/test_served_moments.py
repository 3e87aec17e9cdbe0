"""Moments that fusion learns from are those that the serving flow sees."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from core.config import RankingSettings
from core.evaluation import serving
from core.evaluation.dataset import Dataset
from core.evaluation.histories import Histories
from core.evaluation.moments import moments
from core.evaluation.serving import Variant
from core.evaluation.splits import Split, leave_one_out, stream
from core.flows.proposals import propose
from core.snapshot.snapshot import Snapshot

Make = Callable[..., Dataset]

PLAIN = RankingSettings(
    base_tier=0.0,
    slow_tier=0.0,
    fast_tier=0.0,
    pattern_strength=0.0,
    mmr_lambda=1.0,
    genre_cap=1.0,
    strategy_deadline_ms=inf,
)


@pytest.fixture(scope="module")
def snapshot(two_tastes_split: Split, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return serving.build_snapshot(two_tastes_split, tmp_path_factory.mktemp("snapshot"))


def test_the_signals_of_a_moment_make_the_list_that_is_served(two_tastes_split: Split, snapshot: Snapshot) -> None:
    """Without adapters, patterns and diversity the fused signals alone decide."""
    split = two_tastes_split
    cases = split.cases.take(np.arange(60))
    served = serving.recommend(Variant(PLAIN), split, snapshot, cases).lists
    ids = [title.content_id for title in split.data.titles]
    for shown, moment in zip(served, moments(split, snapshot, cases, PLAIN), strict=True):
        fused = propose(moment.viewer, PLAIN, 10).fused
        assert [snapshot.content_id(int(row)) for row in fused.rows[:10]] == [ids[code] for code in shown if code >= 0]


def test_the_target_of_a_moment_is_what_was_liked_next_and_may_be_recommended(
    two_tastes_split: Split, snapshot: Snapshot
) -> None:
    split = two_tastes_split
    cases = split.cases.take(np.arange(60))
    for i, moment in enumerate(moments(split, snapshot, cases, PLAIN)):
        assert snapshot.content_id(moment.target) == split.data.titles[cases.targets.row(i)[0]].content_id
        assert moment.viewer.allowed[moment.target]
        assert moment.viewer.state.seq == cases.visible[i]


def test_what_others_went_on_to_after_the_cut_rises_for_who_comes_later(make: Make, tmp_path: Path) -> None:
    """Before the cut nobody goes from title 0 to title 9; after it everybody does, and only the live signal knows."""
    rng = np.random.default_rng(5)
    rows = [(user, int(item), 5.0, 100.0 * user + place)
            for user in range(60) for place, item in enumerate(rng.permutation(12)[:4])]  # fmt: skip
    for user in range(60, 75):
        rows += [(user, item, 5.0, 100.0 * user + place) for place, item in enumerate((0, 9))]
    split = stream(make(rows), cut=0.88)
    assert split.data.at[split.fit].max() < 6000.0
    snapshot = serving.build_snapshot(split, tmp_path)
    fixed = replace(snapshot, fusion=tuple({"similar": 1.0, "live": 3.0} for _ in range(4)))
    asked = split.cases.take(np.flatnonzero((split.data.item[split.cases.before] == 9) & (split.cases.user >= 60)))
    lists = {live: serving.recommend(Variant(PLAIN, live=live), split, fixed, asked).lists for live in (False, True)}
    places = {live: [shown.tolist().index(9) if 9 in shown else 99 for shown in lists[live]] for live in lists}
    assert len(asked) == 15
    assert places[True][0] == places[False][0]  # the first has nobody to follow
    assert places[True][1:] == [0] * 14
    assert max(places[False]) > 0


@pytest.mark.parametrize("timed", [True, False])
def test_without_times_a_user_is_adapted_once_as_after_an_import(
    two_tastes_split: Split, snapshot: Snapshot, timed: bool
) -> None:
    split = leave_one_out(replace(two_tastes_split.data, timed=timed))
    longest = int(split.cases.visible.argmax())
    users = Histories(split, snapshot)
    state, _ = users.at(int(split.cases.user[longest]), int(split.cases.visible[longest]))
    assert state.seq == split.cases.visible[longest] > 10
    assert (sum(users.verdicts.values()) == 1) != timed
