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
from core.api.schemas import Degraded, Share, Strict, Text, Word
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
    def _one_form(self) -> SelectAttentionBody:
        if sum(given is not None for given in (self.query_type, self.query_text, self.query_embedding)) != 1:
            raise ValueError("give one of query_type, query_text and query_embedding")
        return self


class SettingFields(Strict):
    """Settings of a mechanism; `mechanisms` says which it knows, and the others are refused."""

    heads: Annotated[
        Count | None,
        Field(
            description="slices of the width, which they must divide; by default the largest of 8, 4, 2, 1 that does"
        ),
    ] = None
    groups: Annotated[Count | None, Field(description="of heads that share a key and a value head")] = None
    block: Annotated[Annotated[int, Field(ge=1, le=MAX_KEYS)] | None, Field(description="keys in a block")] = None
    top_k: Annotated[Count | None, Field(description="experts per query")] = None
    stride: Annotated[
        Count | None, Field(description="positions between two keys that are seen; by default sqrt(n)")
    ] = None
    landmarks: Annotated[
        Count | None, Field(description="segment means that stand for all keys; as many as rows is exact")
    ] = None
    iterations: Annotated[Count | None, Field(description="of the normalisation over queries and keys in turn")] = None
    steps: Annotated[Count | None, Field(description="of the walk, after which it is cut")] = None
    globals: Annotated[
        Annotated[int, Field(ge=0, le=MAX_KEYS)] | None, Field(description="keys that everything attends to")
    ] = None
    tau: Annotated[Positive | None, Field(description="the cosine is multiplied by it")] = None
    temperature: Annotated[Positive | None, Field(description="the distance is divided by it")] = None
    epsilon: Annotated[Positive | None, Field(description="the scores are divided by it")] = None
    curvature: Annotated[Positive | None, Field(description="of hyperbolic space, as its absolute value")] = None
    window: Annotated[Reach | None, Field(description="positions to either side")] = None
    radius: Annotated[Reach | None, Field(description="hops, or positions where no hops are given")] = None
    slope: Annotated[Reach | None, Field(description="what a score loses per position of distance")] = None
    decay: Annotated[Reach | None, Field(description="what a score loses per unit of time between query and key")] = (
        None
    )
    causal: Annotated[bool | None, Field(description="only keys that are not later than the query")] = None
    bucketed: Annotated[bool | None, Field(description="time counts as floor(log2(1 + time))")] = None


class PartFields(Strict):
    """A mechanism with its weight in a combination."""

    mechanism: Word
    weight: Annotated[float, Field(ge=0, le=1e6, description="relative to the others'")] = 1.0
    settings: SettingFields = Field(default_factory=SettingFields)

    def part(self) -> Part:
        """In the flows' words, with the settings that were given."""
        return Part(self.mechanism, self.weight, self.settings.model_dump(exclude_none=True))


class DataFields(Strict):
    """What mechanisms need besides vectors; n_q queries, n keys. groups: labels of the keys."""

    hops: Annotated[PerQuery[PerKey[Hops]] | None, Field(description="(n_q, n)")] = None
    edge_features: Annotated[PerQuery[PerKey[EdgeRow]] | None, Field(description="(n_q, n, d_e)")] = None
    positions: Annotated[PerKey[Time] | None, Field(description="(n,)")] = None
    query_positions: Annotated[PerQuery[Time] | None, Field(description="(n_q,)")] = None
    timestamps: Annotated[PerKey[Time] | None, Field(description="(n,), in any unit; `decay` is per that unit")] = None
    query_timestamps: Annotated[PerQuery[Time] | None, Field(description="(n_q,), in the same unit")] = None
    adjacency: Annotated[PerQuery[PerKey[Share]] | None, Field(description="(n_q, n), 0: no edge")] = None
    transition: Annotated[PerKey[PerKey[Share]] | None, Field(description="probabilities, (n_q, n) or (n, n)")] = None
    groups: Annotated[PerKey[Word] | None, Field(description="(n,) labels of the keys")] = None
    degrees: Annotated[PerKey[Hops] | None, Field(description="(n,)")] = None

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
    settings: SettingFields = Field(
        default_factory=SettingFields, description="of `mechanism`; in a combination each has its own"
    )
    queries: PerQuery[Row] = Field(description="(n_q, d)")
    keys: PerKey[Row] = Field(description="(n, d)")
    values: PerKey[Row] = Field(description="(n, d_v)")
    data: DataFields = Field(default_factory=DataFields)
    return_weights: bool = Field(False, description="answer with the weights of the keys, too")

    @model_validator(mode="after")
    def _one_form(self) -> ApplyAttentionBody:
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
    reward: Share = Field(description="1: as good as can be")

    @model_validator(mode="after")
    def _one_form(self) -> AttentionFeedbackBody:
        if (self.mechanism is None) == (self.mechanisms is None):
            raise ValueError("give either mechanism or mechanisms")
        return self

    def shares(self) -> dict[str, float]:
        """Mechanism -> its share of the reward, relative to the others'."""
        if self.mechanism is not None:
            return {self.mechanism: 1.0}
        return {part.mechanism: part.weight for part in self.mechanisms or ()}


class MechanismOut(TypedDict):
    """One attention mechanism and what it can do with."""

    number: Annotated[int, Field(description="its place in the specification's list")]
    mechanism: str
    family: Annotated[str, Field(description="core, hyperbolic, graph or specialized")]
    needs: Annotated[tuple[str, ...], Field(description="data without which it is refused")]
    instead: Annotated[dict[str, str], Field(description="data that serves in place of a needed one")]
    takes: Annotated[list[str], Field(description="further data")]
    settings: Annotated[list[str], Field(description="that it knows; others are refused")]
    softmax: Annotated[bool, Field(description="its output is a convex mix of the values")]
    row_weights: Annotated[bool, Field(description="it has one plain row of weights per query")]
    source: Annotated[str, Field(description="the paper")]


class MechanismsOut(TypedDict):
    """The mechanisms asked for."""

    total: int
    mechanisms: list[MechanismOut]


class ProposalOut(TypedDict):
    """A mechanism that suits the query."""

    mechanism: str
    weight: Annotated[float, Field(description="the weights of all proposed sum to 1")]
    expected_reward: Annotated[float, Field(description="0 to 1, corrected by what was observed")]
    trials: Annotated[float, Field(description="observed rewards, each shared among the mechanisms that earned it")]


class SelectAttentionOut(TypedDict):
    """The three mechanisms for a query, best first."""

    query_type: Annotated[str, Field(description="the most likely")]
    query_types: Annotated[dict[str, float], Field(description="type -> its probability")]
    mechanisms: list[ProposalOut]
    degraded: Degraded


class WeightOut(TypedDict):
    """A mechanism's share of the output; all sum to 1."""

    mechanism: str
    weight: Annotated[float, Field(description="0 to 1")]


class ApplyAttentionOut(TypedDict):
    """The weighted sum of what the mechanisms answer."""

    output: Annotated[list[list[float]], Field(description="(n_q, d_v)")]
    mechanisms: list[WeightOut]
    attention_weights: Annotated[
        list[list[float]] | None, Field(description="(n_q, n); null unless asked for, and where a mechanism has none")
    ]
    degraded: Degraded


class AttentionFeedbackOut(TypedDict):
    """A reward that was taken in."""

    status: Annotated[str, Field(description="accepted")]
