"""Who sees which variant: sticky, independent of other experiments, in the shares that were asked for."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from core.config import RankingSettings
from core.errors import Conflict, InvalidInput
from core.experiments.assign import assign
from core.experiments.experiment import Experiment, Status, Variant, check_independent, checked
from core.experiments.overrides import overridden, variable

USERS = [f"user-{number}" for number in range(20_000)]
TEST = Experiment("test", (Variant("control"), Variant("treated")), salt="s")


def names(experiment: Experiment, users: list[str] = USERS) -> np.ndarray:
    return np.array([variant.name if (variant := assign(experiment, user)) else "" for user in users])


def test_the_same_user_always_sees_the_same_variant_on_every_machine() -> None:
    assert [names(TEST, USERS[:8]).tolist() for _ in range(2)] == [
        ["treated", "treated", "control", "control", "control", "treated", "control", "treated"]
    ] * 2


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.8, 0.2), (3.0, 1.0), (1.0, 1.0, 2.0)])
def test_users_fall_by_the_weights(weights: tuple[float, ...]) -> None:
    variants = tuple(Variant(f"v{place}", weight) for place, weight in enumerate(weights))
    found = names(replace(TEST, variants=variants))
    for variant in variants:
        share = variant.weight / sum(weights)
        assert np.mean(found == variant.name) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(USERS)))


def test_more_traffic_adds_users_and_moves_nobody() -> None:
    few, many = names(replace(TEST, traffic=0.1)), names(replace(TEST, traffic=0.3))
    assert np.mean(few != "") == pytest.approx(0.1, abs=0.01)
    assert np.mean(many != "") == pytest.approx(0.3, abs=0.015)
    assert (few == many)[few != ""].all()


def test_assignments_of_two_experiments_are_independent() -> None:
    one, other = names(TEST), names(replace(TEST, name="other"))
    both = np.mean((one == "treated") & (other == "treated"))
    assert both == pytest.approx(0.25, abs=0.015)
    assert np.mean(one == names(replace(TEST, salt="another"))) == pytest.approx(0.5, abs=0.02)


def test_who_takes_part_says_nothing_about_the_variant() -> None:
    some = names(replace(TEST, traffic=0.2))
    assert np.mean(some[some != ""] == "treated") == pytest.approx(0.5, abs=0.035)


def test_a_growing_weight_only_moves_users_to_its_own_variant() -> None:
    variants = (Variant("a"), Variant("b"), Variant("c"))
    before = names(replace(TEST, variants=variants))
    after = names(replace(TEST, variants=(Variant("a"), Variant("b", 3.0), Variant("c"))))
    assert set(after[before != after]) == {"b"}
    assert np.mean(after == "b") == pytest.approx(0.6, abs=0.015)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Ärger"},
        {"name": "a" * 65},
        {"traffic": 0.0},
        {"traffic": 1.5},
        {"traffic": float("nan")},
        {"variants": (Variant("only"),)},
        {"variants": (Variant("same"), Variant("same"))},
        {"variants": (Variant("a", 0.0), Variant("b"))},
        {"variants": (Variant("a", float("inf")), Variant("b"))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"no_such_setting": 1}))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"popularity_half_life_days": 1.0}))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"mmr_lambda": 1.5}))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"mmr_lambda": float("nan")}))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"preset": "nonsense"}))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"slow_tier": True}))},
        {"variants": (Variant("a"), Variant("b", 1.0, {"pool_size": 0}))},
    ],
)
def test_an_experiment_that_could_not_be_judged_is_refused(change: dict) -> None:
    with pytest.raises(InvalidInput):
        checked(replace(TEST, **change))


def test_what_may_vary_are_presets_boosts_and_the_adapters_tiers() -> None:
    overrides = {
        "preset": "classic",
        "fusion": "scores",
        "base_tier": 0,
        "slow_tier": 0.0,
        "search_weight": 0.4,
    }
    assert checked(replace(TEST, variants=(Variant("a"), Variant("b", 1.0, overrides)))).touched == set(overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"preset": "sona", "fusion": "rrf"},
        {"search_weight": 0.6},
        {"base_tier": 0.0, "slow_tier": 1.0, "fast_tier": 0.0},
        {"pattern_strength": 0.0},
        {"fusion_attention": "selected"},
        {"fusion_attention": ""},
    ],
    ids=lambda overrides: "-".join(overrides),
)
def test_presets_boosts_adapters_patterns_and_attention_are_served_as_variants(overrides: dict) -> None:
    checked(replace(TEST, variants=(Variant("a"), Variant("b", 1.0, overrides))))
    served = overridden(RankingSettings(), overrides)
    own = {name: value for name, value in overrides.items() if name != "search_weight"}
    assert {name: getattr(served, name) for name in own} == own
    assert {name for name, value in asdict(served).items() if value != asdict(RankingSettings())[name]} <= set(own)


def test_a_setting_in_words_may_only_vary_among_known_ones() -> None:
    words = [name for name, kind in variable().items() if kind is str]
    assert "fusion_attention" in words
    for name in words:
        with pytest.raises(InvalidInput, match="must be one of"):
            checked(replace(TEST, variants=(Variant("a"), Variant("b", 1.0, {name: "nonsense"}))))


def test_an_experiment_goes_forward_only() -> None:
    running = TEST.moved_to(Status.RUNNING, 5.0)
    again = running.moved_to(Status.PAUSED, 6.0).moved_to(Status.RUNNING, 7.0)
    assert (again.started_at, again.stopped_at) == (5.0, None)
    done = again.moved_to(Status.COMPLETED, 8.0)
    assert done.stopped_at == 8.0
    for status in Status:
        with pytest.raises(Conflict):
            done.moved_to(status, 9.0)


def test_two_experiments_on_the_same_setting_cannot_both_run() -> None:
    one = replace(TEST, variants=(Variant("a"), Variant("b", 1.0, {"mmr_lambda": 0.5})))
    with pytest.raises(Conflict, match="mmr_lambda"):
        check_independent(replace(one, name="other"), (one,))
    check_independent(replace(one, name="other", variants=TEST.variants), (one,))
    check_independent(one, (one,))
