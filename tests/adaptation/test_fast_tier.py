"""The fast tier learns what the next event confirms, and knows when it does not."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import DIMS, generation, next_generation

from core.adaptation.fast_tier import FastTier, fresh_tier, in_space, learn
from core.adaptation.lora import delta
from core.adaptation.space import Space
from core.numeric.vectors import Floats, unit, unit_rows

SPACE = generation().space()


def seen_query(space: Space = SPACE, seed: int = 0) -> Floats:
    """A query that A_fast sees."""
    return unit(np.random.default_rng(seed).standard_normal(2).astype(np.float32) @ space.A_fast)


def titles(n: int, seed: int = 1) -> Floats:
    return 0.3 * unit_rows(np.random.default_rng(seed).standard_normal((n, DIMS)).astype(np.float32))


def preference(tier: FastTier, q: Floats, items: Floats) -> float:
    """By how much the tier lifts the first title above the mean of the others."""
    lifted = items @ delta(tier.lora(SPACE), q)
    return float(lifted[0] - lifted[1:].mean())


@pytest.mark.parametrize("advantage", [1.0, 0.3, -0.3, -1.0])
def test_one_event_moves_its_title_the_way_it_went_and_by_how_much(advantage: float) -> None:
    q, items = seen_query(), titles(12)
    taught = learn(fresh_tier(SPACE), SPACE, q, items, advantage)
    assert taught.updates == 1
    full = preference(learn(fresh_tier(SPACE), SPACE, q, items, 1.0), q, items)
    assert full > 0.02
    assert preference(taught, q, items) == pytest.approx(advantage * full, rel=0.02)


def test_what_keeps_coming_makes_the_tier_useful() -> None:
    q, items, tier = seen_query(), titles(12), fresh_tier(SPACE)
    for _ in range(6):
        tier = learn(tier, SPACE, q, items, 1.0)
    assert tier.useful
    assert tier.gain > 0


def test_a_viewer_who_turns_around_each_time_has_a_tier_that_is_not_applied() -> None:
    q, items, tier = seen_query(), titles(12), fresh_tier(SPACE)
    for turn in range(6):
        tier = learn(tier, SPACE, q, items, 1.0 if turn % 2 else -1.0)
    assert tier.gain < 0
    assert not tier.useful


def test_one_event_alone_proves_nothing() -> None:
    assert not learn(fresh_tier(SPACE), SPACE, seen_query(), titles(12), 1.0).useful


def test_thousands_of_events_never_move_a_query_by_more_than_its_length() -> None:
    rng, tier = np.random.default_rng(3), fresh_tier(SPACE)
    for turn in range(2000):
        tier = learn(tier, SPACE, seen_query(seed=turn % 7), titles(5, seed=turn % 11), float(rng.choice([1.0, 0.4])))
    product = tier.lora(SPACE).scale * tier.B.astype(np.float32) @ SPACE.A_fast
    assert np.linalg.norm(product, 2) <= 1.001


def test_a_tier_of_an_older_generation_turns_with_the_titles() -> None:
    new, q, items = next_generation().space(), seen_query(), titles(12)
    old = learn(learn(fresh_tier(SPACE), SPACE, q, items, 1.0), SPACE, q, items, 1.0)
    carried, turn = in_space(old, new), new.transfers["g1"].rotation
    assert (carried.generation, carried.updates, carried.gain) == ("g2", old.updates, old.gain)
    before = items @ delta(old.lora(SPACE), q)
    after = (items @ turn) @ delta(carried.lora(new), q @ turn)
    assert np.allclose(after, before, atol=2e-3)


def test_a_tier_that_cannot_be_carried_over_or_is_damaged_begins_anew() -> None:
    tier = learn(fresh_tier(SPACE), SPACE, seen_query(), titles(12), 1.0)
    damaged = tier.B.copy()
    damaged[0, 0] = np.nan
    for lost in (None, replace(tier, generation="g0"), replace(tier, B=damaged), replace(tier, B=tier.B[:5])):
        begun = in_space(lost, SPACE)
        assert (begun.generation, begun.updates) == ("g1", 0)
        assert not begun.B.any()
    assert in_space(tier, SPACE) is tier
