"""Behaviour cases 21-28: trajectory and signal. In 25 and 26 the route is the list of nodes, and rewards are scores."""

from itertools import pairwise

import numpy as np
import pytest

from core.adaptation.signal import Baseline, LearningSignal
from core.adaptation.trajectory import TrajectoryBuffer, pack
from core.engine import SonaConfig, SonaEngine

QUERY = np.arange(1, 9, dtype=np.float32)


def trajectory(id=0, steps=(), quality=0.8, advantage=0.3):
    return pack(id, QUERY, list(steps), quality, advantage)


def filled(capacity, records):
    buffer = TrajectoryBuffer(capacity)
    for i in range(records):
        buffer.append(trajectory(i))
    return buffer


def test_case_21_a_full_buffer_counts_what_it_drops():
    buffer = filled(3, 5)
    assert (len(buffer), buffer.dropped, buffer.seen) == (3, 2, 5)


def test_case_22_the_success_rate_is_the_share_not_dropped():
    assert filled(2, 4).success_rate == 0.5
    assert TrajectoryBuffer(2).success_rate == 1.0


def test_case_23_draining_three_of_five_leaves_two():
    buffer = filled(10, 5)
    assert [t.id for t in buffer.drain(3)] == [0, 1, 2]
    assert len(buffer) == 2
    assert (buffer.seen, buffer.drained, buffer.dropped) == (5, 3, 0)


def test_case_24_ids_count_up_from_zero():
    engine = SonaEngine(SonaConfig(embedding_dim=16))
    assert [engine.start_trajectory(np.ones(16)) for _ in range(4)] == [0, 1, 2, 3]


def test_case_25_a_trajectory_keeps_what_was_recorded():
    kept = trajectory(42, [(7, 0.5, 120.0, None), ("model-b", 0.7, 80.0, None)], quality=0.85)
    assert (kept.id, kept.quality, kept.nodes) == (42, 0.85, [7, "model-b"])
    assert np.allclose(kept.latencies_us, [120, 80])
    assert np.array_equal(kept.query, QUERY)


def test_case_26_scores_add_up():
    kept = trajectory(steps=[(i, score, 1.0, None) for i, score in enumerate((0.5, 0.7, 0.9))])
    assert kept.scores.sum() == pytest.approx(2.1)
    assert kept.scores.mean() == pytest.approx(0.7)


def test_case_27_a_signal_copies_the_quality_and_has_a_unit_gradient():
    rng = np.random.default_rng(0)
    actions = rng.standard_normal((2, 8)).astype(np.float32)
    kept = trajectory(steps=[(0, 0.9, 1.0, actions[0]), (1, 0.1, 1.0, actions[1])])
    signal = LearningSignal.from_trajectory(kept)
    assert signal.quality == 0.8
    assert signal.gradient.shape == (8,)
    assert np.linalg.norm(signal.gradient) == pytest.approx(1, abs=1e-5)
    assert signal.gradient @ (actions[0] / np.linalg.norm(actions[0]) - actions[1] / np.linalg.norm(actions[1])) > 0


def test_case_28_equal_rewards_teach_by_the_running_baseline_and_then_fade():
    """All step scores equal: the difference within the trajectory is nil, the outcome still counts against the
    baseline."""
    steps = [(i, 0.9, 1.0, np.eye(8, dtype=np.float32)[i]) for i in range(3)]
    kept = trajectory(steps=steps, quality=0.9, advantage=0.4)
    assert kept.contrast is None
    assert LearningSignal.from_trajectory(kept, baseline=0.9).importance == pytest.approx(0, abs=1e-6)
    assert LearningSignal.from_trajectory(kept, baseline=0.5).importance > 0.1
    baseline = Baseline()
    advantages = [baseline.advantage(0.9) for _ in range(60)]
    assert advantages[0] == pytest.approx(0.4)
    assert all(later < earlier for earlier, later in pairwise(advantages))
    assert advantages[-1] < 0.01
    assert baseline.advantage(0.2) < -0.5
