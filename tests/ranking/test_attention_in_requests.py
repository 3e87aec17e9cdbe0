"""Attention at work in the flow that answers requests: it weighs the signals, and it can pool the history."""

from collections import Counter
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot

from core.attention import names
from core.attention.fusion import FEATURES, FusionAttention
from core.attention.select import QUERY_TYPES, Attending, observed, only, shares_of
from core.candidates.signals import STRATEGY_OF
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.errors import ConfigurationError
from core.evaluation.attention_stream import Selection
from core.flows.attending import configured
from core.flows.recommend import rank
from core.flows.score import score_rows
from core.profile.state import UserState, fold
from core.ranking.adapter_boost import request_query
from core.ranking.attention_fit import DIMS, first_keys
from core.ranking.attention_fusion import attended, circumstances_of
from core.ranking.history_pooling import pooled, side_inputs
from core.ranking.query import Context, Query
from core.ranking.weights import signal_weights
from core.snapshot.snapshot import Snapshot

SETTINGS = RankingSettings(strategy_deadline_ms=float("inf"))
HISTORY = (*DRAMAS[:3], *COMEDIES[:2])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("attention"))


def state_of() -> UserState:
    return fold(UserState("ann"), enumerate(likes("ann", HISTORY), 1))


def viewer_of(world: Snapshot, now: float = NOW) -> Viewer:
    everything, nothing = np.ones(len(world), bool), np.zeros(len(world), np.float32)
    return view(world, state_of(), Context(device="tv"), now, nothing, everything, 0.8)


def learned(world: Snapshot, strength: float) -> FusionAttention:
    """Attention that in the evening, in UTC, turns to what `context` says."""
    signals = tuple(signal_weights(viewer_of(world), "tuned"))
    keys = first_keys(len(signals)).astype(np.float32)
    embedding = np.zeros((len(FEATURES), DIMS), np.float32)
    embedding[FEATURES.index("evening")] = strength * keys[signals.index("context")]
    strategies = tuple(STRATEGY_OF.get(name, name) for name in signals)
    return FusionAttention("dot_product", FEATURES, signals, strategies, embedding, keys)


def with_attention(world: Snapshot, strength: float) -> Snapshot:
    return replace(world, attention={"dot_product": learned(world, strength)})


def at_hour(hour: int) -> float:
    return NOW // 86_400 * 86_400 + hour * 3600 + 60 + 86_400


def test_circumstances_are_those_of_the_moment(world: Snapshot) -> None:
    holding = circumstances_of(viewer_of(world, at_hour(20)))
    assert {"evening", "device tv", "session 0", "history 1"} <= set(holding)
    assert "night" in circumstances_of(viewer_of(world, at_hour(1)))
    saturday, monday = 1_700_000_000 // 604_800 * 604_800 + 2 * 86_400, 1_700_000_000 // 604_800 * 604_800 + 4 * 86_400
    assert "weekend" in circumstances_of(viewer_of(world, saturday + 1000 * 604_800))
    assert "working day" in circumstances_of(viewer_of(world, monday + 1000 * 604_800))


def test_in_the_circumstances_it_learned_a_signal_counts_more_and_in_others_as_ever(world: Snapshot) -> None:
    shown = with_attention(world, 1.0)
    morning, evening = viewer_of(shown, at_hour(9)), viewer_of(shown, at_hour(20))
    plain = signal_weights(morning, "tuned")
    assert attended(plain, {"dot_product": 1.0}, morning) == plain
    changed = attended(plain, {"dot_product": 1.0}, evening)
    assert changed["context"] > 1.3 * plain["context"]
    assert all(changed[name] < plain[name] for name in plain if name != "context")
    half = attended(plain, {"dot_product": 0.5, "sparsemax": 0.5}, evening)  # the other one has learned nothing
    assert attended(plain, {"best": 1.0}, evening) == changed
    assert half["context"] == pytest.approx((changed["context"] + plain["context"]) / 2)
    assert attended(plain | {"cold_start": 3.0}, {"dot_product": 1.0}, evening)["cold_start"] == 3.0


def test_requests_and_scores_use_it_and_one_setting_switches_it_off(world: Snapshot) -> None:
    shown = with_attention(world, 2.0)
    nothing = np.zeros(len(world), np.float32)

    def weights(settings: RankingSettings, hour: int, attention: Attending | None = None) -> dict[str, float]:
        now = at_hour(hour)
        return dict(rank(shown, state_of(), nothing, Query("ann"), settings, now, attention=attention).weights)

    off = replace(SETTINGS, fusion_attention="")
    assert weights(SETTINGS, 9) == weights(off, 9) == weights(off, 20)
    assert weights(SETTINGS, 20)["context"] > weights(off, 20)["context"]
    assert weights(off, 20, Attending({"dot_product": 1.0})) == weights(SETTINGS, 20)
    assert weights(replace(off, fusion_attention="sparsemax"), 20) == weights(off, 20)  # it has learned nothing here
    assert weights(replace(SETTINGS, preset="sona"), 20) == weights(replace(off, preset="sona"), 20)
    viewer, rows = viewer_of(shown, at_hour(20)), np.arange(5)
    on, without = (score_rows(viewer, rows, None, settings)[0] for settings in (SETTINGS, off))
    assert on != without


def test_attention_costs_a_request_microseconds(world: Snapshot) -> None:
    viewer = viewer_of(with_attention(world, 1.0), at_hour(20))
    plain, taken = signal_weights(viewer, "tuned"), []
    for _ in range(200):
        started = perf_counter()
        attended(plain, {"dot_product": 1.0}, viewer)
        taken.append(perf_counter() - started)
    assert np.median(taken) < 60e-6 * 3  # 60 us on a machine that does nothing else


def test_unknown_mechanisms_are_named_by_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="fusion_attention"):
        configured(replace(SETTINGS, fusion_attention="gat"))
    with pytest.raises(ConfigurationError, match="history_attention"):
        configured(replace(SETTINGS, history_attention="none"))
    assert configured(replace(SETTINGS, history_attention="gat")).history == {"gat": 1.0}


@pytest.mark.parametrize("mechanism", names())
def test_every_mechanism_pools_a_history_with_what_is_known_of_it(world: Snapshot, mechanism: str) -> None:
    viewer = viewer_of(world)
    assert world.space is not None
    usual = request_query(world.space, viewer)
    found = request_query(world.space, viewer, {mechanism: 1.0})
    assert found.shape == usual.shape
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    rows = viewer.rows
    assert np.array_equal(request_query(world.space, viewer, {mechanism: 0.0}), usual)
    assert np.array_equal(
        pooled(world, world.space.sources[rows[:0]], rows[:0], viewer.at[:0], NOW, 0 * usual, {mechanism: 1.0}),
        0 * usual,
    )


def test_pooling_by_time_forgets_what_is_long_ago(world: Snapshot) -> None:
    assert world.space is not None
    rows = np.array([world.row(DRAMAS[0]), world.row(COMEDIES[0])])
    vectors = world.space.sources[rows]
    usual = vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0))
    long_ago = np.array([NOW - 300 * 86_400, NOW])
    found = pooled(world, vectors, rows, long_ago, NOW, usual, {"temporal": 1.0})
    near, far = (float(found @ vector / np.linalg.norm(vector)) for vector in (vectors[1], vectors[0]))
    assert near == pytest.approx(1, abs=1e-3)
    assert near > far


def test_side_inputs_say_how_titles_hang_together(world: Snapshot) -> None:
    rows = np.array([world.row(name) for name in (COMEDIES[0], DRAMAS[1], DRAMAS[0])])
    side = side_inputs(world, rows, np.array([NOW - 86_400, NOW - 3600, NOW]), NOW)
    hops = side["hops"][0]
    assert hops[2] == 0
    assert hops[1] <= hops[0]
    assert side["transition"].sum() == pytest.approx(1)
    assert side["query_timestamps"][0] - side["timestamps"][0] == pytest.approx(1.0)
    assert side["groups"][1] == side["groups"][2] != side["groups"][0]
    assert side["edge_features"].shape == (1, 3, 3)


def test_along_a_stream_the_bandit_moves_to_the_mechanism_that_is_rewarded(world: Snapshot) -> None:
    several = {name: learned(world, 1.0) for name in ("dot_product", "sparsemax", "hierarchical")}
    selection = Selection(replace(world, attention=several), replace(SETTINGS, fusion_attention="selected"), top=1)
    rng, chosen = np.random.default_rng(0), []
    for _ in range(1500):
        attending = selection.choose()
        [name] = attending.fusion
        chosen.append(name)
        selection.learn(attending, bool(rng.random() < (0.7 if name == "sparsemax" else 0.3)))
    assert chosen[0] == "dot_product"  # by the table
    assert Counter(chosen[-300:])["sparsemax"] > 200
    trials, _ = observed(selection.counts)
    assert trials.sum() == pytest.approx(1500)
    assert trials[QUERY_TYPES.index("long_sequence")].sum() == pytest.approx(1500)


def test_three_selected_mechanisms_answer_together(world: Snapshot) -> None:
    nothing = np.zeros((len(QUERY_TYPES), len(names())))
    shares = shares_of(only("genre_hierarchy"), nothing, nothing, ("dot_product", "sparsemax", "hierarchical"))
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == "hierarchical"
