"""EWC++: the pull is the penalty's gradient, consolidation keeps it, the proximal step is stable, shifts are seen."""

import numpy as np
import pytest

from core.adaptation.ewc import Ewc
from core.adaptation.shift import ShiftDetector
from core.errors import CorruptData, InvalidInput


def learned(rng, tasks=3, size=8, **options):
    ewc = Ewc(size, **options)
    for _ in range(tasks):
        for _ in range(5):
            ewc.observe(rng.standard_normal(size))
        ewc.finish_task(rng.standard_normal(size))
    return ewc


def test_the_pull_is_the_gradient_of_the_penalty():
    rng = np.random.default_rng(0)
    ewc = learned(rng)
    w = rng.standard_normal(8)
    eye = 1e-5 * np.eye(8)
    numeric = [(ewc.penalty(w + step) - ewc.penalty(w - step)) / 2e-5 for step in eye]
    assert np.allclose(ewc.pull(w), numeric, atol=1e-4)


def test_online_fisher_is_the_moving_average_of_squared_gradients():
    ewc = Ewc(2, gamma=0.9)
    first, second = np.array([1.0, 2.0]), np.array([3.0, 0.0])
    ewc.observe(first)
    ewc.observe(second)
    assert np.allclose(ewc.running, 0.9 * 0.1 * first**2 + 0.1 * second**2)
    assert np.allclose(ewc.fisher, ewc.running / (1 - 0.9**2))


def test_offline_fisher_is_the_plain_mean():
    ewc = Ewc(1, online=False)
    for gradient in (1.0, 2.0, 3.0):
        ewc.observe(np.array([gradient]))
    assert ewc.fisher[0] == pytest.approx(14 / 3)


def test_consolidation_keeps_the_pull_everywhere():
    rng = np.random.default_rng(1)
    ewc = learned(rng)
    w = rng.standard_normal((4, 8))
    before = [ewc.pull(row) for row in w]
    ewc.consolidate()
    assert len(ewc.tasks) == 1
    assert ewc.tasks[0].importance == 3
    assert np.allclose([ewc.pull(row) for row in w], before, atol=1e-4)


def test_memory_is_bounded_by_consolidating():
    ewc = learned(np.random.default_rng(2), tasks=25, max_tasks=4)
    assert len(ewc.tasks) <= 4
    assert ewc.finished == 25
    assert sum(task.importance for task in ewc.tasks) == 25


@pytest.mark.parametrize("strength", [0.4, 1e6, 1e12])
def test_the_proximal_step_minimises_its_objective_for_any_lambda(strength):
    rng = np.random.default_rng(3)
    ewc = learned(rng, strength=strength)
    w = rng.standard_normal(8)
    moved = ewc.proximal(w, 0.1)
    stationary = ewc.pull(moved) + (moved - w) / 0.1
    assert np.allclose(stationary / max(strength, 1), 0, atol=1e-4)
    assert np.isfinite(moved).all()


def test_curvature_rescales_the_fisher_but_not_its_shape():
    ewc = Ewc(3)
    ewc.observe(np.array([1.0, 2.0, 0.0]))
    ewc.finish_task(np.zeros(3), curvature=5.0)
    assert np.allclose(ewc.tasks[0].fisher, [3.0, 12.0, 0.0])


def test_saved_arrays_restore_the_same_pull_and_reject_another_size():
    rng = np.random.default_rng(4)
    ewc, copy = learned(rng), Ewc(8)
    copy.restore(ewc.to_arrays())
    w = rng.standard_normal(8)
    assert np.array_equal(copy.pull(w), ewc.pull(w))
    assert copy.lambda_ == ewc.lambda_
    with pytest.raises(CorruptData):
        Ewc(9).restore(ewc.to_arrays())


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2, "strength": -1}, {"size": 2, "gamma": 1.0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(InvalidInput):
        Ewc(**options)


def test_a_moved_mean_is_a_shift_and_a_stable_one_is_not():
    rng = np.random.default_rng(5)
    false_alarms = 0
    for _ in range(50):
        detector = ShiftDetector(16)
        detector.observe(rng.standard_normal((60, 16)))
        false_alarms += detector.is_shift(rng.standard_normal((30, 16)))
        assert detector.is_shift(rng.standard_normal((30, 16)) + 1.0)
    assert false_alarms == 0


def test_a_significant_but_tiny_drift_is_no_shift():
    rng = np.random.default_rng(6)
    detector = ShiftDetector(4)
    detector.observe(rng.standard_normal((20000, 4)))
    assert not detector.is_shift(rng.standard_normal((20000, 4)) + 0.1)


def test_batches_and_single_observations_agree():
    x = np.random.default_rng(7).standard_normal((40, 3))
    whole, parts = ShiftDetector(3), ShiftDetector(3)
    whole.observe(x)
    for chunk in np.split(x, [1, 7, 30]):
        parts.observe(chunk)
    assert np.allclose(whole.mean, parts.mean)
    assert whole.squares == pytest.approx(parts.squares)
