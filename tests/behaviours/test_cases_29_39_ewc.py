"""Behaviour cases 29-39: EWC. Case 31 is asked of the shift detector, which decides where a task ends."""

import numpy as np
import pytest

from core.adaptation.ewc import Ewc
from core.adaptation.shift import ShiftDetector
from core.engine import SonaConfig, SonaEngine
from core.errors import InvalidInput
from core.numeric.vectors import unit, unit_rows


def with_tasks(tasks, size=4, **options):
    ewc = Ewc(size, **options)
    for task in range(tasks):
        ewc.observe(np.ones(size))
        ewc.finish_task(np.full(size, float(task)))
    return ewc


def test_case_29_a_new_memory_knows_no_task():
    ewc = Ewc(8)
    assert (len(ewc.tasks), ewc.finished, ewc.samples) == (0, 0, 0)
    assert not ewc.pull(np.ones(8)).any()


def test_case_30_one_update_leaves_a_fisher():
    ewc = Ewc(8)
    ewc.observe(np.full(8, 0.5))
    assert (ewc.fisher > 0).all()
    assert ewc.samples == 1


def test_case_31_more_of_the_same_is_no_boundary():
    shift = ShiftDetector(8)
    for _ in range(60):
        shift.observe(np.full((1, 8), 0.1))
    assert not shift.is_shift(np.full((1, 8), 0.1))
    assert shift.is_shift(np.full((1, 8), 1.0))


def test_case_32_after_a_task_no_weight_moves_farther_than_its_gradient_asks():
    ewc = Ewc(4, strength=100.0)
    for _ in range(10):
        ewc.observe(np.ones(4))
    anchor = np.zeros(4)
    ewc.finish_task(anchor)
    gradient = np.array([1.0, -2.0, 0.5, 0.0])
    free = anchor - 0.1 * gradient
    held = ewc.proximal(free, 0.1)
    assert (np.abs(held - anchor) <= np.abs(free - anchor)).all()
    assert np.abs(held[:3]).max() < 0.2 * np.abs(free[:3]).max()


def test_case_33_the_penalty_is_zero_at_the_optimum_and_grows_away_from_it():
    ewc = Ewc(4, strength=100.0)
    ewc.observe(np.ones(4))
    ewc.finish_task(np.zeros(4))
    assert ewc.penalty(np.zeros(4)) == 0
    assert ewc.penalty(np.ones(4)) > 0


def test_case_34_three_tasks_consolidate_into_one():
    ewc = with_tasks(3)
    ewc.consolidate()
    assert len(ewc.tasks) == 1


def test_case_35_lambda_grows_with_the_tasks():
    assert with_tasks(5, strength=1000.0).lambda_ == pytest.approx(1500.0)


def test_case_36_a_gradient_of_the_wrong_length_raises():
    ewc = Ewc(4)
    for call in (ewc.observe, ewc.penalty, ewc.pull, ewc.finish_task, lambda w: ewc.proximal(w, 0.1)):
        with pytest.raises(InvalidInput):
            call(np.ones(5))


def test_case_38_the_pull_points_back_to_the_optimum_from_both_sides():
    ewc = Ewc(2, strength=2.0, gamma=0.0)
    ewc.observe(np.array([1.0, 3.0]))
    ewc.finish_task(np.array([5.0, 5.0]))
    lambda_ = ewc.lambda_
    assert np.allclose(ewc.pull(np.array([6.0, 4.0])), [lambda_ * 1.0, -lambda_ * 9.0])
    assert np.allclose(ewc.pull(np.array([5.0, 5.0])), 0)


def taste(seed):
    """Queries around one direction, and the action that is liked there."""
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal(32).astype(np.float32)), unit(rng.standard_normal(32).astype(np.float32))


def live(engine, rng, query, action, cycles):
    for _ in range(cycles):
        for i in range(20):
            sign = 1.0 if i % 2 else -1.0
            id = engine.start_trajectory(query + 0.05 * rng.standard_normal(32).astype(np.float32))
            engine.record_step(id, i % 2, 0.5, 10, activation=np.float32(sign) * action)
            engine.end_trajectory(id, float(i % 2))
        engine.run_background_cycle()


def two_tastes(ewc_lambda, seed):
    """A first taste, then one with neighbouring queries that likes the opposite; returns (engine, loss on the
    first)."""
    rng = np.random.default_rng(seed)
    first, liked = taste(seed)
    other = unit(first + taste(seed + 1000)[0])
    engine = SonaEngine(SonaConfig(embedding_dim=32, base_lora_rank=4, ewc_lambda=ewc_lambda, seed=seed))
    live(engine, rng, first, liked, cycles=4)
    learned = float((engine.apply_base_lora(first) - first) @ liked)
    live(engine, rng, other, -liked, cycles=4)
    return engine, learned, -float((engine.apply_base_lora(first) - first) @ liked)


def test_case_37_a_shift_is_a_new_task_and_lambda_matters():
    engines = [two_tastes(strength, seed=0)[0] for strength in (0.0, 1e6)]
    x = unit_rows(np.random.default_rng(1).standard_normal((5, 32)).astype(np.float32))
    assert engines[0].stats()["ewc_tasks"] == engines[1].stats()["ewc_tasks"] == 1
    free, held = (engine.apply_base_lora(x) - x for engine in engines)
    assert np.linalg.norm(free - held) > 0.05 * np.linalg.norm(held)


def test_case_37_without_a_shift_there_is_no_new_task():
    query, liked = taste(3)
    engine = SonaEngine(SonaConfig(embedding_dim=32, base_lora_rank=4))
    live(engine, np.random.default_rng(3), query, liked, cycles=12)
    assert engine.stats()["ewc_tasks"] == 0


def test_case_39_the_first_task_is_forgotten_less_with_ewc():
    for seed in range(5):
        _, learned, loss_without = two_tastes(0.0, seed)
        _, _, loss_default = two_tastes(0.4, seed)
        _, _, loss_strong = two_tastes(10.0, seed)
        assert learned > 0
        assert loss_strong < loss_default < loss_without
