"""What the slow tier learns from: queries as requests would have had them, titles passed over, the latest held back."""

import numpy as np
import pytest
from adapting import DIMS, space

from core.adaptation.examples import Evidence, ground, lesson, met_queries, stack
from core.adaptation.lora import Lora, delta
from core.adaptation.query import RECENT, query_vector, recency_weights
from core.adaptation.space import Space
from core.adaptation.train import Objective
from core.profile.session import SESSION_GAP_S

SETTINGS = {"held_back": 0.2, "replay": 5, "negatives": 4}


def evidence(n: int, seed: int = 0, disliked: float = 0.2) -> Evidence:
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random(n) < disliked, -0.5, rng.uniform(0.2, 1.0, n)).astype(np.float32)
    times = np.cumsum(rng.exponential(SESSION_GAP_S, n))
    return Evidence(rng.permutation(80)[:n], weights, times)


def popularity() -> np.ndarray:
    return np.random.default_rng(5).pareto(1.0, 80).astype(np.float32)


def based(rank: int = 4) -> Space:
    """A space whose base adapter does something."""
    rng = np.random.default_rng(3)
    plain = space()
    base = Lora(plain.base.A, 0.3 * rng.standard_normal((DIMS, rank)).astype(np.float32), 1.0)
    return Space("g1", "factors-1", plain.sources, plain.targets, plain.A_slow, plain.A_fast, base)


def test_every_query_is_what_a_request_right_before_would_have_asked() -> None:
    of, seen = space(), evidence(40)
    queries = met_queries(of, seen)
    for i in range(40):
        liked = np.flatnonzero(seen.weights[:i] > 0)
        pauses = np.flatnonzero(np.diff(seen.times[: i + 1]) > SESSION_GAP_S)
        first = pauses[-1] + 1 if len(pauses) else 0
        weights = recency_weights(len(liked), int((liked >= first).sum()))
        expected = query_vector(of, seen.rows[liked][-RECENT:], weights)
        np.testing.assert_allclose(queries[i], expected, atol=1e-5)


def test_the_base_adapters_share_of_the_score_is_part_of_what_is_trained_on() -> None:
    of = based()
    on = ground(of)
    rng = np.random.default_rng(1)
    q = rng.standard_normal((7, DIMS)).astype(np.float32)
    np.testing.assert_allclose(q @ on.through, q + delta(of.base, q), atol=1e-5)
    np.testing.assert_allclose((q @ on.through) @ on.A.T, q @ of.A_slow.T, atol=1e-4)
    taught = lesson(on, evidence(40), popularity(), -np.inf, rng, **SETTINGS)
    assert taught is not None
    B = rng.standard_normal((DIMS, 8)).astype(np.float32)
    data = taught.examples
    q = np.linalg.solve(on.through.T.astype(float), data.queries.T.astype(float)).T
    change = delta(of.base, q) + delta(Lora(of.A_slow, B, 1.0), q)
    np.testing.assert_allclose(
        Objective(on.A, 1 / 8, data, 1.0).scores(B), ((q + change) * data.items).sum(axis=1), atol=1e-4
    )


def test_scores_lie_within_one_of_nothing() -> None:
    on = ground(space())
    assert np.linalg.norm(on.space.targets, axis=1).max() / on.reach == pytest.approx(1.0, abs=1e-6)


def rows_of(on_space: Space, items: np.ndarray) -> list[int]:
    scaled = items * ground(on_space).reach
    return [int(np.argmin(np.abs(on_space.targets - item).sum(axis=1))) for item in scaled]


def test_the_latest_fifth_of_the_likes_judges_and_is_not_learned_from() -> None:
    of, seen = space(), evidence(50)
    taught = lesson(ground(of), seen, popularity(), -np.inf, np.random.default_rng(0), **SETTINGS)
    assert taught is not None
    liked = seen.rows[seen.weights > 0][1:]  # before the first there is no query
    learned = rows_of(of, taught.examples.items[taught.examples.labels == 1])
    judged = rows_of(of, taught.held_back.items[taught.held_back.labels == 1])
    assert learned + judged == liked.tolist()
    assert (taught.liked, taught.liked_held_back) == (len(learned), len(judged))
    assert len(judged) == round(0.2 * len(liked))


def test_nothing_seen_was_passed_over_and_dislikes_are_labelled_so() -> None:
    of, seen = space(), evidence(50)
    taught = lesson(ground(of), seen, popularity(), -np.inf, np.random.default_rng(0), **SETTINGS)
    assert taught is not None
    refused = rows_of(of, taught.examples.items[taught.examples.labels == 0])
    disliked = set(seen.rows[seen.weights < 0].tolist())
    assert set(refused) & set(seen.rows.tolist()) <= disliked
    assert set(refused) & disliked, "some dislike is before the cut"
    weights, labels = taught.examples.weights, taught.examples.labels
    passed = weights[labels == 0].sum() - np.abs(seen.weights[np.isin(seen.rows, refused)]).sum()
    assert passed == pytest.approx(weights[labels == 1].sum(), rel=1e-4), "as heavy as the likes they are held against"


def test_popular_titles_are_passed_over_more_often_and_rare_ones_too() -> None:
    of, liked = space(), Evidence(np.arange(70), np.ones(70, np.float32), np.arange(70.0))
    popular = np.ones(80, np.float32)
    popular[79] = 50.0
    settings = {**SETTINGS, "negatives": 40}
    taught = lesson(ground(of), liked, popular, -np.inf, np.random.default_rng(0), **settings)
    assert taught is not None
    rows = rows_of(of, taught.examples.items[taught.examples.labels == 0])
    counts = np.bincount(rows, minlength=80)
    assert counts[:70].sum() == 0
    assert counts[79] > 20 * counts[70:79].max() / 2
    assert counts[70:].min() > 0


def test_of_finished_tastes_only_so_many_titles_are_replayed_and_none_judges() -> None:
    of, seen = space(), evidence(60, disliked=0.0)
    task_from = float(seen.times[40])
    taught = lesson(ground(of), seen, popularity(), task_from, np.random.default_rng(0), **SETTINGS)
    assert taught is not None
    learned = rows_of(of, taught.examples.items[taught.examples.labels == 1])
    assert len(set(learned) & set(seen.rows[:40].tolist())) == 5
    assert set(learned) - set(seen.rows[:40].tolist()) == set(seen.rows[40:56].tolist())


@pytest.mark.parametrize("n", [0, 1])
def test_without_a_title_that_met_a_query_there_is_no_lesson(n: int) -> None:
    assert lesson(ground(space()), evidence(n), popularity(), -np.inf, np.random.default_rng(0), **SETTINGS) is None


def test_the_first_lesson_holds_nothing_back() -> None:
    taught = lesson(
        ground(space()), evidence(2, disliked=0), popularity(), -np.inf, np.random.default_rng(0), **SETTINGS
    )
    assert taught is not None
    assert (taught.liked, taught.liked_held_back, len(taught.held_back)) == (1, 0, 0)


def test_who_has_seen_everything_passed_over_nothing() -> None:
    all_seen = Evidence(np.arange(80), np.ones(80, np.float32), np.arange(80.0))
    taught = lesson(ground(space()), all_seen, popularity(), -np.inf, np.random.default_rng(0), **SETTINGS)
    assert taught is not None
    assert taught.examples.labels.all()


def test_padding_weighs_nothing() -> None:
    taught = [
        lesson(ground(space()), evidence(n), popularity(), -np.inf, np.random.default_rng(0), **SETTINGS)
        for n in (10, 40)
    ]
    short, long = (each.examples for each in taught if each is not None)
    together = stack([short, long])
    assert together.queries.shape == (2, len(long), DIMS)
    B = np.random.default_rng(0).standard_normal((2, DIMS, 8)).astype(np.float32)
    A = ground(space()).A
    alone = [float(Objective(A, 1.0, each, 0.2).loss(B[i])) for i, each in enumerate((short, long))]
    np.testing.assert_allclose(Objective(A, 1.0, together, 0.2).loss(B), alone, rtol=1e-5)
