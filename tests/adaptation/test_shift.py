"""Where in a sequence of likes the taste changed."""

import numpy as np
import pytest

from core.adaptation.shift import AFTER, BEFORE, change_point
from core.numeric.vectors import unit_rows


def likes(rng: np.random.Generator, taste: np.ndarray, n: int) -> np.ndarray:
    return unit_rows((taste + 0.5 * rng.standard_normal((n, 32)) / np.sqrt(32)).astype(np.float32))


def test_a_change_is_found_where_it_happened() -> None:
    rng = np.random.default_rng(0)
    old, new = np.eye(32, dtype=np.float32)[:2]
    for before, after in ((BEFORE, 30), (25, AFTER), (40, 12), (150, 50)):
        assert change_point(np.concatenate([likes(rng, old, before), likes(rng, new, after)])) == before


def test_one_taste_has_no_change() -> None:
    rng = np.random.default_rng(1)
    alarms = [change_point(likes(rng, np.eye(32, dtype=np.float32)[0], n)) for n in (15, 40, 120) for _ in range(60)]
    assert sum(alarm is not None for alarm in alarms) <= 2


def test_moods_within_one_taste_are_no_change() -> None:
    """Likes that come in runs of two kinds, again and again."""
    rng = np.random.default_rng(2)
    runs = [likes(rng, np.eye(32, dtype=np.float32)[run % 2], 3) for run in range(30)]
    assert change_point(np.concatenate(runs)) is None


@pytest.mark.parametrize(("before", "after"), [(BEFORE - 1, 40), (40, AFTER - 2), (0, 0)])
def test_too_little_on_either_side_is_not_called_there(before: int, after: int) -> None:
    rng = np.random.default_rng(3)
    old, new = np.eye(32, dtype=np.float32)[:2]
    place = change_point(np.concatenate([likes(rng, old, before), likes(rng, new, after)]))
    assert place is None or BEFORE <= place <= before + after - AFTER


def test_identical_likes_and_broken_ones_are_no_change() -> None:
    same = np.tile(np.eye(32, dtype=np.float32)[0], (40, 1))
    assert change_point(same) is None
    with np.errstate(invalid="ignore"):
        assert change_point(np.full((40, 32), np.nan, np.float32)) is None
