"""Which mechanisms suit a query: the best three of the 39 by its type, with weights, corrected by observed reward.

Types are read off the state of the router's FastGRNN by a head of their own (`core.attention.type_head`). Which
mechanism then serves a type no sentence can teach: that is observed. So the table below is the prior, worth
PRIOR_TRIALS observations, and a bandit replaces it by what was observed. It is UCB1 (Auer et al. 2002) on the
posterior means: without observations its order is the table's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from core.attention.registry import Array, describe, names
from core.attention.type_head import shipped_head
from core.errors import InvalidInput
from core.numeric.activations import softmax
from core.routing.router import Routing
from core.routing.routes import CLASSES, OUT_OF_DOMAIN

# Type -> primary and secondary mechanism.
TABLE = {
    "similar": ("graph_rope", "edge_featured"),
    "genre_hierarchy": ("hyperbolic", "hierarchical"),
    "cross_platform": ("cross", "local_global"),
    "long_sequence": ("flash", "linear"),
    "multi_hop": ("neighborhood", "dual_space"),
    "mixed": ("moe", "multi_head"),
}
QUERY_TYPES = tuple(TABLE)
# What a route's queries ask of attention; what its sentences teach the head. A description is of a kind of title, or
# leads over people and facts to it.
ROUTE_TYPES: dict[str, dict[str, float]] = {
    "gnn_similarity": {"similar": 1.0},
    "vector_search": {"genre_hierarchy": 0.5, "multi_hop": 0.5},
    "mood_matching": {"genre_hierarchy": 1.0},
    "catalog_freshness": {"mixed": 1.0},
    "availability_check": {"cross_platform": 1.0},
    "personalized_hybrid": {"long_sequence": 1.0},
    OUT_OF_DOMAIN: {"mixed": 1.0},
}
WITHOUT_WORDS = "long_sequence"  # the type of a request for recommendations that says nothing: its history speaks
SELECTED = "selected"  # in settings, instead of a mechanism's name
ALWAYS_SENSIBLE = "dot_product"
PRIMARY, SECONDARY, SENSIBLE, OTHER = 0.6, 0.55, 0.5, 0.4  # expected rewards before any is observed
PRIOR_TRIALS = 10.0
EXPLORE = (
    0.15  # UCB1 has sqrt 2, for a few arms without prior. Simulated: less finds a better arm late, more costs more
)
TEMPERATURE = 0.1  # of the weights: .1 more reward expected is e times the weight
TOP = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mechanism and its weight among those proposed. reward: expected, in [0, 1]; trials: observed, of any weight."""

    mechanism: str
    weight: float
    reward: float
    trials: float


@cache
def prior(order: tuple[str, ...]) -> Array:
    """(types, m) expected rewards of the mechanisms in `order`, by the table. Read-only."""
    expected = np.full((len(QUERY_TYPES), len(order)), OTHER)
    for row, (primary, secondary) in enumerate(TABLE.values()):
        for name, reward in ((ALWAYS_SENSIBLE, SENSIBLE), (secondary, SECONDARY), (primary, PRIMARY)):
            expected[row, order.index(name)] = reward
    expected.flags.writeable = False
    return expected


def only(query_type: str) -> Array:
    """(types,) all of it `query_type`. Raises InvalidInput for an unknown one."""
    if query_type not in QUERY_TYPES:
        raise InvalidInput(f"query_type {query_type!r} is not one of {', '.join(QUERY_TYPES)}")
    return np.array([float(name == query_type) for name in QUERY_TYPES])


def type_chances(chances: Mapping[str, float], several: float = 0.0) -> Array:
    """(types,) probabilities, from those of the router's classes; `several`: that more than one route has a part."""
    of_type = np.zeros(len(QUERY_TYPES))
    for route in CLASSES:
        for name, share in ROUTE_TYPES[route].items():
            of_type[QUERY_TYPES.index(name)] += share * chances[route]
    of_type *= (1.0 - several) / of_type.sum()
    of_type[QUERY_TYPES.index("mixed")] += several
    return of_type


def types_of(routing: Routing) -> Array:
    """(types,) probabilities for a query that was routed, by the head; by its routes where they are all that is known
    or the query is none for titles: as far as a second route has a part in it, it is mixed then."""
    if routing.state is not None and routing.route != OUT_OF_DOMAIN:
        return shipped_head().chances(routing.state)
    return type_chances(routing.chances, max((routing.parts[name] for name, _ in routing.routes[1:]), default=0.0))


def propose(of_type: Array, trials: Array, rewards: Array, usable: Array, top: int = TOP) -> tuple[Proposal, ...]:
    """The `top` mechanisms for a query, best first, weights summing to 1.

    of_type: (types,) probabilities; trials, rewards: (types, 39) sums of observations, in the order of `names()`;
    usable: (39,) bool, those that can be proposed. The index of a mechanism for a type is its posterior mean plus
    EXPLORE sqrt(ln(1 + N) / (PRIOR_TRIALS + trials)), N the type's trials; types are averaged by probability. Raises
    InvalidInput when nothing is usable.
    """
    order = tuple(names())
    seen = PRIOR_TRIALS + trials
    mean = (PRIOR_TRIALS * prior(order) + rewards) / seen
    bonus = EXPLORE * np.sqrt(np.log1p(trials.sum(axis=1, keepdims=True)) / seen)
    index = np.where(usable, of_type @ (mean + bonus), -np.inf)
    best = np.argsort(-index, kind="stable")[: min(top, int(np.count_nonzero(usable)))]
    if not len(best):
        raise InvalidInput("no attention mechanism can do with the given data")
    weights = softmax(index[best] / TEMPERATURE)
    expected, tried = of_type @ mean, of_type @ trials
    return tuple(
        Proposal(order[i], float(weight), float(expected[i]), float(tried[i]))
        for i, weight in zip(best, weights, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Attending:
    """Shares of the mechanisms at work in a request: of those that weigh the signals, and of those that pool the
    history into its query; none where it goes without."""

    fusion: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, float] = field(default_factory=dict)


def shares_of(
    of_type: Array, trials: Array, rewards: Array, among: Collection[str], top: int = TOP
) -> dict[str, float]:
    """Mechanism -> weight of the `top` proposed among those named; as for `propose`."""
    usable = np.array([name in among for name in names()])
    return {each.mechanism: each.weight for each in propose(of_type, trials, rewards, usable, top)}


def usable_with(data: Collection[str] | None) -> Array:
    """(39,) bool in the order of `names()`: mechanisms whose needed data is among `data`; None: whatever they need."""
    found = [data is None or all(_given(name, need, data) for need in describe(name).needs) for name in names()]
    return np.array(found)


def _given(name: str, need: str, data: Collection[str]) -> bool:
    return need in data or describe(name).instead.get(need) in data


def reward_counts(query_type: str, shares: Mapping[str, float], reward: float) -> dict[str, float]:
    """What one observed reward in [0, 1] adds to the counters: to each mechanism by its share in the answer.

    Raises InvalidInput for an unknown type or mechanism, or shares that are negative or all zero.
    """
    only(query_type)
    total = sum(shares.values())
    if not total > 0 or min(shares.values()) < 0:
        raise InvalidInput("shares of mechanisms must not be negative, and not all zero")
    added: dict[str, float] = {}
    for name, share in shares.items():
        counter = f"attention:{query_type}:{describe(name).name}"
        added |= {f"{counter}:trials": share / total, f"{counter}:reward": reward * share / total}
    return added


def observed(counts: Mapping[str, float]) -> tuple[Array, Array]:
    """Trials and rewards, (types, 39) each, of named sums; sums of anything else are passed over."""
    places = _places()
    sums = np.zeros((2, len(QUERY_TYPES), len(names())))
    for counter, amount in counts.items():
        place = places.get(counter)
        if place is not None:
            sums[place] = amount
    return sums[0], sums[1]


@cache
def _places() -> dict[str, tuple[int, int, int]]:
    """Where each counter belongs among the sums: what it counts, type, mechanism."""
    return {
        f"attention:{query_type}:{name}:{what}": (kind, row, column)
        for kind, what in enumerate(("trials", "reward"))
        for row, query_type in enumerate(QUERY_TYPES)
        for column, name in enumerate(names())
    }
