"""One registry and one signature for all mechanisms.

    attend(name, q, k, v, **side) -> (..., n_q, d_v)

q (..., n_q, d), k (..., n, d), v (..., n, d_v); leading axes broadcast. `side` holds the data a mechanism needs (hops,
edge_features, positions, timestamps, adjacency, transition, groups) and its settings, which have defaults.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attention.inputs import check_data, check_settings, check_shapes
from core.attention.parameters import (
    RECIPES,
    Parameters,
    check_parameters,
    default_parameters,
    init_parameters,
    size_names,
)
from core.errors import InvalidInput

Array = NDArray[Any]
Apply = Callable[..., Array]


@dataclass(frozen=True)
class Mechanism:
    """One entry. `softmax`: the output is a convex mix of the values, whatever the keys; equal values give that value.
    `row_weights`: besides, it is linear in v with one plain row of weights per query, so it can weight anything."""

    number: int
    name: str
    family: str
    needs: tuple[str, ...]
    instead: Mapping[str, str]
    accepts: frozenset[str]
    softmax: bool
    row_weights: bool
    source: str
    apply: Apply


_registry: dict[str, Mechanism] = {}


def mechanism(
    name: str,
    *,
    number: int,
    family: str,
    source: str,
    needs: tuple[str, ...] = (),
    instead: Mapping[str, str] | None = None,
    softmax: bool = True,
    row_weights: bool = True,
) -> Callable[[Apply], Apply]:
    """Register a function (q, k, v, *, ...) under `name`.

    Its keyword-only arguments, and the sizes of its parameters, are the side inputs that `attend` accepts. `instead`:
    another input that serves in place of a needed one.
    """

    def register(apply: Apply) -> Apply:
        if name in _registry or number in {m.number for m in _registry.values()}:
            raise ValueError(f"attention mechanism {number} {name} is registered twice")
        keywords = {p.name for p in inspect.signature(apply).parameters.values() if p.kind is p.KEYWORD_ONLY}
        accepts = frozenset(keywords | size_names(name) | ({"rng"} if name in RECIPES else set()))
        _registry[name] = Mechanism(
            number, name, family, needs, instead or {}, accepts, softmax, row_weights, source, apply
        )
        return apply

    return register


def names(family: str | None = None, *, softmax: bool | None = None, row_weights: bool | None = None) -> list[str]:
    """The registered names in the order of their numbers, optionally only one family or those with a flag."""
    chosen = sorted(_registry.values(), key=lambda m: m.number)
    return [
        m.name
        for m in chosen
        if (family is None or m.family == family)
        and (softmax is None or m.softmax == softmax)
        and (row_weights is None or m.row_weights == row_weights)
    ]


def describe(name: str) -> Mechanism:
    """The registry entry of `name`. Raises InvalidInput, which lists the nearest names."""
    found = _registry.get(name)
    if found is None:
        near = difflib.get_close_matches(str(name), _registry, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names())}"
        raise InvalidInput(f"unknown attention mechanism {name!r}; {hint}")
    return found


def attend(name: str, q: Any, k: Any, v: Any, **side: Any) -> Array:
    """Attention of the queries q over the keys k and values v by mechanism `name`; shapes as above.

    Answers in float32, or float64 if any of q, k, v is float64. Mechanisms with parameters take them as `params`
    (Parameters or a dictionary of arrays), or draw them from `rng`, or use the default ones (seed 0); sizes such as
    `features` shape what is drawn. Raises InvalidInput for unknown names, shapes that do not fit, NaN or infinity,
    a needed side input that is missing and side inputs that the mechanism does not know.
    """
    chosen = describe(name)
    if not side.keys() <= chosen.accepts:
        unknown = sorted(side.keys() - chosen.accepts)
        raise InvalidInput(f"{name} attention knows no {unknown}; it takes {sorted(chosen.accepts)}")
    side = {key: value for key, value in side.items() if value is not None}
    for need in chosen.needs:
        if need not in side and chosen.instead.get(need) not in side:
            other = f" (or {[chosen.instead[need]]})" if need in chosen.instead else ""
            raise InvalidInput(f"{name} attention needs {[need]}{other}")
    q, k, v, batch = check_shapes(name, q, k, v)
    if side:
        check_settings(name, side)
        check_data(name, side, batch, q.shape[-2], k.shape[-2])
    if name in RECIPES:
        _resolve_parameters(name, q, k, v, side)
    out = chosen.apply(q, k, v, **side)
    expected = (*batch, q.shape[-2], v.shape[-1])
    return out if out.shape == expected else np.broadcast_to(out, expected)


def weights(name: str, q: Any, k: Any, **side: Any) -> Array:
    """The weight of every key for every query, (..., n_q, n), of a mechanism flagged `row_weights`: rows sum to 1.

    They are the output for v = identity. Raises InvalidInput for the other mechanisms.
    """
    if not describe(name).row_weights:
        raise InvalidInput(
            f"{name} attention has no plain weight row; these have: {', '.join(names(row_weights=True))}"
        )
    keys = np.asarray(k)
    if keys.ndim < 2:
        raise InvalidInput(
            f"{name} attention: keys have shape {keys.shape}, expected (..., n, d) as in q {np.shape(q)}"
        )
    return attend(name, q, k, np.eye(keys.shape[-2], dtype=np.float32), **side)


def _resolve_parameters(name: str, q: Array, k: Array, v: Array, side: dict[str, Any]) -> None:
    """Put arrays of the dtype of q under `params`: those given, those drawn from `rng`, or the default ones."""
    rng, given = side.pop("rng", None), side.pop("params", None)
    own = {key: side.pop(key) for key in size_names(name) & side.keys()}
    if given is None and RECIPES[name].optional and rng is None and not own:
        return
    known = {"d": q.shape[-1], "d_v": v.shape[-1], "n": k.shape[-2]}
    if "edge_features" in side:
        known["d_e"] = side["edge_features"].shape[-1]
    if given is None:
        symbols = {axis for axes in RECIPES[name].shapes.values() for axis in axes}
        sizes = own | {key: known[key] for key in ("n", "d_e") if key in symbols}
        if rng is None:
            given = default_parameters(name, known["d"], known["d_v"], tuple(sorted(sizes.items())))
        else:
            given = init_parameters(name, known["d"], known["d_v"], rng, **sizes)
    else:
        if isinstance(given, Parameters) and given.mechanism != name:
            raise InvalidInput(f"{name} attention was given the parameters of {given.mechanism}")
        arrays = given.arrays if isinstance(given, Parameters) else {n: np.asarray(a) for n, a in given.items()}
        check_parameters(name, arrays, known)
        given = Parameters(name, arrays)
    side["params"] = {key: array.astype(q.dtype, copy=False) for key, array in given.arrays.items()}
