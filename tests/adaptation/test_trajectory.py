"""Trajectories: honest counts under threads, bounded memory, packing that keeps what learning needs."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest

from core.adaptation.trajectory import OpenTrajectories, Tally, TrajectoryBuffer, pack
from core.errors import InvalidInput, NotFound

QUERY = np.arange(1, 9, dtype=np.float32)


def in_threads(workers, job):
    threads = [threading.Thread(target=job, args=(i,)) for i in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_tally_counts_every_increment_of_every_thread_while_it_is_read():
    tally, reads = Tally(5), []

    def work(worker):
        for _ in range(5000):
            tally.add()
            if worker == 0:
                reads.append(tally.value)

    in_threads(6, work)
    assert tally.value == 5 + 6 * 5000
    assert reads == sorted(reads)


def test_appending_and_draining_from_many_threads_accounts_for_every_trajectory():
    buffer, taken, kept = TrajectoryBuffer(50), [], pack(0, QUERY, [], 0.5, 0.0)

    def work(worker):
        for _ in range(2000):
            if worker == 0:
                taken.append(len(buffer.drain(7)))
            else:
                buffer.append(kept)

    in_threads(5, work)
    assert buffer.seen == 4 * 2000
    assert buffer.drained == sum(taken)
    assert len(buffer) <= 50
    assert buffer.seen == len(buffer) + buffer.drained + buffer.dropped


def test_an_open_trajectory_is_closed_by_exactly_one_of_many():
    opened = OpenTrajectories(8, 10, 1000)
    ids, closed = [opened.start(QUERY) for _ in range(300)], []

    def work(_):
        for id in ids:
            try:
                opened.close(id)
                closed.append(id)
            except NotFound:
                pass

    in_threads(4, work)
    assert sorted(closed) == ids


def test_four_steps_over_256_dimensions_take_less_than_one_and_a_half_kilobytes():
    opened, buffer, rng = OpenTrajectories(256, 50, 10_000), TrajectoryBuffer(10_000), np.random.default_rng(0)

    def one():
        id = opened.start(rng.standard_normal(256))
        for step in range(4):
            opened.record(id, 1000 + step, 0.5 + 0.1 * step, 120.0 + step)
        buffer.append(pack(id, *opened.close(id), quality=0.75, advantage=0.25))

    one()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(500):
        one()
    gc.collect()
    per_trajectory = (tracemalloc.get_traced_memory()[0] - before) / 500
    tracemalloc.stop()
    assert per_trajectory < 1500


def test_steps_without_an_action_of_their_own_use_the_query():
    unit = QUERY / np.linalg.norm(QUERY)
    kept = pack(0, QUERY, [(1, 0.9, 1.0, None), (2, 0.1, 1.0, None)], 0.8, 0.3)
    assert np.allclose(kept.action, unit)
    assert np.allclose(kept.pull, 0.3 * unit, atol=1e-6)


def test_the_pull_is_advantage_times_action_plus_the_steps_contrast():
    e = np.eye(8, dtype=np.float32)
    kept = pack(0, QUERY, [(1, 1.0, 1.0, 5 * e[0]), (2, 0.0, 1.0, e[1])], 0.5, 0.2)
    assert np.allclose(kept.action, (e[0] + e[1]) / 2)
    assert np.allclose(kept.pull, 0.2 * kept.action + 0.25 * (e[0] - e[1]), atol=1e-6)


@pytest.mark.parametrize("nodes", [[1, 2, -3], ["a", "b", "c"], [1, "b", 2**70]])
def test_node_ids_of_any_kind_survive_packing(nodes):
    kept = pack(0, QUERY, [(node, 0.5, 1.0, None) for node in nodes], 0.5, 0.0)
    assert kept.nodes == nodes


def test_step_rewards_follow_quality_and_scores_within_zero_and_one():
    kept = pack(0, QUERY, [(1, 0.9, 1.0, None), (2, 0.3, 1.0, None)], 0.8, 0.3)
    assert np.allclose(kept.step_rewards, [1.0, 0.5])
    assert pack(0, QUERY, [(1, 0.1, 1.0, None)], 0.8, 0.3).step_rewards == [pytest.approx(0.8)]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((0, 1, "high", 1), InvalidInput), ((0, 1, 0.5, None), InvalidInput), ((0, 1.5, 0.5, 1), InvalidInput),
        ((0, None, 0.5, 1), InvalidInput), ((1, 1, 0.5, 1), NotFound), (("0", 1, 0.5, 1), NotFound),
        (([], 1, 0.5, 1), NotFound), ((0, 1, 10**400, 1), InvalidInput), ((0, 1, 0.5, 1, [1, 2]), InvalidInput),
    ],
)  # fmt: skip
def test_bad_steps_are_typed_errors(args, error):
    opened = OpenTrajectories(8, 10, 10)
    opened.start(QUERY)
    with pytest.raises(error):
        opened.record(*args)
    opened.record(0, np.int64(3), np.float32(0.5), 10)
    assert opened.close(0)[1][0][0] == 3
