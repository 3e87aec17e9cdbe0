"""Attention over the signals: learned from examples, kept only where it helps, applied to a request's weights."""

from dataclasses import replace

import numpy as np
import pytest

from core.attention.fusion import FEATURES, MECHANISMS, FusionAttention, attention_rows, circumstances, mixed_factors
from core.ranking.attention_fit import (
    DIMS,
    _rows_and_slopes,
    attended_gains,
    first_keys,
    fit_attention,
    learn_attention,
)
from core.ranking.examples import Examples
from core.ranking.fit import gains

NAMES = ("similar", "following", "content", "context")
STRATEGIES = ("collaborative", "collaborative", "content", "context")
WEIGHTS = np.full((4, len(NAMES)), 4.0)
NIGHT, DAY = 2, 14


def world(m: int, seed: int, planted: float) -> Examples:
    """Moments at which the liked title stands out by context at night and by content by day, as often as `planted`
    says; otherwise by a signal drawn."""
    rng = np.random.default_rng(seed)
    pool = 30
    standings = rng.random((m, pool, len(NAMES))).astype(np.float32)
    hour = np.where(rng.random(m) < 0.5, NIGHT, DAY).astype(np.int8)
    ruled = np.where(hour == NIGHT, NAMES.index("context"), NAMES.index("content"))
    telling = np.where(rng.random(m) < planted, ruled, rng.integers(len(NAMES), size=m))
    standings[np.arange(m), 0, telling] = 1.0
    small = dict.fromkeys(("bucket", "weekday"), np.zeros(m, np.int8))
    return Examples(
        names=NAMES,
        standings=standings,
        mass=np.ones((m, pool), np.float32),
        rows=np.zeros((m, pool), np.int32),
        user=rng.integers(m // 4, size=m).astype(np.int32),
        positives=np.zeros(m, np.int16),
        session=np.zeros(m, np.int16),
        at=np.arange(m, dtype=np.float64),
        hour=hour,
        device=np.full(m, -1, np.int8),
        **small,
    )


def test_a_planted_rule_is_learned_and_helps_examples_that_were_not_seen() -> None:
    found = fit_attention(world(1500, 0, 0.9), WEIGHTS, (), "dot_product")
    night = dict(zip(NAMES, found.factors(circumstances(0, NIGHT, 0, 0, None)), strict=True))
    day = dict(zip(NAMES, found.factors(circumstances(0, DAY, 0, 0, None)), strict=True))
    assert night["context"] > 1.2 > 1 > night["content"]
    assert day["content"] > 1.2 > 1 > day["context"]
    fresh = world(800, 1, 0.9)
    assert attended_gains(found, fresh, WEIGHTS, ()).mean() > gains(fresh, WEIGHTS).mean() + 0.03


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_learns_it_and_the_gate_keeps_it(mechanism: str) -> None:
    kept, [verdict] = learn_attention(world(1200, 2, 0.9), WEIGHTS, (), (mechanism,))
    assert verdict.kept
    assert verdict.gain > 2 * verdict.error
    assert [attention.mechanism for attention in kept] == [mechanism]


def test_the_gate_refuses_what_held_back_examples_do_not_confirm() -> None:
    examples = world(1200, 3, 0.0)
    held = np.arange(1200) >= 840
    turned = replace(examples, hour=np.where(held, NIGHT + DAY - examples.hour, examples.hour))
    rule = world(1200, 3, 0.9)
    reversed_later = replace(rule, hour=np.where(held, NIGHT + DAY - rule.hour, rule.hour).astype(np.int8))
    assert learn_attention(reversed_later, WEIGHTS, (), ("dot_product",))[0] == ()
    _, [verdict] = learn_attention(replace(turned, hour=turned.hour.astype(np.int8)), WEIGHTS, (), ("dot_product",))
    assert abs(verdict.gain) < 0.03
    assert learn_attention(examples.take(np.arange(200)), WEIGHTS, ()) == ((), ())  # 60 held back decide nothing


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_even_attention_leaves_the_weights_exactly_as_they_are(mechanism: str) -> None:
    keys = first_keys(len(NAMES)).astype(np.float32)
    even = FusionAttention(mechanism, FEATURES, NAMES, STRATEGIES, np.zeros((len(FEATURES), DIMS), np.float32), keys)
    assert even.factors(circumstances(1, NIGHT, 6, 4, "tv")) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_measured_slopes_foretell_small_moves(mechanism: str) -> None:
    rng = np.random.default_rng(4)
    queries, keys = rng.normal(size=(3, DIMS)) * 0.3, first_keys(len(NAMES))
    row, by_query, by_key = _rows_and_slopes(mechanism, queries, keys, STRATEGIES)
    step, turn = rng.normal(size=queries.shape) * 1e-3, rng.normal(size=keys.shape) * 1e-3
    moved = attention_rows(mechanism, queries + step, keys + turn, STRATEGIES)
    foretold = row + np.einsum("ud,dus->us", step, by_query) + np.einsum("k,kus->us", turn.ravel(), by_key)
    np.testing.assert_allclose(moved, foretold, atol=1e-5)


def test_factors_have_mean_one_come_back_from_a_record_and_mix_by_share() -> None:
    rng = np.random.default_rng(5)
    features = (*FEATURES, "device tv")
    embedding = rng.normal(size=(len(features), DIMS)).astype(np.float32)
    one = FusionAttention("dot_product", features, NAMES, STRATEGIES, embedding, first_keys(4).astype(np.float32))
    two = replace(one, mechanism="sparsemax", _known={})
    holding = circumstances(2, 20, 5, 1, "tv")
    assert np.mean(one.factors(holding)) == pytest.approx(1)
    assert one.factors(holding) != one.factors(circumstances(2, 20, 5, 1, "phone"))
    again = FusionAttention.from_record(one.to_record())
    assert again.factors(holding) == pytest.approx(one.factors(holding), abs=1e-3)
    mixed = mixed_factors({"dot_product": one, "sparsemax": two}, {"dot_product": 0.75, "sparsemax": 0.25}, holding)
    expected = 0.75 * np.array(one.factors(holding)) + 0.25 * np.array(two.factors(holding))
    assert list(mixed.values()) == pytest.approx(expected.tolist())
    assert mixed_factors({"dot_product": one}, {"gat": 1.0}, holding) == {}


def test_circumstances_are_read_in_their_ranges() -> None:
    assert circumstances(0, 0, 0, 0, None) == ("history 0", "night", "working day", "session 0")
    assert circumstances(3, 23, 6, 9, "tv") == ("history 3", "evening", "weekend", "session 2", "device tv")
    assert circumstances(1, 12, 4, 1, None)[1:] == ("afternoon", "working day", "session 1")
