"""Trainable parameters of the mechanisms: named float32 arrays, drawn once from a seeded generator.

A mechanism never draws anything: it receives its arrays, and the same arrays give the same answer. They are trained,
stored and loaded as a dictionary of arrays. `shapes` writes their axes in symbols: d and d_v are the query's and the
value's dimension, d_e an edge feature's, n the number of keys; the other symbols are sizes with the defaults below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Array = NDArray[Any]
Sizes = dict[str, int]
Draw = Callable[[np.random.Generator, Sizes], dict[str, Array]]
FLOATS = np.float32


@dataclass(frozen=True)
class Parameters:
    """The arrays of one mechanism, by name."""

    mechanism: str
    arrays: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def to_arrays(self) -> dict[str, Array]:
        """A plain dictionary of arrays, for any array file format."""
        return dict(self.arrays)

    @classmethod
    def from_arrays(cls, mechanism: str, arrays: Mapping[str, Any]) -> Parameters:
        """The inverse of `to_arrays`. Raises InvalidInput if a name is missing or unknown or an array does not fit."""
        loaded = {name: np.asarray(array) for name, array in arrays.items()}
        check_parameters(mechanism, loaded, {})
        return cls(mechanism, loaded)


@dataclass(frozen=True)
class Recipe:
    """What a mechanism's parameters look like and how they start. `optional`: without them it does without."""

    shapes: Mapping[str, tuple[str, ...]]
    draw: Draw
    sizes: Callable[[Sizes], Sizes]
    optional: bool = False


def glorot(rng: np.random.Generator, *shape: int) -> Array:
    """Normal with variance 2 / (fan in + fan out) (Glorot & Bengio 2010)."""
    fan = shape[0] + shape[-1] if len(shape) > 1 else shape[0] + 1
    return rng.normal(0, np.sqrt(2 / fan), shape).astype(FLOATS)


def near_identity(rng: np.random.Generator, size: int) -> Array:
    """Identity plus noise of 1 %: an untrained projection keeps what the embedding already knows."""
    return (np.eye(size) + rng.normal(0, 0.01, (size, size)) / np.sqrt(size)).astype(FLOATS)


def orthogonal_features(rng: np.random.Generator, count: int, d: int) -> Array:
    """Normal rows in pairs w, -w; orthogonal within each block of d, with independent lengths (Choromanski 2021)."""
    half = -(-count // 2)
    blocks = [np.linalg.qr(rng.normal(size=(d, d)))[0].T for _ in range(-(-half // d))]
    rows = np.concatenate(blocks)[:half] * np.linalg.norm(rng.normal(size=(half, d)), axis=1, keepdims=True)
    return np.concatenate([rows, -rows])[:count].astype(FLOATS)


def _projections(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    wanted = {"w_q": s["d"], "w_k": s["d"], "w_v": s["d_v"], "w_o": s["d_v"]}
    return {name: near_identity(rng, size) for name, size in wanted.items()}


def _cross(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"w_q": near_identity(rng, s["d"]), "w_k": near_identity(rng, s["d"])}


def _moe(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"gate": glorot(rng, s["count"], s["d"])}


def _latent(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    basis = np.linalg.qr(rng.normal(size=(s["d"] + s["d_v"], s["rank"])))[0].astype(FLOATS)
    return {"down": basis, "up_k": basis[: s["d"]].T.copy(), "up_v": basis[s["d"] :].T.copy()}


def _performer(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"features": orthogonal_features(rng, s["features"], s["d"])}


def _dual_space(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"projection": glorot(rng, s["d"], s["d_h"]), "weights": np.ones(2, FLOATS)}


def _graphormer(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {
        name: rng.normal(0, 0.02, s[size]).astype(FLOATS)
        for name, size in (("hop_bias", "hop_buckets"), ("degree_bias", "degree_buckets"))
    }


def _gat(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"w": glorot(rng, s["d"], s["hidden"]), "a_q": glorot(rng, s["hidden"]), "a_k": glorot(rng, s["hidden"])}


def _gatv2(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    drawn = {"w_q": glorot(rng, s["d"], s["hidden"]), "w_k": glorot(rng, s["d"], s["hidden"])}
    return drawn | {"a": glorot(rng, s["hidden"])}


def _edge_featured(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return _gatv2(rng, s) | {"w_e": glorot(rng, s["d_e"], s["hidden"])}


def _big_bird(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"random_keys": rng.random((s["rows"], s["randoms"]), dtype=FLOATS)}


def _target(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    first = {name: glorot(rng, s["d"], s["hidden"]) for name in ("w_q", "w_k", "w_difference", "w_product")}
    last = {"b_1": np.zeros(s["hidden"], FLOATS), "slope": np.full(s["hidden"], 0.25, FLOATS)}
    return first | last | {"w_2": glorot(rng, s["hidden"]), "b_2": np.zeros(1, FLOATS)}


def _lsh(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"rotations": rng.normal(size=(s["rounds"], s["d"], s["half_buckets"])).astype(FLOATS)}


def _linformer(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    pooling = np.zeros((s["length"], s["n"]), FLOATS)
    for row, keys in enumerate(np.array_split(rng.permutation(s["n"]), s["length"])):
        pooling[row, keys] = 1 / max(len(keys), 1)
    return {"pooling": pooling}


def _induced_set(rng: np.random.Generator, s: Sizes) -> dict[str, Array]:
    return {"points": rng.normal(size=(s["inducing"], s["d"])).astype(FLOATS)}


def _fixed(**sizes: int) -> Callable[[Sizes], Sizes]:
    return lambda known: sizes


_HEADS = {"w_q": ("d", "d"), "w_k": ("d", "d"), "w_v": ("d_v", "d_v"), "w_o": ("d_v", "d_v")}
_GATV2 = {"w_q": ("d", "hidden"), "w_k": ("d", "hidden"), "a": ("hidden",)}
_TARGET = dict.fromkeys(("w_q", "w_k", "w_difference", "w_product"), ("d", "hidden"))

RECIPES: dict[str, Recipe] = {
    "multi_head": Recipe(_HEADS, _projections, _fixed(), optional=True),
    "multi_query": Recipe(_HEADS, _projections, _fixed(), optional=True),
    "grouped_query": Recipe(_HEADS, _projections, _fixed(), optional=True),
    "cross": Recipe({"w_q": ("d", "d"), "w_k": ("d", "d")}, _cross, _fixed(), optional=True),
    "moe": Recipe({"gate": ("count", "d")}, _moe, _fixed(count=4)),
    "latent": Recipe(
        {"down": ("d+d_v", "rank"), "up_k": ("rank", "d"), "up_v": ("rank", "d_v")},
        _latent,
        lambda known: {"rank": min(128, known["d"] + known["d_v"])},  # lossless up to d + d_v = 128
    ),
    "performer": Recipe({"features": ("features", "d")}, _performer, _fixed(features=256)),
    "dual_space": Recipe(
        {"projection": ("d", "d_h"), "weights": ("2",)},
        _dual_space,
        lambda known: {"d_h": min(32, known["d"])},
        optional=True,
    ),
    "graphormer": Recipe(
        {"hop_bias": ("hop_buckets",), "degree_bias": ("degree_buckets",)},
        _graphormer,
        _fixed(hop_buckets=10, degree_buckets=64),
    ),
    "gat": Recipe({"w": ("d", "hidden"), "a_q": ("hidden",), "a_k": ("hidden",)}, _gat, _fixed(hidden=32)),
    "gatv2": Recipe(_GATV2, _gatv2, _fixed(hidden=32)),
    "edge_featured": Recipe(_GATV2 | {"w_e": ("d_e", "hidden")}, _edge_featured, _fixed(hidden=32)),
    "big_bird": Recipe({"random_keys": ("rows", "randoms")}, _big_bird, _fixed(rows=64, randoms=3)),
    "target": Recipe(
        _TARGET | {"b_1": ("hidden",), "slope": ("hidden",), "w_2": ("hidden",), "b_2": ("1",)},
        _target,
        _fixed(hidden=36),
    ),
    "lsh": Recipe({"rotations": ("rounds", "d", "half_buckets")}, _lsh, _fixed(rounds=4, half_buckets=4)),
    "linformer": Recipe({"pooling": ("length", "n")}, _linformer, lambda known: {"length": min(32, known["n"])}),
    "induced_set": Recipe({"points": ("inducing", "d")}, _induced_set, _fixed(inducing=16)),
}


def size_names(name: str) -> frozenset[str]:
    """The sizes a caller may choose for the parameters of `name`, such as `features` or `rank`."""
    if name not in RECIPES:
        return frozenset()
    return frozenset(RECIPES[name].sizes({"d": 1, "d_v": 1, "n": 1}))


def init_parameters(
    name: str, d: int, d_v: int | None = None, rng: np.random.Generator | None = None, **options: int
) -> Parameters:
    """Fresh parameters of mechanism `name` for queries of dimension d and values of dimension d_v (d when omitted).

    rng: the generator to draw from, `default_rng(0)` when omitted. options: sizes (`features=512`), and where they
    apply d_e, the dimension of the edge features, and n, the number of keys. Raises InvalidInput for mechanisms
    without parameters and for unknown or impossible sizes.
    """
    if name not in RECIPES:
        raise InvalidInput(f"{name} attention has no parameters; these have: {', '.join(RECIPES)}")
    recipe, known = RECIPES[name], {"d": d, "d_v": d if d_v is None else d_v}
    symbols = {symbol for axes in recipe.shapes.values() for symbol in axes}
    wanted = {"n", "d_e"} & symbols
    if missing := sorted(wanted - set(options)):
        raise InvalidInput(f"parameters of {name} attention need {missing}")
    if unknown := sorted(set(options) - size_names(name) - wanted):
        raise InvalidInput(
            f"parameters of {name} attention know no {unknown}; sizes: {sorted(size_names(name) | wanted)}"
        )
    sizes = known | {key: options[key] for key in wanted}
    sizes |= recipe.sizes(sizes) | options
    sizes |= {"length": min(sizes["length"], sizes["n"])} if name == "linformer" else {}
    sizes |= {"rank": min(sizes["rank"], sizes["d"] + sizes["d_v"])} if name == "latent" else {}
    if bad := {key: size for key, size in sizes.items() if not isinstance(size, int | np.integer) or size < 1}:
        raise InvalidInput(f"sizes of {name} attention must be positive whole numbers: {bad}")
    arrays = recipe.draw(rng if rng is not None else np.random.default_rng(0), sizes)
    return Parameters(name, arrays)


@lru_cache(maxsize=256)
def default_parameters(name: str, d: int, d_v: int, options: tuple[tuple[str, int], ...]) -> Parameters:
    """What a mechanism uses when it is given no parameters: `init_parameters` with seed 0, made once and read-only."""
    made = init_parameters(name, d, d_v, None, **dict(options))
    for array in made.arrays.values():
        array.flags.writeable = False
    return made


def check_parameters(name: str, arrays: Mapping[str, Array], known: Mapping[str, int]) -> None:
    """Raise InvalidInput unless the arrays have the names and shapes that mechanism `name` expects.

    known: sizes given by the inputs (d, d_v, d_e, n); other symbols take the first size seen and must agree.
    """
    if name not in RECIPES:
        raise InvalidInput(f"{name} attention has no parameters")
    shapes, bound = RECIPES[name].shapes, dict(known)
    if set(arrays) != set(shapes):
        raise InvalidInput(f"parameters of {name} attention are {sorted(shapes)}, not {sorted(arrays)}")
    if {"d", "d_v"} <= set(bound):
        bound["d+d_v"] = bound["d"] + bound["d_v"]
    for array_name, axes in shapes.items():
        shape = arrays[array_name].shape
        sizes = shape if len(shape) == len(axes) else (-1,) * len(axes)
        expected = tuple(
            int(axis) if axis.isdigit() else bound.setdefault(axis, size)
            for axis, size in zip(axes, sizes, strict=True)
        )
        if shape != expected:
            raise InvalidInput(
                f"{name} parameter {array_name} has shape {shape}, expected {expected} ({', '.join(axes)})"
            )
        if not np.isfinite(arrays[array_name]).all():
            raise InvalidInput(f"{name} parameter {array_name} contains NaN or infinity")
