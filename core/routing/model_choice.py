"""Which language model should answer a query: the most accurate one that the budget allows.

The configured table says what each model costs and what to expect of it; feedback corrects both per route. The models
are the caller's: SONA chooses, and learns from how the choices turned out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import ConfigurationError, InvalidInput
from core.routing.routes import CLASSES

PRIOR_WEIGHT = 20.0  # answers that the table's expectations weigh as much as
MAX_MODELS = 32


@dataclass(frozen=True, slots=True)
class Model:
    """cost: of one answer, in the budget's unit; accuracy_easy, accuracy_hard: expected share of good answers at
    complexity 0 and 1, in between in proportion."""

    model_id: str
    cost: float
    latency_ms: float
    accuracy_easy: float
    accuracy_hard: float

    def accuracy(self, complexity: float) -> float:
        """Expected share of good answers at a complexity in [0, 1], by the table alone."""
        return self.accuracy_easy + complexity * (self.accuracy_hard - self.accuracy_easy)


@dataclass(frozen=True, slots=True)
class Record:
    """Sums over a model's answers on one route. surprise: good answers (shares count) minus those expected."""

    answers: float = 0.0
    good: float = 0.0
    surprise: float = 0.0
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """answers: how many the expectations have been corrected by; affordable: False when every model exceeds the
    budget and this is the cheapest."""

    model: Model
    accuracy: float
    latency_ms: float
    answers: int
    affordable: bool


def parse_models(table: str) -> tuple[Model, ...]:
    """The table of a JSON list of objects with the fields of Model. Raises ConfigurationError naming what is wrong."""
    try:
        models = tuple(Model(**entry) for entry in json.loads(table))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the table of models: {error}") from error
    if not 0 < len({model.model_id for model in models}) == len(models) <= MAX_MODELS:
        raise ConfigurationError(f"the table of models needs 1 to {MAX_MODELS} models of different names")
    for model in models:
        numbers = (model.cost, model.latency_ms, model.accuracy_easy, model.accuracy_hard)
        if not all(isinstance(value, int | float) and math.isfinite(value) and value >= 0 for value in numbers):
            raise ConfigurationError(f"model {model.model_id!r}: cost, latency and accuracies are numbers >= 0")
        if max(model.accuracy_easy, model.accuracy_hard) > 1:
            raise ConfigurationError(f"model {model.model_id!r}: an accuracy is at most 1")
    return models


def expected_accuracy(model: Model, complexity: float, record: Record) -> float:
    """The table's expectation plus the mean surprise so far, shrunk by PRIOR_WEIGHT answers without any; in [0, 1]."""
    corrected = model.accuracy(complexity) + record.surprise / (PRIOR_WEIGHT + record.answers)
    return min(max(corrected, 0.0), 1.0)


def expected_latency_ms(model: Model, record: Record) -> float:
    """The table's latency as the mean of PRIOR_WEIGHT answers, with those measured."""
    return (PRIOR_WEIGHT * model.latency_ms + record.latency_ms) / (PRIOR_WEIGHT + record.answers)


def choose(
    models: Sequence[Model], records: Mapping[str, Record], complexity: float, budget: float | None = None
) -> Choice:
    """The model with the best expected accuracy of those that cost at most `budget`; of equals the cheaper, then the
    faster. records: by model id, of the query's route. Raises InvalidInput for numbers out of range."""
    if not 0 <= complexity <= 1:
        raise InvalidInput("complexity_score must lie in [0, 1]")
    if budget is not None and not budget >= 0:
        raise InvalidInput("budget_remaining must not be negative")
    affordable = [model for model in models if budget is None or model.cost <= budget]
    considered = affordable or [min(models, key=lambda model: (model.cost, model.latency_ms))]
    described = [_describe(model, records.get(model.model_id, Record()), complexity) for model in considered]
    best = max(described, key=lambda choice: (round(choice.accuracy, 6), -choice.model.cost, -choice.latency_ms))
    return best if affordable else Choice(best.model, best.accuracy, best.latency_ms, best.answers, False)


def _describe(model: Model, record: Record, complexity: float) -> Choice:
    accuracy = expected_accuracy(model, complexity, record)
    return Choice(model, accuracy, expected_latency_ms(model, record), int(record.answers), True)


def feedback_counts(
    models: Sequence[Model], route: str, model_id: str, complexity: float, quality: float, latency_ms: float
) -> dict[str, float]:
    """What one answer adds to the shared counters. quality: 1 a good answer, 0 a bad one, in between a share.

    Raises InvalidInput for an unknown route or model and for numbers out of range.
    """
    model = next((model for model in models if model.model_id == model_id), None)
    if model is None or route not in CLASSES:
        raise InvalidInput(f"no model {model_id!r} or no route {route!r}")
    if not (0 <= quality <= 1 and 0 <= complexity <= 1 and 0 <= latency_ms < math.inf):
        raise InvalidInput("quality and complexity lie in [0, 1], a latency is a number of milliseconds")
    name = f"model:{route}:{model_id}"
    return {
        f"{name}:answers": 1.0,
        f"{name}:good": quality,
        f"{name}:surprise": quality - model.accuracy(complexity),
        f"{name}:latency_ms": latency_ms,
    }


def records_of(counts: Mapping[str, float], models: Sequence[Model], route: str) -> dict[str, Record]:
    """The records of a route in the shared counters, by model id."""
    return {
        model.model_id: Record(
            *(
                counts.get(f"model:{route}:{model.model_id}:{name}", 0.0)
                for name in ("answers", "good", "surprise", "latency_ms")
            )
        )
        for model in models
    }
