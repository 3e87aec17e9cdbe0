"""What callers may send to the attention service and what they get.

Sizes are bounded so that an answer stays a matter of milliseconds, numbers so that float32 can hold their products.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field, model_validator
from typing_extensions import TypedDict

from core.api.router_schemas import MAX_DIMS
from core.api.schemas import Share, Strict, Text, Word
from core.errors import InvalidInput
from core.flows.attention import DATA, Part

T = TypeVar("T")

MAX_QUERIES, MAX_KEYS, MAX_WIDTH, MAX_EDGE_FEATURES, MAX_PARTS = 64, 512, 256, 16, 8
LARGEST = 1e4

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Time = Annotated[float, Field(ge=-1e11, le=1e11)]
Hops = Annotated[float, Field(ge=0, le=1e9)]
Row = Annotated[list[Number], Field(min_length=1, max_length=MAX_WIDTH)]
Count = Annotated[int, Field(ge=1, le=64)]
Positive = Annotated[float, Field(ge=1e-3, le=1e3)]
Reach = Annotated[float, Field(ge=0, le=1e6)]
PerQuery = Annotated[list[T], Field(min_length=1, max_length=MAX_QUERIES)]
PerKey = Annotated[list[T], Field(min_length=1, max_length=MAX_KEYS)]
EdgeRow = Annotated[list[Number], Field(min_length=1, max_length=MAX_EDGE_FEATURES)]

QueryType = Literal["similar", "genre_hierarchy", "cross_platform", "long_sequence", "multi_hop", "mixed"]
Family = Literal["core", "hyperbolic", "graph", "specialized"]
Data = Literal[
    "hops",
    "edge_features",
    "positions",
    "query_positions",
    "timestamps",
    "query_timestamps",
    "adjacency",
    "transition",
    "groups",
    "degrees",
]


class MechanismsBody(Strict):
    """Which mechanisms to list: all of them, or those of a family."""

    family: Family | None = None


class SelectAttentionBody(Strict):
    """A query by its type, its words or its embedding. available: the data at hand; without it, any may be needed."""

    query_type: QueryType | None = None
    query_text: Text | None = Field(None, validation_alias=AliasChoices("query_text", "query"))
    query_embedding: Annotated[list[float], Field(min_length=1, max_length=MAX_DIMS)] | None = None
    available: Annotated[list[Data], Field(max_length=len(DATA))] | None = None

    @model_validator(mode="after")
    def one_form(self) -> SelectAttentionBody:
        if sum(given is not None for given in (self.query_type, self.query_text, self.query_embedding)) != 1:
            raise ValueError("give one of query_type, query_text and query_embedding")
        return self


class SettingFields(Strict):
    """Settings of a mechanism; `mechanisms` says which it knows, and the others are refused."""

    heads: Count | None = None
    groups: Count | None = None
    block: Annotated[int, Field(ge=1, le=MAX_KEYS)] | None = None
    top_k: Count | None = None
    stride: Count | None = None
    landmarks: Count | None = None
    iterations: Count | None = None
    steps: Count | None = None
    globals: Annotated[int, Field(ge=0, le=MAX_KEYS)] | None = None
    tau: Positive | None = None
    temperature: Positive | None = None
    epsilon: Positive | None = None
    curvature: Positive | None = None
    window: Reach | None = None
    radius: Reach | None = None
    slope: Reach | None = None
    decay: Reach | None = None
    causal: bool | None = None
    bucketed: bool | None = None


class PartFields(Strict):
    """A mechanism with its weight in a combination."""

    mechanism: Word
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    settings: SettingFields = Field(default_factory=SettingFields)

    def part(self) -> Part:
        return Part(self.mechanism, self.weight, self.settings.model_dump(exclude_none=True))


class DataFields(Strict):
    """What mechanisms need besides vectors; n_q queries, n keys. groups: labels of the keys."""

    hops: PerQuery[PerKey[Hops]] | None = None  # (n_q, n)
    edge_features: PerQuery[PerKey[EdgeRow]] | None = None  # (n_q, n, d_e)
    positions: PerKey[Time] | None = None
    query_positions: PerQuery[Time] | None = None
    timestamps: PerKey[Time] | None = None  # in any unit; `decay` is per that unit
    query_timestamps: PerQuery[Time] | None = None
    adjacency: PerQuery[PerKey[Share]] | None = None  # (n_q, n), 0: no edge
    transition: PerKey[PerKey[Share]] | None = None  # (n_q, n) or (n, n)
    groups: PerKey[Word] | None = None
    degrees: PerKey[Hops] | None = None

    def given(self) -> dict[str, NDArray[Any]]:
        """What is there, as arrays. Raises InvalidInput for rows of unequal lengths."""
        return {name: array(given, name) for name, given in self.model_dump(exclude_none=True).items()}


def array(rows: list[Any], label: str) -> NDArray[Any]:
    """Lists of lists as an array. Raises InvalidInput for rows of unequal lengths."""
    try:
        return np.array(rows)
    except ValueError as error:
        raise InvalidInput(f"{label} has rows of unequal lengths, so it has no shape") from error


class ApplyAttentionBody(Strict):
    """Queries (n_q, d), keys (n, d) and values (n, d_v) for one mechanism, a weighted combination, or the mechanisms
    that are selected for a type of query."""

    mechanism: Word | None = None
    mechanisms: Annotated[list[PartFields], Field(min_length=1, max_length=MAX_PARTS)] | None = None
    query_type: QueryType | None = None
    settings: SettingFields = Field(default_factory=SettingFields)  # of `mechanism`
    queries: PerQuery[Row]
    keys: PerKey[Row]
    values: PerKey[Row]
    data: DataFields = Field(default_factory=DataFields)
    return_weights: bool = False

    @model_validator(mode="after")
    def one_form(self) -> ApplyAttentionBody:
        if sum(given is not None for given in (self.mechanism, self.mechanisms, self.query_type)) != 1:
            raise ValueError("give one of mechanism, mechanisms and query_type")
        if self.mechanism is None and self.settings.model_fields_set:
            raise ValueError("settings belong to mechanism; in a combination each has its own")
        return self

    def parts(self) -> list[Part]:
        """What is named; nothing where a type is."""
        if self.mechanism is not None:
            return [PartFields(mechanism=self.mechanism, settings=self.settings).part()]
        return [part.part() for part in self.mechanisms or ()]


class AttentionFeedbackBody(Strict):
    """What came of an answer: `reward` from 0 to 1, for one mechanism or for those that it combined."""

    query_type: QueryType
    mechanism: Word | None = None
    mechanisms: Annotated[list[PartFields], Field(min_length=1, max_length=MAX_PARTS)] | None = None
    reward: Share

    @model_validator(mode="after")
    def one_form(self) -> AttentionFeedbackBody:
        if (self.mechanism is None) == (self.mechanisms is None):
            raise ValueError("give either mechanism or mechanisms")
        return self

    def shares(self) -> dict[str, float]:
        if self.mechanism is not None:
            return {self.mechanism: 1.0}
        return {part.mechanism: part.weight for part in self.mechanisms or ()}


class MechanismOut(TypedDict):
    number: int
    mechanism: str
    family: str
    needs: tuple[str, ...]  # data without which it is refused
    instead: dict[str, str]  # data that serves in place of a needed one
    takes: list[str]  # further data
    settings: list[str]
    softmax: bool  # its output is a convex mix of the values
    row_weights: bool  # it has one plain row of weights per query
    source: str


class MechanismsOut(TypedDict):
    total: int
    mechanisms: list[MechanismOut]


class ProposalOut(TypedDict):
    mechanism: str
    weight: float
    expected_reward: float
    trials: float  # observed rewards, each shared among the mechanisms that earned it


class SelectAttentionOut(TypedDict):
    query_type: str
    query_types: dict[str, float]
    mechanisms: list[ProposalOut]
    degraded: tuple[str, ...]


class WeightOut(TypedDict):
    mechanism: str
    weight: float


class ApplyAttentionOut(TypedDict):
    output: list[list[float]]  # (n_q, d_v)
    mechanisms: list[WeightOut]
    attention_weights: list[list[float]] | None  # (n_q, n); null unless asked for, and where a mechanism has none
    degraded: tuple[str, ...]


class AttentionFeedbackOut(TypedDict):
    status: str
