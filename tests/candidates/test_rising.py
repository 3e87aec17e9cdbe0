"""New titles: what is wanted now counts for more, the less the snapshot knows of it."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import DRAMAS, NOW, likes, snapshot

from core.candidates.rising import ENOUGH_LIKES, rising
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.flows.proposals import propose
from core.profile.state import UserState, fold
from core.ranking.query import Context
from core.snapshot.snapshot import Snapshot

FAMOUS, KNOWN, NEW, UNWANTED = range(4)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Four titles of the world have 1 000, three, no and no likes so far, the others ten each."""
    made = snapshot(tmp_path_factory.mktemp("rising"))
    known = np.full(len(made), 10.0, np.float32)
    known[[FAMOUS, KNOWN, NEW, UNWANTED]] = 1000.0, ENOUGH_LIKES, 0.0, 0.0
    return replace(made, popularity_all=known)


def viewer_of(world: Snapshot, counts: dict[int, float], liked: int = 0) -> Viewer:
    online = np.zeros(len(world), np.float32)
    for row, count in counts.items():
        online[row] = count
    state = fold(UserState("ann"), enumerate(likes("ann", DRAMAS[:liked]), 1))
    return view(world, state, Context(), NOW, online, np.ones(len(world), bool), 0.8)


def test_of_two_titles_that_are_wanted_alike_the_newer_one_rises(world: Snapshot) -> None:
    scores = rising(viewer_of(world, {FAMOUS: 1e6, KNOWN: 1e6, NEW: 1e6}))
    assert scores[[NEW, KNOWN, FAMOUS]] == pytest.approx([1.0, 0.5, ENOUGH_LIKES / (1000 + ENOUGH_LIKES)], rel=1e-3)


def test_what_nobody_wants_does_not_rise_however_new(world: Snapshot) -> None:
    scores = rising(viewer_of(world, {NEW: 5.0}))
    assert scores[UNWANTED] == 0.0
    assert (scores <= 1.0).all()


def test_what_few_want_rises_little_beside_what_all_want(world: Snapshot) -> None:
    scores = rising(viewer_of(world, {FAMOUS: 1e6, NEW: 1e4}))
    assert scores[NEW] == pytest.approx(0.01, rel=1e-2)


def test_without_any_popularity_nothing_rises_above_the_rest(world: Snapshot) -> None:
    nobody = replace(world, popularity_all=np.zeros(len(world), np.float32))
    assert len(set(rising(viewer_of(nobody, {})).tolist())) == 1


def test_a_new_title_that_everybody_wants_reaches_who_has_a_long_history(world: Snapshot) -> None:
    """Neighbours speak for dramas that fewer want, and without this their silence speaks against the new title."""
    viewer = viewer_of(world, {FAMOUS: 40.0, NEW: 40.0}, liked=30)
    settings = RankingSettings()
    plain = tuple({"similar": 1.3, "sequence": 2.1, "content": 1.2, "graph": 0.9, "context": 1.2} for _ in range(4))
    places = []
    for rise in (0.0, 4.0):
        served = replace(world, fusion=tuple(row | {"rising": rise} for row in plain))
        places.append(propose(replace(viewer, snapshot=served), settings, 50).fused.rows.tolist().index(NEW))
    assert places[1] < places[0]
    assert places[1] < 3
