"""How much each strategy counts for whom."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapting import DRAMAS, NOW, likes, snapshot

from core.candidates.viewer import Viewer, view
from core.errors import ConfigurationError
from core.interaction import Onboarding
from core.profile.state import UserState, fold
from core.ranking.query import Context
from core.ranking.weights import SCALE, signal_weights, strategy_weights
from core.snapshot.snapshot import Snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder: Path = tmp_path_factory.mktemp("weights")
    return snapshot(folder)


def viewer_of(world: Snapshot, liked: int, onboarding: Onboarding | None = None) -> Viewer:
    state = fold(UserState("ann"), enumerate(likes("ann", DRAMAS[:liked]), 1))
    everything, nothing = np.ones(len(world), bool), np.zeros(len(world), np.float32)
    return view(world, replace(state, onboarding=onboarding), Context(), NOW, nothing, everything, 0.8)


def test_the_longer_the_history_the_less_popularity_counts(world: Snapshot) -> None:
    few, some, many = (strategy_weights(viewer_of(world, liked), "tuned")["context"] for liked in (1, 8, 30))
    assert few > some > many


@pytest.mark.parametrize("preset", ["tuned", "sona", "classic"])
def test_who_has_five_likes_is_no_cold_start_any_more(world: Snapshot, preset: str) -> None:
    about = Onboarding("o", "ann", NOW, ("drama",))
    shares = [strategy_weights(viewer_of(world, liked, about), preset).get("cold_start", 0.0) for liked in (0, 1, 3, 5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0 == shares[-1]


def test_signals_of_a_preset_share_what_it_gives_the_strategy(world: Snapshot) -> None:
    viewer = viewer_of(world, 10)
    weights = signal_weights(viewer, "sona")
    assert sum(weights.values()) == pytest.approx(SCALE)
    assert weights["similar"] + weights["following"] + weights["sequence"] == pytest.approx(0.3 * SCALE)
    assert weights["graph"] == pytest.approx(0.4 * SCALE)


def test_weights_that_a_snapshot_has_learned_replace_the_fixed_ones(world: Snapshot) -> None:
    learned = tuple({"context": 1.0, "graph": float(place)} for place in range(4))
    viewer = viewer_of(replace(world, fusion=learned), 10)
    assert signal_weights(viewer, "tuned") == {"context": 1.0, "graph": 2.0}


def test_an_unknown_preset_is_named(world: Snapshot) -> None:
    with pytest.raises(ConfigurationError, match="best"):
        signal_weights(viewer_of(world, 3), "best")
