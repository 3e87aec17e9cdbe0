"""The engine's face: batches, threads, feedback, limits, files."""

import threading

import numpy as np
import pytest

from core.engine import LearningSignal, SonaConfig, SonaEngine
from core.errors import CorruptData, InvalidInput, NotFound


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def make_engine(**fields):
    return SonaEngine(SonaConfig(**{"embedding_dim": 32, "hidden_dim": 32, "base_lora_rank": 4, **fields}))


def taught_engine(rounds=30, **fields):
    engine, rng = make_engine(**fields), np.random.default_rng(0)
    for i in range(rounds):
        id = engine.start_trajectory(normal(rng, 32))
        engine.record_step(id, i % 3, 0.5, 10, activation=normal(rng, 32) if i % 2 else None)
        engine.end_trajectory(id, float(rng.random()))
    engine.run_background_cycle()
    return engine


@pytest.mark.parametrize("name", ["apply_micro_lora", "apply_base_lora", "apply_lora"])
def test_rows_give_what_single_queries_give(name):
    engine = taught_engine()
    rows = normal(np.random.default_rng(1), 7, 32)
    apply = getattr(engine, name)
    together = apply(rows)
    assert together.shape == rows.shape
    assert together.dtype == np.float32
    assert np.allclose(together, [apply(row) for row in rows], atol=1e-5)
    assert apply(rows[0]).shape == (32,)
    assert apply(rows[:0]).shape == (0, 32)
    assert np.allclose(apply(rows.tolist()), together, atol=1e-6)


def test_the_whole_is_the_sum_of_its_tiers():
    engine = taught_engine()
    x = normal(np.random.default_rng(2), 32)
    micro, base = engine.apply_micro_lora(x) - x, engine.apply_base_lora(x) - x
    assert np.linalg.norm(micro) > 0
    assert np.linalg.norm(base) > 0
    assert np.allclose(engine.apply_lora(x) - x, micro + base, atol=1e-5)


def test_applying_does_not_change_the_input():
    engine = taught_engine()
    x = normal(np.random.default_rng(3), 32)
    before = x.copy()
    engine.apply_lora(x)
    assert np.array_equal(x, before)


def test_the_caller_may_reuse_its_arrays():
    """What was recorded must not change when the caller overwrites its buffers."""
    outputs = []
    for reuse in (False, True):
        engine = make_engine()
        query, action = np.full(32, 0.5, np.float32), np.arange(32, dtype=np.float32)
        id = engine.start_trajectory(query)
        engine.record_step(id, 1, 0.5, 10, activation=action)
        if reuse:
            query[:], action[:] = -7, 9
        engine.end_trajectory(id, 1.0)
        outputs.append(engine.apply_lora(np.ones(32)))
    assert np.array_equal(*outputs)


def test_steps_beyond_the_maximum_are_counted_and_dropped():
    engine = make_engine(max_trajectory_steps=3)
    id = engine.start_trajectory(np.ones(32))
    for i in range(5):
        engine.record_step(id, i, 0.5, 10)
    engine.end_trajectory(id, 0.5)
    assert engine.stats()["steps_dropped"] == 2


def test_trajectories_that_never_end_are_given_up_and_counted():
    engine = make_engine(trajectory_buffer_size=10)
    ids = [engine.start_trajectory(np.ones(32)) for _ in range(25)]
    assert engine.stats()["open_trajectories"] == 10
    assert engine.stats()["abandoned"] == 15
    with pytest.raises(NotFound):
        engine.end_trajectory(ids[0], 0.5)
    engine.end_trajectory(ids[-1], 0.5)


def test_counters_add_up_when_the_buffer_overflows():
    engine = make_engine(trajectory_buffer_size=10)
    for _ in range(25):
        engine.end_trajectory(engine.start_trajectory(np.ones(32)), 0.5)
    stats = engine.stats()
    assert (stats["trajectories_recorded"], stats["buffered"], stats["dropped"]) == (25, 10, 15)
    assert engine.run_background_cycle().trajectories == 10
    assert engine.stats()["dropped"] == 15


def test_feedback_goes_to_the_named_trajectory_and_else_to_the_threads_last():
    rng = np.random.default_rng(4)
    queries = np.linalg.qr(rng.standard_normal((32, 2)))[0].T.astype(np.float32)
    for named, moved, still in ((0, 0, 1), (None, 1, 0)):
        engine = make_engine()
        for query in queries:
            engine.end_trajectory(engine.start_trajectory(query), 0.5)  # at the baseline: teaches nothing by itself
        engine.learn_from_feedback(LearningSignal.positive(50.0, 0.95), trajectory_id=named)
        deltas = engine.apply_micro_lora(queries) - queries
        assert deltas[moved] @ queries[moved] > 0.01
        assert np.abs(deltas[still]).max() < 1e-6


def test_feedback_without_a_trajectory_is_refused_and_another_threads_is_not_taken():
    engine = make_engine()
    with pytest.raises(NotFound):
        engine.learn_from_feedback(LearningSignal.positive(50.0, 0.95))
    other = threading.Thread(target=lambda: engine.end_trajectory(engine.start_trajectory(np.ones(32)), 0.5))
    other.start()
    other.join()
    with pytest.raises(NotFound):
        engine.learn_from_feedback(LearningSignal.positive(50.0, 0.95))
    engine.learn_from_feedback(LearningSignal.positive(50.0, 0.95), trajectory_id=0)
    with pytest.raises(NotFound):
        engine.learn_from_feedback(LearningSignal.positive(50.0, 0.95), trajectory_id=77)


def test_failure_pushes_away_and_success_towards():
    x = np.ones(32, np.float32)
    for success, sign in ((True, 1), (False, -1)):
        engine = make_engine()
        engine.end_trajectory(engine.start_trajectory(x), 0.5)
        engine.learn_from_feedback(LearningSignal.from_feedback(success, 50.0, 0.9))
        assert np.sign((engine.apply_micro_lora(x) - x) @ x) == sign


def test_patterns_know_their_fields_and_come_best_first():
    engine = make_engine()
    for axis, quality in ((0, 0.8), (1, 0.9)):
        for _ in range(10):
            engine.end_trajectory(engine.start_trajectory(np.eye(32)[axis]), quality)
    engine.run_background_cycle()
    first, second = engine.query_patterns(np.eye(32)[1] + 0.1 * np.eye(32)[0], k=2)
    assert first.similarity > second.similarity
    assert first.quality == pytest.approx(0.9)
    assert first.usage_count == 1
    assert np.allclose(first.centroid, np.eye(32)[1], atol=1e-5)
    batched = engine.query_patterns(np.eye(32)[:2], k=1)
    assert [answer[0].quality for answer in batched] == [pytest.approx(0.8), pytest.approx(0.9)]


def test_consolidation_runs_when_its_interval_is_reached():
    engine = make_engine(consolidation_interval=20)
    reports = []
    for _ in range(2):
        for _ in range(12):
            engine.end_trajectory(engine.start_trajectory(np.ones(32)), 0.9)
        reports.append(engine.run_background_cycle().consolidation)
    assert reports[0] is None
    assert reports[1] is not None


def test_ucb_tries_the_unknown_first_and_accepts_plain_scores():
    engine = make_engine()
    assert engine.select_by_ucb(["a", "b"], {"a": 0.9, "b": 0.1}) == "a"
    for _ in range(30):
        id = engine.start_trajectory(np.ones(32))
        engine.record_step(id, "a", 0.9, 10)
        engine.end_trajectory(id, 0.9)
    assert engine.select_by_ucb(["a", "b"], [0.9, 0.1]) == "b"
    with pytest.raises(InvalidInput):
        engine.select_by_ucb([], {})
    with pytest.raises(InvalidInput):
        engine.select_by_ucb(["a"], [0.1, 0.2])


def test_threads_that_record_learn_and_answer_lose_nothing():
    engine = make_engine(trajectory_buffer_size=100_000)
    failures, each, workers = [], 150, 6

    def record(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(each):
                id = engine.start_trajectory(normal(rng, 32))
                engine.record_step(id, seed, 0.5, 10, activation=normal(rng, 32))
                engine.end_trajectory(id, float(rng.random()))
                engine.learn_from_feedback(LearningSignal.positive(10.0, 0.9))
                assert np.isfinite(engine.apply_lora(normal(rng, 32))).all()
        except BaseException as error:
            failures.append(error)
            raise

    stop = threading.Event()

    def cycle():
        while not stop.is_set():
            engine.run_background_cycle()
            engine.query_patterns(np.ones(32), 3)
            engine.stats()

    threads = [threading.Thread(target=record, args=(seed,)) for seed in range(workers)]
    background = threading.Thread(target=cycle)
    for thread in [*threads, background]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    background.join()
    engine.run_background_cycle()
    stats = engine.stats()
    assert not failures
    assert stats["trajectories_recorded"] == stats["drained"] == workers * each
    assert stats["signals_learned"] == 2 * workers * each
    assert (stats["buffered"], stats["dropped"], stats["open_trajectories"], stats["pending_signals"]) == (0, 0, 0, 0)


def test_saving_keeps_everything_and_the_loaded_engine_learns_on_identically(tmp_path):
    engine = taught_engine()
    for node in ("text", 2**70, 5):
        id = engine.start_trajectory(np.ones(32))
        engine.record_step(id, node, 0.4, 12.5)
        engine.record_step(id, 3, 0.6, 7.5, activation=np.arange(32))
        engine.end_trajectory(id, 0.9)
    engine.save(str(tmp_path / "state"))
    twin = SonaEngine.load(tmp_path / "state")
    assert twin.config == engine.config
    assert {**twin.stats(), "signals_learned": 0} == {**engine.stats(), "signals_learned": 0}
    for one in (engine, twin):
        one.learn_from_feedback(LearningSignal.negative(10.0, 0.1), trajectory_id=31)
        assert one.run_background_cycle().trajectories == 3
    x = normal(np.random.default_rng(8), 4, 32)
    for name in ("apply_micro_lora", "apply_base_lora", "apply_lora"):
        assert np.array_equal(getattr(engine, name)(x), getattr(twin, name)(x))
    assert engine.predict_variant_scores(x[0]) == twin.predict_variant_scores(x[0])
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_damaged_and_foreign_files_are_typed_errors(tmp_path):
    taught_engine().save(tmp_path / "state")
    whole = (tmp_path / "state").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (
        b"",
        whole[:10],
        whole[:-1],
        whole + b"x",
        bytes(flipped),
        b"\x80\x04pickle" * 50,
        b"SONB" + whole[4:],
    ):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(CorruptData):
            SonaEngine.load(tmp_path / "damaged")


@pytest.mark.parametrize(
    "fields",
    [
        {"embedding_dim": 0}, {"embedding_dim": 2.5}, {"micro_lora_rank": 3}, {"base_lora_rank": 40},
        {"lora_alpha": 0.0}, {"lora_dropout": 1.0}, {"ewc_lambda": float("nan")},
        {"ewc_gamma": 1.5}, {"pattern_quality_threshold": 2},
        {"trajectory_buffer_size": 0}, {"micro_lr": float("inf")}, {"pattern_clusters": True},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_and_named(fields):
    with pytest.raises(InvalidInput, match="rank" if "rank" in next(iter(fields)) else next(iter(fields))):
        make_engine(**fields)


def test_the_defaults_are_those_of_the_readme():
    config = SonaConfig()
    assert (config.embedding_dim, config.micro_lora_rank, config.base_lora_rank) == (256, 2, 16)
    assert (config.ewc_lambda, config.micro_lr, config.base_lr, config.pattern_clusters) == (0.4, 0.01, 0.001, 32)


def test_dropout_still_learns_the_right_way():
    rng = np.random.default_rng(5)
    query, good, bad = normal(rng, 3, 32)
    engine = make_engine(lora_dropout=0.3)
    for i in range(20):
        id = engine.start_trajectory(query)
        engine.record_step(id, 1, 0.5, 10, activation=good if i % 2 else bad)
        engine.end_trajectory(id, float(i % 2))
    engine.run_background_cycle()
    assert (engine.apply_base_lora(query) - query) @ (good - bad) > 0
