"""Asking the strategies."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.candidates.gather import Ranking, gather, top
from core.errors import CorruptData

ONE = Ranking(np.array([1]), np.array([1.0]))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), st.integers(1, 10), st.data())
def test_top_returns_the_best_allowed_positive_finite_scores(values: list[float], k: int, data: st.DataObject) -> None:
    scores = np.array(values)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), bool)
    ranking = top(scores, allowed, k)
    usable = [i for i in range(len(values)) if allowed[i] and np.isfinite(values[i]) and values[i] > 0]
    assert ranking.rows.tolist() == sorted(usable, key=lambda i: (-values[i], i))[:k]


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 400))
def test_top_finds_the_same_among_many_scores_of_which_most_are_equal(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 6, n).astype(np.float32)
    allowed = rng.random(n) < 0.7
    usable = np.flatnonzero(allowed & (scores > 0))
    best = usable[np.argsort(-scores[usable], kind="stable")][:k]
    ranking = top(scores, allowed, k)
    assert ranking.rows.tolist() == best.tolist()
    assert ranking.scores.tolist() == scores[best].tolist()


def test_a_strategy_that_fails_is_named_and_the_others_answer() -> None:
    def broken(_: None) -> Ranking:
        raise CorruptData("neighbour list fails its checksum")

    gathered = gather({"graph": broken, "content": lambda _: ONE}, None, 50.0)
    assert gathered.failed == {"graph": "neighbour list fails its checksum"}
    assert list(gathered.rankings) == ["content"]


def test_a_strategy_that_would_start_after_the_deadline_is_named() -> None:
    def slow(_: None) -> Ranking:
        sum(range(2_000_000))
        return ONE

    gathered = gather({"slow": slow, "late": lambda _: ONE}, None, 0.5)
    assert gathered.failed == {"late": "deadline"}
