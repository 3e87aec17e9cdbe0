"""The adapter bends scores as far as it says, names what it cannot apply, and is silent where it knows nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from adapting import COMEDIES, DIMS, DRAMAS, NOW, likes, next_generation, snapshot

from core.adaptation.codec import UserAdapter
from core.adaptation.fast_tier import FastTier
from core.adaptation.space import carry
from core.candidates.viewer import Viewer, view
from core.config import RankingSettings
from core.interaction import Interaction, InteractionType
from core.profile.state import UserState, fold
from core.ranking.adapter_boost import boost, lifts, request_query
from core.ranking.fusion import Fused
from core.ranking.query import Context
from core.snapshot.snapshot import Snapshot

SETTINGS = RankingSettings(base_tier=1.0, slow_tier=1.0, fast_tier=1.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("later"), next_generation())


def viewer_of(world: Snapshot, fast: FastTier | None = None, liked: int = 5, now: float = NOW) -> Viewer:
    events = enumerate(likes("ann", DRAMAS[:liked]), 1)
    state = replace(fold(UserState("ann"), events), fast=fast)
    everything = np.ones(len(world), bool)
    return view(world, state, Context(), now, np.zeros(len(world), np.float32), everything, 0.8)


def towards(names: tuple[str, ...], world: Snapshot) -> np.ndarray:
    """B of rank 8 with which delta of the viewer's query is twice the mean target of the titles."""
    space = world.space
    assert space is not None
    mean = space.targets[[world.row(name) for name in names]].mean(axis=0)
    seen = space.A_slow @ request_query(space, viewer_of(world))
    return np.asarray(2 * 8 * np.outer(mean, seen) / (seen @ seen), np.float32)


def adapter_of(world: Snapshot, names: tuple[str, ...] = COMEDIES) -> UserAdapter:
    return UserAdapter(towards(names, world), np.zeros((DIMS, 2), np.float32), "g1", "factors-1")


def fused_of(world: Snapshot) -> Fused:
    """All titles with falling scores in two equal parts."""
    scores = np.linspace(1.0, 0.5, len(world))
    return Fused(np.arange(len(world)), scores, np.stack([scores / 2, scores / 2]), ("graph", "content"))


def mean_place(world: Snapshot, fused: Fused, names: tuple[str, ...]) -> float:
    place = np.argsort(fused.rows)
    return float(np.mean([place[world.row(name)] for name in names]))


def test_an_adapter_that_points_to_comedies_lifts_comedies(world: Snapshot) -> None:
    boosted, degraded = boost(fused_of(world), viewer_of(world), adapter_of(world), SETTINGS, len(world))
    assert degraded == ()
    assert mean_place(world, boosted, COMEDIES) < mean_place(world, fused_of(world), COMEDIES) - 5
    assert mean_place(world, boosted, DRAMAS) > mean_place(world, fused_of(world), DRAMAS) + 5


def test_parts_sum_to_the_score_and_the_order_is_that_of_the_scores(world: Snapshot) -> None:
    boosted, _ = boost(fused_of(world), viewer_of(world), adapter_of(world), SETTINGS, len(world))
    assert boosted.names == ("graph", "content", "adapter")
    assert np.allclose(boosted.parts.sum(axis=0), boosted.scores)
    assert (np.diff(boosted.scores) <= 0).all()
    assert sorted(boosted.rows) == list(range(len(world)))


def test_a_score_changes_by_the_lift_which_grows_with_the_strength_up_to_one(world: Snapshot) -> None:
    before, viewer, adapter = fused_of(world), viewer_of(world), adapter_of(world)
    lift, _ = lifts(viewer, before.rows, adapter, replace(SETTINGS, slow_tier=0.1))
    twice, _ = lifts(viewer, before.rows, adapter, replace(SETTINGS, slow_tier=0.2))
    most, _ = lifts(viewer, before.rows, adapter, replace(SETTINGS, slow_tier=1e6))
    assert lift is not None
    assert twice is not None
    assert most is not None
    assert np.allclose(twice, np.clip(2 * lift, -1.0, 1.0), atol=1e-6)
    assert np.abs(most).max() == 1.0
    boosted, _ = boost(before, viewer, adapter, replace(SETTINGS, slow_tier=0.1), len(world))
    expected = before.scores * (1 + lift)
    assert np.allclose(boosted.scores[np.argsort(boosted.rows)], expected)


def test_only_the_first_titles_change_places(world: Snapshot) -> None:
    boosted, _ = boost(fused_of(world), viewer_of(world), adapter_of(world), SETTINGS, 10)
    assert sorted(boosted.rows) == list(range(10))


def unlike_finite(world: Snapshot) -> UserAdapter:
    adapter = adapter_of(world)
    adapter.slow[3, 0] = np.inf
    return adapter


def of_nobody_knows_where(world: Snapshot) -> UserAdapter:
    return replace(adapter_of(world), generation="g0")


def of_other_factors(world: Snapshot) -> UserAdapter:
    return replace(adapter_of(world), generation="g0", embedding_version="factors-0")


@pytest.mark.parametrize("refused", [unlike_finite, of_nobody_knows_where, of_other_factors])
def test_what_cannot_be_applied_is_named_and_changes_nothing(
    world: Snapshot, refused: Callable[[Snapshot], UserAdapter]
) -> None:
    boosted, degraded = boost(fused_of(world), viewer_of(world), refused(world), SETTINGS, len(world))
    assert degraded == ("adapter",)
    assert boosted.rows.tolist() == fused_of(world).rows.tolist()
    assert np.isfinite(boosted.scores).all()


def test_an_adapter_without_a_space_is_named_and_no_adapter_is_not(world: Snapshot) -> None:
    bare = replace(world, space=None)
    assert boost(fused_of(world), viewer_of(bare), adapter_of(world), SETTINGS, 80)[1] == ("adapter",)
    assert boost(fused_of(world), viewer_of(bare), None, SETTINGS, 80)[1] == ()


def test_an_adapter_of_an_older_generation_gives_what_it_gave(world: Snapshot, later: Snapshot) -> None:
    rows, adapter = np.arange(len(world)), adapter_of(world)
    before, _ = lifts(viewer_of(world), rows, adapter, SETTINGS)
    after, degraded = lifts(viewer_of(later), rows, adapter, SETTINGS)
    assert degraded == ()
    assert np.allclose(after, before, atol=0.02)  # type: ignore[arg-type]


def fast_of(world: Snapshot, gain: float) -> FastTier:
    space = world.space
    assert space is not None
    q = request_query(space, viewer_of(world))
    mean = space.targets[[world.row(name) for name in COMEDIES]].mean(axis=0)
    seen = space.A_fast @ q
    return FastTier("g1", (4 * np.outer(mean, seen) / (seen @ seen)).astype(np.float16), gain, 9)


def test_the_fast_tier_counts_while_it_foretells(world: Snapshot) -> None:
    rows = np.arange(len(world))
    good, _ = lifts(viewer_of(world, fast_of(world, 0.1)), rows, None, SETTINGS)
    bad, _ = lifts(viewer_of(world, fast_of(world, -0.1)), rows, None, SETTINGS)
    assert good is not None
    assert good[[world.row(name) for name in COMEDIES]].mean() > 0.1
    assert bad is None or not bad.any()


def test_a_fast_tier_of_an_older_generation_is_carried_over_or_named(world: Snapshot, later: Snapshot) -> None:
    rows, fast = np.arange(len(world)), fast_of(world, 0.1)
    before, _ = lifts(viewer_of(world, fast), rows, None, SETTINGS)
    after, degraded = lifts(viewer_of(later, fast), rows, None, SETTINGS)
    assert degraded == ()
    assert np.allclose(after, before, atol=0.03)  # type: ignore[arg-type]
    assert lifts(viewer_of(later, replace(fast, generation="g0")), rows, None, SETTINGS)[1] == ("adapter",)


def test_what_was_folded_into_the_slow_tier_does_not_count_twice(world: Snapshot) -> None:
    rows, fast = np.arange(len(world)), fast_of(world, 0.1)
    folded = replace(adapter_of(world), slow=np.zeros((DIMS, 8), np.float32), fast=fast.B.astype(np.float32))
    match, _ = lifts(viewer_of(world, fast), rows, folded, SETTINGS)
    assert match is not None
    assert np.allclose(match, 0.0, atol=1e-4)


def test_each_tier_can_be_switched_off(world: Snapshot) -> None:
    rows, viewer, adapter = np.arange(len(world)), viewer_of(world, fast_of(world, 0.1)), adapter_of(world)

    def reach(**tiers: float) -> float:
        off = {"base_tier": 0.0, "slow_tier": 0.0, "fast_tier": 0.0}
        match, _ = lifts(viewer, rows, adapter, replace(SETTINGS, **off | tiers))
        return 0.0 if match is None else float(np.abs(match).max())

    assert reach() == 0.0
    assert reach(base_tier=1.0) == 0.0, "this world's base tier changes nothing"
    assert reach(slow_tier=1.0) > 0.1
    assert reach(fast_tier=1.0) > 0.1


def test_who_has_liked_nothing_gets_no_boost(world: Snapshot) -> None:
    boosted, degraded = boost(fused_of(world), viewer_of(world, liked=0), adapter_of(world), SETTINGS, 80)
    assert (boosted.names, degraded) == (("graph", "content"), ())


def test_the_running_session_weighs_double_in_the_query(world: Snapshot) -> None:
    """Four old dramas and a comedy just now: during the session the query leans further to the comedy."""
    events = [*likes("ann", DRAMAS[:4]), Interaction("x", "ann", COMEDIES[0], InteractionType.LIKE, NOW)]
    state = fold(UserState("ann"), enumerate(events, 1))
    assert world.space is not None
    lean = []
    for now in (NOW + 60, NOW + 86_400):
        viewer = view(world, state, Context(), now, np.zeros(80, np.float32), np.ones(80, bool), 0.8)
        source = world.space.sources[world.row(COMEDIES[0])]
        lean.append(float(request_query(world.space, viewer) @ source / np.linalg.norm(source)))
    assert lean[0] > lean[1] + 0.02


def test_the_boost_of_a_carried_adapter_equals_that_of_one_made_there(world: Snapshot, later: Snapshot) -> None:
    way = later.space.transfers["g1"]  # type: ignore[union-attr]
    old = adapter_of(world)
    made = replace(old, slow=carry(old.slow, way.rotation, way.slow), generation="g2")
    rows = np.arange(len(later))
    assert np.array_equal(
        lifts(viewer_of(later), rows, old, SETTINGS)[0],  # type: ignore[arg-type]
        lifts(viewer_of(later), rows, made, SETTINGS)[0],  # type: ignore[arg-type]
    )
