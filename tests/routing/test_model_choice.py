"""Choosing models: the best within the budget, corrected by how answers turned out."""

import numpy as np
import pytest

from core.config import RouterSettings
from core.errors import ConfigurationError, InvalidInput
from core.routing.model_choice import Model, choose, feedback_counts, parse_models, records_of

TABLE = (
    Model("cheap", 1.0, 100.0, 0.9, 0.4),
    Model("middle", 5.0, 400.0, 0.92, 0.7),
    Model("dear", 20.0, 2000.0, 0.95, 0.9),
)


def test_the_most_accurate_affordable_model_is_chosen() -> None:
    assert choose(TABLE, {}, 0.5).model.model_id == "dear"
    assert choose(TABLE, {}, 0.5, budget=19.9).model.model_id == "middle"
    assert choose(TABLE, {}, 0.5, budget=20.0).model.model_id == "dear"
    assert choose(TABLE, {}, 0.5, budget=1.0).accuracy == pytest.approx(0.65)


def test_more_budget_never_means_less_accuracy() -> None:
    found = [choose(TABLE, {}, 0.8, budget=budget).accuracy for budget in (1, 2, 5, 10, 20, 50)]
    assert found == sorted(found)


def test_of_equally_accurate_models_the_cheaper_one_is_chosen() -> None:
    twins = (Model("dear", 9.0, 10.0, 0.9, 0.9), Model("cheap", 2.0, 500.0, 0.9, 0.9))
    assert choose(twins, {}, 0.3).model.model_id == "cheap"


def test_without_an_affordable_model_the_cheapest_is_named_and_marked() -> None:
    choice = choose(TABLE, {}, 0.5, budget=0.5)
    assert (choice.model.model_id, choice.affordable) == ("cheap", False)


def test_feedback_overturns_the_table_on_its_route_only() -> None:
    """The dear model disappoints on one route: .55 instead of .925; forty answers are enough to notice."""
    rng = np.random.default_rng(0)
    counts: dict[str, float] = {}
    for _ in range(40):
        for model, quality in (("dear", 0.55), ("middle", 0.81)):
            good = float(rng.random() < quality)
            for name, amount in feedback_counts(TABLE, "mood_matching", model, 0.5, good, 300.0).items():
                counts[name] = counts.get(name, 0.0) + amount
    learned = choose(TABLE, records_of(counts, TABLE, "mood_matching"), 0.5)
    assert learned.model.model_id == "middle"
    assert learned.answers == 40
    assert learned.latency_ms == pytest.approx((20 * 400 + 40 * 300) / 60)
    assert choose(TABLE, records_of(counts, TABLE, "vector_search"), 0.5).model.model_id == "dear"


def test_answers_to_hard_queries_do_not_condemn_a_model_for_easy_ones() -> None:
    """A cheap model that fails at hard queries exactly as expected stays what it was for easy ones."""
    counts: dict[str, float] = {}
    for good in (0, 0, 1, 0, 1) * 20:  # .4, as the table says of complexity 1
        for name, amount in feedback_counts(TABLE, "vector_search", "cheap", 1.0, float(good), 100.0).items():
            counts[name] = counts.get(name, 0.0) + amount
    only = choose(TABLE[:1], records_of(counts, TABLE[:1], "vector_search"), 0.0)
    assert only.accuracy == pytest.approx(0.9)


def test_nonsense_is_refused() -> None:
    with pytest.raises(InvalidInput, match="complexity"):
        choose(TABLE, {}, 1.5)
    with pytest.raises(InvalidInput, match="budget"):
        choose(TABLE, {}, 0.5, budget=float("nan"))
    with pytest.raises(InvalidInput, match="unheard"):
        feedback_counts(TABLE, "vector_search", "unheard", 0.5, 1.0, 1.0)
    with pytest.raises(InvalidInput, match="quality"):
        feedback_counts(TABLE, "vector_search", "cheap", 0.5, 2.0, 1.0)


@pytest.mark.parametrize(
    "table",
    [
        "[]",
        "nonsense",
        '[{"model_id": "a"}]',
        '[{"model_id": "a", "cost": -1, "latency_ms": 1, "accuracy_easy": 1, "accuracy_hard": 1}]',
        '[{"model_id": "a", "cost": 1, "latency_ms": 1, "accuracy_easy": 1.2, "accuracy_hard": 1}]',
    ],
)
def test_an_impossible_table_is_named_as_configuration(table: str) -> None:
    with pytest.raises(ConfigurationError, match=r"table of models|model 'a'"):
        parse_models(table)


def test_the_default_table_has_four_models_none_of_which_is_useless() -> None:
    models = parse_models(RouterSettings().models)
    assert len(models) == 4
    chosen = {choose(models, {}, 0.7, budget=model.cost).model.model_id for model in models}
    assert chosen == {model.model_id for model in models}
