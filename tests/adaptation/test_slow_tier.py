"""The slow tier between two adaptations: kept whole, carried to the next generation, and never counted twice."""

from dataclasses import replace

import numpy as np
import pytest
from adapting import DIMS, generation, next_generation, space

from core.adaptation import codec, slow_tier
from core.adaptation.ewc import Ewc
from core.adaptation.fast_tier import FastTier
from core.adaptation.instant import DECAY
from core.adaptation.lora import Lora, delta
from core.adaptation.slow_tier import SlowTier, applied, carried_over, folded_in, fresh, pack, unfolded, unpack
from core.adaptation.tiers import product_norm
from core.errors import CorruptData, InvalidInput

SIZE = DIMS * 8


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tier(seed: int = 0) -> SlowTier:
    """A tier with weights, a finished taste and a present one."""
    ewc = Ewc(SIZE)
    ewc.observe(random(SIZE, seed=seed + 1))
    ewc.finish_task(random(SIZE, seed=seed + 2))
    ewc.observe(random(SIZE, seed=seed + 3))
    new = fresh(space(), ewc)
    return replace(new, adapter=replace(new.adapter, slow=random(DIMS, 8, seed=seed), version=3), learned_at=7.5)


def test_what_is_packed_comes_back_bit_for_bit() -> None:
    before = tier()
    after = unpack(pack(before), Ewc(SIZE))
    assert after.adapter.slow.tobytes() == before.adapter.slow.tobytes()
    assert (after.adapter.version, after.learned_at, after.task_from) == (3, 7.5, -1e300)
    w = random(SIZE, seed=9)
    assert after.ewc.penalty(w) == before.ewc.penalty(w) > 0
    assert after.ewc.fisher.tobytes() == before.ewc.fisher.tobytes()
    assert pack(after) == pack(before)


def test_whoever_only_applies_the_adapter_reads_the_cold_form_too() -> None:
    decoded = codec.decode(pack(tier()))
    assert decoded.slow.tobytes() == tier().adapter.slow.tobytes()


def test_neither_weights_nor_memory_that_are_not_finite_are_packed() -> None:
    good = tier()
    bad = good.adapter.slow.copy()
    bad[3, 3] = np.nan
    with pytest.raises(InvalidInput):
        pack(replace(good, adapter=replace(good.adapter, slow=bad)))
    good.ewc.running[5] = np.inf
    with pytest.raises(CorruptData):
        pack(good)


def test_an_adapter_without_a_memory_is_not_a_slow_tier() -> None:
    with pytest.raises(CorruptData):
        unpack(codec.encode(tier().adapter, codec.COLD_KINDS), Ewc(SIZE))
    with pytest.raises(CorruptData):
        unpack(pack(tier())[:-1], Ewc(SIZE))


def test_in_the_next_generation_the_adapter_does_what_it_did() -> None:
    old, new = generation().space(), next_generation().space()
    before = tier()
    after = carried_over(before, new)
    assert after is not None
    assert after.adapter.generation == "g2"
    turn = new.transfers["g1"].rotation
    q = random(5, DIMS, seed=4)
    expected = delta(Lora(old.A_slow, before.adapter.slow, 1.0), q) @ turn
    np.testing.assert_allclose(delta(after.slow(new.A_slow), q @ turn), expected, atol=1e-4)


def test_in_the_next_generation_finished_tastes_hold_as_much_as_before() -> None:
    before = tier()
    after = carried_over(before, next_generation().space())
    assert after is not None
    assert after.ewc.mass == pytest.approx(before.ewc.mass, rel=1e-5)
    assert after.ewc.finished == before.ewc.finished
    way = next_generation().transfers["g1"]
    anchor = way.rotation.T @ before.ewc.tasks[0].anchor.reshape(DIMS, 8) @ way.slow
    assert np.abs(after.ewc.pull(anchor.ravel())).max() < 1e-3, "it pulls towards the old weights, turned"


def test_where_no_way_leads_nothing_is_carried_over() -> None:
    assert carried_over(tier(), replace(next_generation().space(), transfers={})) is None
    foreign = tier()
    foreign = replace(foreign, adapter=replace(foreign.adapter, embedding_version="others"))
    assert carried_over(foreign, next_generation().space()) is None


def test_folding_moves_what_the_fast_tier_does_into_the_slow_one() -> None:
    of, before = space(), tier()
    fast = random(DIMS, 2, seed=8).astype(np.float16)
    of = replace(of, A_fast=of.A_slow[:2])  # then nothing is lost
    after, lost = folded_in(before, of, fast)
    assert lost == pytest.approx(0.0, abs=1e-3)
    q = random(5, DIMS, seed=4)
    both = delta(before.slow(of.A_slow), q) + delta(Lora(of.A_fast, fast.astype(np.float32), 1.0), q)
    np.testing.assert_allclose(delta(after.slow(of.A_slow), q), both, atol=1e-3)
    assert not unfolded(fast, after.adapter.fast).any(), "nothing is left to apply or to fold again"
    again, _ = folded_in(after, of, fast)
    assert again.adapter.slow.tobytes() == after.adapter.slow.tobytes()


def test_what_of_a_fold_the_slow_tier_cannot_hold_is_measured() -> None:
    of, before = space(), tier()
    fast = random(DIMS, 2, seed=8).astype(np.float16)
    after, lost = folded_in(before, of, fast)
    gained = Lora(of.A_slow, after.adapter.slow - before.adapter.slow, 1.0)
    kept = product_norm(gained.A, gained.B) * gained.scale
    whole = product_norm(of.A_fast, fast.astype(np.float32)) * 0.5
    assert lost**2 + (kept / whole) ** 2 == pytest.approx(1.0, abs=1e-2)


def test_what_the_fast_tier_learns_after_a_fold_is_still_applied() -> None:
    folded, later = random(DIMS, 2, seed=1), random(DIMS, 2, seed=2)
    later -= folded * np.vdot(later, folded) / np.vdot(folded, folded)
    decayed = (1 - DECAY) ** 50
    rest = unfolded(decayed * folded + later, folded)
    np.testing.assert_allclose(rest, later, atol=1e-5)
    np.testing.assert_array_equal(unfolded(later, folded), later)  # a tier that began anew
    np.testing.assert_allclose(unfolded(3 * folded, folded), 2 * folded, atol=1e-5)
    np.testing.assert_array_equal(unfolded(-folded, folded), -folded)


def ranks(tiers: dict[str, Lora]) -> dict[str, int]:
    return {name: lora.rank for name, lora in tiers.items()}


def test_a_fast_tier_is_applied_while_it_is_useful_and_a_foreign_adapter_never() -> None:
    of, mine = space(), tier().adapter
    useful = FastTier("g1", random(DIMS, 2).astype(np.float16), gain=0.1, updates=9)
    assert ranks(applied(of, mine, useful)) == {"base": 4, "slow": 8, "fast": 2}
    assert ranks(applied(of, mine, replace(useful, gain=-0.1))) == {"base": 4, "slow": 8}
    assert ranks(applied(of, replace(mine, generation="g0"), replace(useful, generation="g0"))) == {"base": 4}
    assert ranks(applied(of, None, None)) == {"base": 4}
    assert slow_tier.ALPHA == 1.0
