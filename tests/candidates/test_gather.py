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
    assert ranking.rows.tolist() == sorted(usable, key=lambda i: (-values[i], i))[:k] or (
        # ties beyond the cut may fall either way, the scores may not
        ranking.scores.tolist() == sorted((values[i] for i in usable), reverse=True)[:k]
    )


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
