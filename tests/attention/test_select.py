"""Selection of mechanisms: the table first, then what was observed."""

import numpy as np
import pytest

from core.attention import names
from core.attention.select import (
    QUERY_TYPES,
    TABLE,
    Proposal,
    observed,
    only,
    propose,
    reward_counts,
    type_chances,
    usable_with,
)
from core.errors import InvalidInput
from core.routing.routes import CLASSES

NOTHING = np.zeros((len(QUERY_TYPES), len(names())))
ANY = usable_with(None)


def certain(route: str) -> dict[str, float]:
    return {name: float(name == route) for name in CLASSES}


def named(proposals: tuple[Proposal, ...]) -> list[str]:
    return [proposal.mechanism for proposal in proposals]


@pytest.mark.parametrize("query_type", QUERY_TYPES)
def test_before_anything_is_observed_the_table_decides(query_type: str) -> None:
    chosen = propose(only(query_type), NOTHING, NOTHING, ANY)
    assert named(chosen) == [*TABLE[query_type], "dot_product"]
    weights = [proposal.weight for proposal in chosen]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1)
    assert all(proposal.trials == 0 for proposal in chosen)


@pytest.mark.parametrize(
    ("route", "query_type"),
    [
        ("gnn_similarity", "similar"),
        ("mood_matching", "genre_hierarchy"),
        ("availability_check", "cross_platform"),
        ("personalized_hybrid", "long_sequence"),
        ("catalog_freshness", "mixed"),
        ("out_of_domain", "mixed"),
    ],
)
def test_a_route_leads_to_the_type_of_its_queries(route: str, query_type: str) -> None:
    assert type_chances(certain(route)) == pytest.approx(only(query_type))


def test_types_are_probabilities_and_a_query_of_several_routes_is_mixed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        chances = dict(zip(CLASSES, rng.dirichlet(np.ones(len(CLASSES))), strict=True))
        of_type = type_chances(chances, float(rng.random()))
        assert of_type.min() >= 0
        assert of_type.sum() == pytest.approx(1)
    assert type_chances(certain("gnn_similarity"), 0.9)[QUERY_TYPES.index("mixed")] == pytest.approx(0.9)


def test_between_two_types_the_primaries_of_both_are_proposed() -> None:
    halves = (only("similar") + only("cross_platform")) / 2
    assert {"graph_rope", "cross"} <= set(named(propose(halves, NOTHING, NOTHING, ANY)))


def test_nothing_is_proposed_that_needs_data_which_is_not_there() -> None:
    assert named(propose(only("similar"), NOTHING, NOTHING, usable_with(())))[0] == "dot_product"
    assert named(propose(only("similar"), NOTHING, NOTHING, usable_with({"hops"})))[0] == "graph_rope"
    assert usable_with({"positions"})[names().index("neighborhood")]  # they serve in place of hops
    with pytest.raises(InvalidInput):
        propose(only("similar"), NOTHING, NOTHING, np.zeros(len(names()), bool))


def test_good_rewards_raise_a_mechanism_for_their_type_only() -> None:
    counts: dict[str, float] = {}
    for _ in range(40):
        for name, amount in reward_counts("similar", {"cosine": 1.0}, 1.0).items():
            counts[name] = counts.get(name, 0.0) + amount
    trials, rewards = observed(counts)
    assert propose(only("similar"), trials, rewards, ANY)[0] == Proposal(
        "cosine", pytest.approx(0.6, abs=0.3), pytest.approx((0.4 * 10 + 40) / 50), 40.0
    )
    assert named(propose(only("mixed"), trials, rewards, ANY)) == [*TABLE["mixed"], "dot_product"]


def test_a_reward_is_shared_among_the_mechanisms_that_earned_it() -> None:
    trials, rewards = observed(reward_counts("mixed", {"moe": 3.0, "flash": 1.0}, 0.8))
    row = QUERY_TYPES.index("mixed")
    columns = [names().index(name) for name in ("moe", "flash")]
    assert trials[row, columns] == pytest.approx([0.75, 0.25])
    assert rewards[row, columns] == pytest.approx([0.6, 0.2])
    assert trials.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("query_type", "shares"),
    [("none", {"moe": 1.0}), ("mixed", {"none": 1.0}), ("mixed", {"moe": 0.0}), ("mixed", {"moe": 2.0, "flash": -1.0})],
)
def test_what_there_is_not_earns_nothing(query_type: str, shares: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        reward_counts(query_type, shares, 1.0)


def test_other_counters_are_passed_over() -> None:
    others = {"route:mixed:queries": 3.0, "attention:mixed:gone:trials": 2.0, "attention:mixed:moe": 1.0}
    trials, rewards = observed(others)
    assert not trials.any()
    assert not rewards.any()


def test_a_mechanism_that_the_table_does_not_name_is_found_when_it_is_the_best() -> None:
    rng, order = np.random.default_rng(3), names()
    worth = np.full(len(order), 0.3)
    worth[order.index("temporal")] = 0.9
    row, trials, rewards = QUERY_TYPES.index("long_sequence"), NOTHING.copy(), NOTHING.copy()
    earned = []
    for _ in range(3000):
        first = order.index(propose(only("long_sequence"), trials, rewards, ANY)[0].mechanism)
        earned.append(float(rng.random() < worth[first]))
        trials[row, first] += 1
        rewards[row, first] += earned[-1]
    assert np.mean(earned[-500:]) > 0.8
    assert np.mean(earned[:200]) < np.mean(earned[-500:])
