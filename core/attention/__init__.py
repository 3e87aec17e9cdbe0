"""The 39 attention mechanisms: `attend(name, q, k, v, **side)`, `weights(name, q, k, **side)`, `names()`.

`parameters` holds the trainable arrays: `init_parameters(name, d, d_v, rng)` and `Parameters`.
"""

# Importing a family registers its mechanisms.
from core.attention import dense, efficient, graph, hyperbolic, mixture, parameters, sparse, specialized  # noqa: F401
from core.attention.parameters import Parameters, init_parameters
from core.attention.registry import Mechanism, attend, describe, names, weights

__all__ = ["Mechanism", "Parameters", "attend", "describe", "init_parameters", "names", "parameters", "weights"]
