from dataclasses import replace

import numpy as np
import pytest

from core.adaptation import tensors
from core.adaptation.base import BaseSettings, train_base_tier
from core.adaptation.evidence import by_user, of_series
from core.adaptation.examples import Evidence
from core.adaptation.factors import energy_seen, input_directions, title_factors
from core.adaptation.generation import KIND, Generation, from_bytes, to_bytes
from core.adaptation.lora import Lora
from core.adaptation.query import query_vector, recency_weights
from core.adaptation.renewal import GenerationSettings, renew
from core.adaptation.space import make_transfer
from core.catalog import Title, content_key
from core.errors import CorruptData
from core.interaction import Interaction, InteractionType
from core.snapshot.inputs import Interactions, collect_interactions

DIM, TITLES = 12, 40
SMALL = GenerationSettings(dim=DIM, slow_rank=4, base=BaseSettings(rank=6, passes=3))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def rotation(rng: np.random.Generator, dim: int = DIM) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)


def generation(rng: np.random.Generator) -> Generation:
    def some(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    A = rotation(rng)[:4]
    way = make_transfer(rotation(rng), (A, A[:2]), (A, A[:2]))
    keys = np.sort(rng.integers(0, 2**64 - 1, TITLES, np.uint64))
    sources, targets = some(TITLES, DIM).astype(np.float16), some(TITLES, DIM).astype(np.float16)
    return Generation(
        "now", "test", keys, sources, targets, A, A[:2], Lora(some(6, DIM), some(DIM, 6), 6.0), {"old": way}
    )


def liking(user: str, number: int, at: float, kind: InteractionType = InteractionType.LIKE) -> Interaction:
    return Interaction(f"{user}-{number}-{at}", user, f"title-{number}", kind, at)


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    """Eighty viewers in four tastes of ten titles; each likes six of the own and one of any."""
    rng = np.random.default_rng(3)
    events = []
    for viewer in range(80):
        own = 10 * (viewer % 4) + rng.permutation(10)[:6]
        for day, number in enumerate([*own, rng.integers(TITLES)]):
            events.append(liking(f"viewer-{viewer}", int(number), 86_400.0 * day + viewer))
    return collect_interactions(events)


@pytest.fixture(scope="module")
def first(interactions: Interactions) -> Generation:
    made = renew(interactions, [], SMALL)
    assert made is not None
    return replace(made[0], name="first")


def test_a_generation_survives_its_bytes() -> None:
    before = generation(np.random.default_rng(0))
    after = from_bytes(to_bytes(before))
    assert to_bytes(after) == to_bytes(before)
    assert (after.name, after.embedding_version, after.base.alpha) == ("now", "test", 6.0)
    np.testing.assert_array_equal(after.keys, before.keys)  # also those above 2^63
    np.testing.assert_array_equal(after.transfers["old"].slow, before.transfers["old"].slow)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keys", lambda a: a[::-1].copy()),
        ("keys", lambda a: a[1:]),
        ("targets", lambda a: a[:, 1:]),
        ("A_fast", lambda a: a[:, 1:]),
        ("base_B", lambda a: a[1:]),
        ("old/rotation", lambda a: a[1:]),
        ("old/slow", lambda a: a[:, 1:]),
        ("old/fast", None),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_corrupt(name: str, change: object) -> None:
    arrays, meta = tensors.unpack(to_bytes(generation(np.random.default_rng(0))), KIND)
    whole = arrays.pop(name)
    if callable(change):
        arrays[name] = change(whole)
    with pytest.raises(CorruptData):
        from_bytes(tensors.pack(KIND, arrays, meta))


def test_title_factors_are_the_best_of_their_rank(rng: np.random.Generator) -> None:
    U, V = rotation(rng, 60), rotation(rng, 60)
    values = (0.8 ** np.arange(60)).astype(np.float32)
    weights = (U * values) @ V.T
    sources, targets = title_factors(weights, 10, rng)
    error = np.linalg.norm(weights - sources @ targets.T)
    assert error == pytest.approx(np.linalg.norm(values[10:]), rel=1e-3)  # Eckart-Young
    np.testing.assert_allclose(sources.T @ sources, np.diag(values[:10]), atol=1e-4)
    np.testing.assert_allclose(targets.T @ targets, np.diag(values[:10]), atol=1e-4)


def test_few_titles_have_factors_of_full_width(rng: np.random.Generator) -> None:
    weights = rng.standard_normal((5, 5)).astype(np.float32)
    sources, targets = title_factors(weights, DIM, rng)
    assert sources.shape == targets.shape == (5, DIM)
    np.testing.assert_allclose(sources @ targets.T, weights, atol=1e-5)


def test_input_directions_see_the_most_energy_and_a_smaller_rank_begins_a_larger_one(rng: np.random.Generator) -> None:
    queries = (rng.standard_normal((500, DIM)) * np.linspace(2, 0.2, DIM) @ rotation(rng)).astype(np.float32)
    A = input_directions(queries, 4)
    np.testing.assert_allclose(A @ A.T, np.eye(4), atol=1e-5)
    np.testing.assert_array_equal(input_directions(queries, 2), A[:2])
    values = np.linalg.svd(queries, compute_uv=False) ** 2
    assert energy_seen(A, queries) == pytest.approx(values[:4].sum() / values.sum(), rel=1e-4)
    assert energy_seen(rotation(rng)[:4], queries) < energy_seen(A, queries)


def test_a_query_is_the_normalised_weighted_sum_of_what_is_known(first: Generation) -> None:
    space = first.space()
    q = query_vector(space, np.array([3, -1, 5]), np.array([0.5, 9.0, 1.0], np.float32))
    expected = 0.5 * space.sources[3] + space.sources[5]
    np.testing.assert_allclose(q, expected / np.linalg.norm(expected), atol=1e-6)
    assert q.dtype == np.float32


@pytest.mark.parametrize("rows", [[], [-1, -1]])
def test_nothing_known_asks_nothing(first: Generation, rows: list[int]) -> None:
    q = query_vector(first.space(), np.array(rows, np.int32), np.ones(len(rows), np.float32))
    np.testing.assert_array_equal(q, np.zeros(DIM))


def test_the_latest_ten_likes_count_by_age_and_those_of_the_session_double() -> None:
    np.testing.assert_allclose(recency_weights(3), [0.64, 0.8, 1.0])
    np.testing.assert_allclose(recency_weights(3, in_session=2), [0.64, 1.6, 2.0])
    assert len(recency_weights(25, in_session=25)) == 10
    assert recency_weights(25)[0] == pytest.approx(0.8**9)
    assert len(recency_weights(0)) == 0


def test_the_same_interactions_give_the_same_generation(interactions: Interactions, first: Generation) -> None:
    again = renew(interactions, [], SMALL)
    assert again is not None
    assert to_bytes(replace(again[0], name="first")) == to_bytes(first)


def test_too_little_evidence_makes_no_generation() -> None:
    assert renew(collect_interactions([]), [], SMALL) is None
    assert renew(collect_interactions([liking("ada", 1, 0.0), liking("bob", 1, 1.0)]), [], SMALL) is None


def test_titles_of_one_taste_point_at_each_other(first: Generation) -> None:
    taste = np.array([content_key(f"title-{number}") for number in range(TITLES)])
    place = np.argsort(taste)  # keys of the generation are ascending
    np.testing.assert_array_equal(first.keys, taste[place])
    space = first.space()
    q = query_vector(space, np.flatnonzero(place < 10)[:3], np.ones(3, np.float32))
    best = np.argsort(-(space.targets @ q))[:10]
    assert (place[best] < 10).sum() >= 9


def test_a_renewal_without_news_changes_nothing_for_adapters(interactions: Interactions, first: Generation) -> None:
    made = renew(interactions, [first], SMALL)
    assert made is not None
    second, report = made
    assert report.kept_A
    assert report.explained == {"first": pytest.approx(1.0, abs=1e-3)}
    assert not report.base.accepted  # it cannot be better than itself
    np.testing.assert_allclose(second.base.B @ second.base.A, first.base.B @ first.base.A, atol=1e-3)
    np.testing.assert_allclose(second.transfers["first"].rotation, np.eye(DIM), atol=1e-2)
    np.testing.assert_allclose(second.transfers["first"].slow, np.eye(4), atol=1e-2)


def test_a_renewal_returns_to_the_coordinates_of_the_generation_before(
    interactions: Interactions, first: Generation, rng: np.random.Generator
) -> None:
    R = rotation(rng)
    turned = replace(
        first,
        name="turned",
        sources=(first.sources.astype(np.float32) @ R).astype(np.float16),
        targets=(first.targets.astype(np.float32) @ R).astype(np.float16),
        A_slow=first.A_slow @ R,
        A_fast=first.A_fast @ R,
        base=Lora(first.base.A @ R, R.T @ first.base.B, first.base.alpha),
    )
    made = renew(interactions, [turned, first], SMALL)
    assert made is not None
    np.testing.assert_allclose(made[0].sources.astype(np.float32), turned.sources.astype(np.float32), atol=5e-3)
    np.testing.assert_allclose(made[0].transfers["first"].rotation, R, atol=2e-2)
    np.testing.assert_array_equal(made[0].A_slow, turned.A_slow)


def test_another_world_has_no_way_here(interactions: Interactions, rng: np.random.Generator) -> None:
    foreign = replace(generation(rng), embedding_version="ease-svd-12")  # no title in common
    other = replace(generation(rng), embedding_version="of another kind")
    made = renew(interactions, [foreign, other], SMALL)
    assert made is not None
    assert made[0].transfers == {}
    assert not made[1].kept_A
    assert made[1].explained["now"] <= 0  # the one of the same kind; the other was not even compared


def users_of(first: Generation, interactions: Interactions) -> tuple[list[Evidence], np.ndarray]:
    popularity = np.bincount(np.searchsorted(first.keys, interactions.key), minlength=len(first.keys))
    return by_user(interactions, first.keys), popularity.astype(np.float32)


def test_a_base_tier_that_foretells_better_is_taken(interactions: Interactions, first: Generation) -> None:
    """Titles whose factors have been swapped in pairs: the base tier has to learn the way back."""
    users, popularity = users_of(first, interactions)
    blank = Lora(first.base.A, np.zeros_like(first.base.B), first.base.alpha)
    swapped = np.arange(len(first.keys)).reshape(-1, 2)[:, ::-1].ravel()
    space = replace(first, base=blank, targets=first.targets[swapped]).space()
    base, report = train_base_tier(space, users, popularity, np.random.default_rng(0), SMALL.base)
    assert report.accepted
    assert report.loss_after < report.loss_before
    assert (report.users, base.rank) == (80, 6)
    assert np.linalg.norm(base.B @ base.A, 2) <= SMALL.base.limit + 1e-4


def test_a_base_tier_that_foretells_worse_leaves_the_one_before(interactions: Interactions, first: Generation) -> None:
    users, popularity = users_of(first, interactions)
    wild = replace(SMALL.base, rate=50.0, limit=1e6, passes=1)
    base, report = train_base_tier(first.space(), users, popularity, np.random.default_rng(0), wild)
    assert base.B is first.base.B or np.array_equal(base.B, first.base.B)
    assert not report.accepted
    base, report = train_base_tier(first.space(), [], popularity, np.random.default_rng(0), SMALL.base)
    assert (report.accepted, report.users) == (False, 0)
    np.testing.assert_array_equal(base.B, first.base.B)


def test_episodes_count_for_their_series_by_what_speaks_most_for_it() -> None:
    titles = [Title("show", "Show", "series"), Title("film", "Film")]
    titles += [Title(f"show-e{n}", f"Part {n}", "episode", series_id="show") for n in range(3)]
    events = [
        Interaction("1", "ada", "show-e0", InteractionType.LIKE, 10.0),
        Interaction("2", "ada", "show-e1", InteractionType.SKIP_CONTENT, 30.0),
        Interaction("3", "ada", "show-e2", InteractionType.WATCH_COMPLETE, 20.0),
        Interaction("4", "ada", "film", InteractionType.LIKE, 5.0),
        Interaction("5", "bob", "gone", InteractionType.LIKE, 5.0),
    ]
    seen = of_series(collect_interactions(events), titles)
    assert seen.key.tolist() == [content_key("film"), content_key("show")]
    assert (seen.at.tolist(), seen.user.tolist()) == ([5.0, 20.0], [0, 0])
    assert seen.weight[1] == 1.0  # the episode watched to its end, not the later skip or the like
    assert len(of_series(collect_interactions(events), []).key) == 0


def test_evidence_is_the_latest_titles_of_each_user_oldest_first() -> None:
    events = [liking("ada", number, float(number)) for number in range(5)]
    events += [liking("bob", 2, 1.0, InteractionType.SKIP_CONTENT), liking("bob", 77, 2.0)]
    log = collect_interactions(events)
    keys = np.sort(np.array([content_key(f"title-{number}") for number in range(5)], np.uint64))
    ada, bob = by_user(log, keys, latest=3)
    assert [int(keys[row]) for row in ada.rows] == [content_key(f"title-{number}") for number in (2, 3, 4)]
    assert ada.times.tolist() == [2.0, 3.0, 4.0]
    assert bob.weights.tolist() == [pytest.approx(-0.3)]  # title 77 is not among the keys
