"""What people went on to since the snapshot: small known answers, forgetting, and many threads at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DRAMAS, NOW, likes, snapshot

from core.candidates.collaborative import live
from core.candidates.live import LiveTransitions
from core.candidates.viewer import Viewer, view
from core.profile.state import UserState, fold
from core.ranking.query import Context
from core.ranking.weights import FIXED, signal_weights
from core.snapshot.snapshot import Snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("live"))


def viewer_of(world: Snapshot, known: LiveTransitions | None, *liked: str) -> Viewer:
    state = fold(UserState("ann"), enumerate(likes("ann", liked), 1))
    nothing = np.zeros(len(world), np.float32)
    return view(world, state, Context(), NOW, nothing, np.ones(len(world), bool), 0.5, live=known)


def told(*likes: tuple[list[int], int], most: int = 100) -> LiveTransitions:
    known = LiveTransitions(most)
    for earlier, row in likes:
        known.add(earlier, row)
    return known


def test_the_nearer_a_like_was_the_more_it_leads_to_the_next() -> None:
    known = told(([1, 2, 3], 9), ([3], 8))
    rows, weights = known.from_row(3) or (np.empty(0), np.empty(0))
    assert dict(zip(rows.tolist(), weights.tolist(), strict=True)) == pytest.approx({9: 1 / 22, 8: 1 / 22})
    for source, counted in ((2, 0.7), (1, 0.49)):
        rows, weights = known.from_row(source) or (np.empty(0), np.empty(0))
        assert (rows.tolist(), weights.tolist()) == ([9], [pytest.approx(counted / (counted + 20))])
    assert known.from_row(9) is None


def test_only_five_steps_count_and_no_title_leads_to_itself() -> None:
    known = told(([1, 2, 3, 4, 5, 6], 6))
    assert [known.from_row(row) is not None for row in range(1, 7)] == [False, True, True, True, True, False]


def test_the_oldest_likes_are_forgotten_without_a_trace() -> None:
    stream = [([row % 7, row % 5 + 10], row % 11 + 20) for row in range(60)]
    known, fresh = told(*stream, most=10), told(*stream[-10:])
    assert len(known) == 10
    for row in range(40):
        found, expected = known.from_row(row), fresh.from_row(row)
        assert (found is None) == (expected is None)
        if found and expected:
            assert dict(zip(*map(np.ndarray.tolist, found), strict=True)) == pytest.approx(
                dict(zip(*map(np.ndarray.tolist, expected), strict=True))
            )


def test_a_viewer_is_led_on_from_the_latest_likes(world: Snapshot) -> None:
    last, before, target, other = (world.row(name) for name in (DRAMAS[1], DRAMAS[0], COMEDIES[0], COMEDIES[1]))
    assert None not in (last, before, target, other)
    known = told(([int(last or 0)], int(target or 0)), ([int(before or 0)], int(other or 0)))
    scores = live(viewer_of(world, known, DRAMAS[0], DRAMAS[1]))
    assert {row: scores[row] for row in np.flatnonzero(scores).tolist()} == pytest.approx(
        {target: 1 / 21, other: 0.5 / 21}
    )


def test_where_nothing_is_known_the_signal_is_neither_asked_nor_counted(world: Snapshot) -> None:
    viewer = viewer_of(world, None, DRAMAS[0])
    assert "live" not in signal_weights(viewer, "tuned")
    assert not live(viewer).any()
    knowing = replace(viewer, live=told(([1], 2)))
    assert signal_weights(knowing, "tuned") == signal_weights(viewer, "tuned") | {"live": FIXED[1]["live"]}


def test_a_snapshot_that_learned_no_weight_for_it_never_asks(world: Snapshot) -> None:
    learned = replace(world, fusion=tuple({"context": 1.0} for _ in range(4)))
    viewer = viewer_of(learned, told(([1], 2)), DRAMAS[0])
    assert signal_weights(viewer, "tuned") == {"context": 1.0}


def test_readers_and_a_writer_do_not_disturb_each_other() -> None:
    known = told(most=500)

    def read() -> float:
        scores = [known.spread(np.arange(20), np.ones(20), 200).max() for _ in range(300)]
        return float(max(scores))

    with ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(read) for _ in range(3)]
        for number in range(5000):
            known.add([number % 20, number % 17], 20 + number % 180)
        assert max(reader.result() for reader in reading) < 20.0
    assert len(known) == 500
