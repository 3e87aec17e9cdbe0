"""What callers may send about experiments and what they get, and what messages say about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from core.api.schemas import Degraded, ForUser, Id, Moment, Strict, Word, checked_time
from core.experiments.experiment import MAX_VARIANTS, Allocation, Experiment, Status, Variant
from core.experiments.store import Conversion, Exposure
from core.flows.observations import Observations

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
LARGEST_VALUE = 1e9  # of a conversion: more than any film costs, and its square is still exact enough
MARKS = (b'"exposures"', b'"conversions"')  # a message without either holds no observations


class VariantFields(Strict):
    """One way to serve; without overrides, the present way."""

    name: Name
    weight: float = Field(1.0, gt=0, le=1e6, description="of the users who take part, relative to the other variants'")
    overrides: dict[Word, bool | int | float | Word] = Field(
        default_factory=dict, max_length=32, description="ranking setting, or search_weight -> value"
    )

    def variant(self) -> Variant:
        """In the flows' words."""
        return Variant(self.name, self.weight, self.overrides)


class ExperimentBody(Strict):
    """A new experiment; the first variant is the control."""

    name: Name
    variants: Annotated[list[VariantFields], Field(min_length=2, max_length=MAX_VARIANTS)]
    metric: Word = Field(
        "watch_complete",
        description="an interaction type, counted from a user's first exposure on, or the name that conversions report",
    )
    traffic: float = Field(1.0, gt=0, le=1, description="share of users who take part")
    allocation: Literal["fixed", "bandit"] = Field(
        "fixed", description="bandit: weights follow the probability of being best"
    )
    salt: Word | None = Field(None, description="decides who sees what; another one shuffles everybody anew")
    description: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] = ""

    def experiment(self) -> Experiment:
        """The draft in the flows' words, not yet checked."""
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
    """What an experiment should become; what is completed stays so."""

    name: Name
    status: Literal["running", "paused", "completed"] = Field(
        description="paused: nobody is assigned, and a restart gives everybody the same variant as before"
    )

    def wanted(self) -> Status:
        """In the flows' words."""
        return Status(self.status)


class NamedBody(Strict):
    """Which experiment."""

    name: Name


class ReportBody(NamedBody):
    """Which experiment, by which metric."""

    metric: Word | None = Field(None, description="the experiment's own by default")


class AssignmentBody(ForUser):
    """Whose variants are asked for."""


class ConversionBody(ForUser):
    """Something a user did that an experiment counts, outside the event types."""

    experiment_id: Name
    metric_name: Word = Field(description="as the experiment's metric")
    value: float = Field(1.0, ge=-LARGEST_VALUE, le=LARGEST_VALUE, description="what the metric's mean is taken of")
    conversion_id: Id | None = Field(None, description="chosen by the client, so that sending it again counts once")
    timestamp: float | AwareDatetime | None = Field(
        None, union_mode="left_to_right", description="RFC 3339 or Unix seconds, by default the time of arrival"
    )
    metadata: dict[Word, Word | float | bool] = Field(
        default_factory=dict, max_length=16, description="accepted, not kept"
    )

    def conversion(self, now: float) -> Conversion:
        """In the flows' words. Raises InvalidInput for a time that cannot be."""
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
    """One way to serve."""

    name: str
    weight: Annotated[float, Field(description="relative to the other variants'; a bandit's changes")]
    overrides: Annotated[dict[str, Any], Field(description="setting -> value")]


class ExperimentOut(TypedDict):
    """An experiment; the first variant is the control."""

    name: str
    status: Annotated[str, Field(description="draft, running, paused or completed")]
    description: str
    metric: str
    traffic: Annotated[float, Field(description="share of users who take part")]
    allocation: Annotated[str, Field(description="fixed or bandit")]
    variants: list[VariantOut]
    created_at: Moment
    started_at: Moment | None
    stopped_at: Moment | None


class ExperimentsOut(TypedDict):
    """All experiments, drafts and completed ones too."""

    experiments: list[ExperimentOut]


class AssignmentOut(TypedDict):
    """What a user gets; asking counts as no exposure."""

    user_id: str
    variants: Annotated[dict[str, str], Field(description="running experiment -> variant, where the user takes part")]
    degraded: Degraded


class ConversionOut(TypedDict):
    """A conversion that will not be lost."""

    status: Annotated[str, Field(description="accepted")]
    conversion_id: str
    variant: Annotated[str | None, Field(description="the user's now; null: takes no part")]


class RebalancedOut(TypedDict):
    """A bandit's new split."""

    weights: Annotated[dict[str, float], Field(description="variant -> share of the users who take part")]


class ReportedOut(TypedDict):
    """One variant in a report. Effects are of the mean against the control; null for the control itself."""

    variant: str
    weight: Annotated[float, Field(description="its share of the users now, relative to the others'")]
    users: Annotated[int, Field(description="exposed")]
    converted: Annotated[int, Field(description="users who did it at least once")]
    rate: Annotated[float, Field(description="converted / users")]
    rate_low: Annotated[float, Field(description="95 % interval at this look")]
    rate_high: Annotated[float, Field(description="95 % interval at this look")]
    mean: Annotated[float, Field(description="of the metric, per user")]
    chance_to_be_best: Annotated[float, Field(description="posterior probability")]
    effect: Annotated[float | None, Field(description="difference of the means per user")]
    effect_low: Annotated[
        float | None,
        Field(description="always-valid 95 % interval: holds however often one looks; null: without bound"),
    ]
    effect_high: Annotated[float | None, Field(description="as effect_low")]
    relative_effect: Annotated[float | None, Field(description="effect / the control's mean")]
    p_value: Annotated[float | None, Field(description="always valid too")]
    verdict: Annotated[str | None, Field(description="better, worse or undecided")]


class ReportOut(TypedDict):
    """How the variants do, the control first."""

    experiment: ExperimentOut
    metric: str
    variants: list[ReportedOut]
    split_p_value: Annotated[
        float | None, Field(description="of the split of users being the one asked for; null for a bandit")
    ]
    mismatch: Annotated[bool, Field(description="it is not: then the figures say nothing")]
    decision: Annotated[str | None, Field(description="the variant to keep; null while it is open")]
