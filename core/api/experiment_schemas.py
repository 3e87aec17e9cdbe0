"""What callers may send about experiments and what they get, and what messages say about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from core.api.schemas import ForUser, Id, Strict, Word, checked_time
from core.experiments.experiment import MAX_VARIANTS, Allocation, Experiment, Status, Variant
from core.experiments.store import Conversion, Exposure
from core.flows.observations import Observations

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
LARGEST_VALUE = 1e9  # of a conversion: more than any film costs, and its square is still exact enough
MARKS = (b'"exposures"', b'"conversions"')  # a message without either holds no observations


class VariantFields(Strict):
    name: Name
    weight: float = Field(1.0, gt=0, le=1e6)
    overrides: dict[Word, bool | int | float | Word] = Field(default_factory=dict, max_length=32)

    def variant(self) -> Variant:
        return Variant(self.name, self.weight, self.overrides)


class ExperimentBody(Strict):
    """A new experiment; the first variant is the control."""

    name: Name
    variants: Annotated[list[VariantFields], Field(min_length=2, max_length=MAX_VARIANTS)]
    metric: Word = "watch_complete"
    traffic: float = Field(1.0, gt=0, le=1)
    allocation: Literal["fixed", "bandit"] = "fixed"
    salt: Word | None = None
    description: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] = ""

    def experiment(self) -> Experiment:
        return Experiment(
            name=self.name,
            variants=tuple(fields.variant() for fields in self.variants),
            metric=self.metric,
            traffic=self.traffic,
            salt=self.salt or "",
            allocation=Allocation(self.allocation),
            description=self.description,
        )


class StatusBody(Strict):
    name: Name
    status: Literal["running", "paused", "completed"]

    def wanted(self) -> Status:
        return Status(self.status)


class NamedBody(Strict):
    name: Name


class ReportBody(NamedBody):
    metric: Word | None = None  # the experiment's own by default


class AssignmentBody(ForUser):
    """Whose variants are asked for."""


class ConversionBody(ForUser):
    experiment_id: Name
    metric_name: Word
    value: float = Field(1.0, ge=-LARGEST_VALUE, le=LARGEST_VALUE)
    conversion_id: Id | None = None  # chosen by the client, so that sending it again counts once
    timestamp: float | AwareDatetime | None = Field(None, union_mode="left_to_right")
    metadata: dict[Word, Word | float | bool] = Field(default_factory=dict, max_length=16)  # accepted, not kept

    def conversion(self, now: float) -> Conversion:
        at = checked_time(self.timestamp, now, now)
        return Conversion(self.conversion_id or uuid4().hex, self.experiment_id, self.metric_name, self.value, at)


class _Published(Strict):
    model_config = ConfigDict(extra="ignore")  # fields of newer publishers


class _ExposureRecord(_Published):
    experiment: Name
    variant: Name
    at: float


class _ConversionRecord(_Published):
    conversion_id: Id
    experiment: Name
    metric: Word
    value: float = Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)
    at: float


class _ObservationsRecord(_Published):
    user_id: Id
    exposures: list[_ExposureRecord] = Field(default_factory=list, max_length=100)
    conversions: list[_ConversionRecord] = Field(default_factory=list, max_length=500)


_OBSERVATIONS = TypeAdapter(_ObservationsRecord)


def parse_observations(data: bytes, now: float) -> tuple[Observations | None, str]:
    """What a message's data says about experiments, None if nothing; and why it says nothing usable ("": it does not).

    Times are clamped to what can be, because a message cannot be sent back.
    """
    if not any(mark in data for mark in MARKS):
        return None, ""
    try:
        from_json(data, allow_inf_nan=False)
        read = _OBSERVATIONS.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return None, f"{'.'.join(str(part) for part in first['loc']) or 'observations'}: {first['msg']}"
    except ValueError:
        return None, "observations: not JSON"
    exposures = tuple(Exposure(one.experiment, one.variant, min(max(one.at, 0.0), now)) for one in read.exposures)
    conversions = tuple(
        Conversion(one.conversion_id, one.experiment, one.metric, one.value, min(max(one.at, 0.0), now))
        for one in read.conversions
    )
    return Observations(read.user_id, exposures, conversions), ""


class VariantOut(TypedDict):
    name: str
    weight: float
    overrides: dict[str, Any]


class ExperimentOut(TypedDict):
    name: str
    status: str
    description: str
    metric: str
    traffic: float
    allocation: str
    variants: list[VariantOut]
    created_at: str
    started_at: str | None
    stopped_at: str | None


class ExperimentsOut(TypedDict):
    experiments: list[ExperimentOut]


class AssignmentOut(TypedDict):
    user_id: str
    variants: dict[str, str]  # experiment -> variant
    degraded: tuple[str, ...]


class ConversionOut(TypedDict):
    status: str
    conversion_id: str
    variant: str | None


class RebalancedOut(TypedDict):
    weights: dict[str, float]


class ReportedOut(TypedDict):
    variant: str
    weight: float
    users: int
    converted: int
    rate: float
    rate_low: float  # 95 % interval at this look
    rate_high: float
    mean: float
    chance_to_be_best: float
    effect: float | None  # of the mean against the control; the rest is None for the control itself
    effect_low: float | None  # always-valid 95 % interval: holds however often one looks
    effect_high: float | None
    relative_effect: float | None
    p_value: float | None
    verdict: str | None


class ReportOut(TypedDict):
    experiment: ExperimentOut
    metric: str
    variants: list[ReportedOut]
    split_p_value: float | None
    mismatch: bool
    decision: str | None
