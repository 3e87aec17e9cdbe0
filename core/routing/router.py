"""The trained router: which routes a query takes, how sure that is, and when it is no query for titles at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from core.adaptation.quantize import Quantized, quantize
from core.adaptation.tensors import pack, unpack
from core.embedding.model_folder import ModelManifest, read_verified, write_manifest
from core.errors import CorruptData, InvalidInput
from core.numeric.activations import sigmoid, softmax
from core.routing.calibrate import Calibration, uncertainty
from core.routing.fastgrnn import Array, Cell
from core.routing.head import Head, Network
from core.routing.routes import CLASSES, OUT_OF_DOMAIN, ROUTES
from core.routing.sequences import Floats, scaled, sequence

KIND = "router"
FILE = "router.sona"
SHIPPED = Path(__file__).parent / "model"  # made by `sona train router`
MAX_BYTES = 800_000
PARTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Cell, ("w1", "w2", "u1", "u2", "b_z", "b_h", "zeta", "nu")),
    (Head, ("w_class", "b_class", "w_also", "b_also")),
)


@dataclass(frozen=True, slots=True)
class Routing:
    """`route` is one of CLASSES; `confidence` its calibrated probability; `routes`: every route that has a part in the
    query with its probability, the leading one first, none when it is out of domain; `chances`: of all classes, sum 1;
    `parts`: of each route, that it has a part; `plausible`: the classes that hold the right one in 9 of 10 cases, most
    likely first; `uncertainty`: 0 none, 1 as good as guessed; `state` (h,): the last one of the FastGRNN, which other
    heads read."""

    route: str
    confidence: float
    routes: tuple[tuple[str, float], ...]
    chances: dict[str, float]
    parts: dict[str, float]
    plausible: tuple[str, ...]
    uncertainty: float
    state: Array | None = field(default=None, compare=False, repr=False)


class Router:
    """The network in float32, however it was stored; shared by threads. `encoder`: the version it reads."""

    def __init__(self, network: Network, calibration: Calibration, encoder: str, version: str) -> None:
        self.network, self.calibration, self.encoder, self.version = network, calibration, encoder, version
        cell = network.cell
        self.dims = len(cell.w2)
        self._u = (cell.u1 @ cell.u2.T).T.copy()  # one product per step instead of two: a query is no batch
        self._share, self._floor = float(sigmoid(cell.zeta)[0]), float(sigmoid(cell.nu)[0])
        # sigmoid(x) = (1 + tanh(x / 2)) / 2: gate and candidate of a step come from one call.
        self._bias = np.concatenate([cell.b_z / 2, cell.b_h])

    def route(self, tokens: Floats) -> Routing:
        """Route a text by the encoder's token vectors (t, d) of it. Raises InvalidInput for another shape."""
        return self._read(self.state(tokens))

    def route_embedding(self, embedding: Floats) -> Routing:
        """Route by a pooled vector (d,) alone: less sure than by tokens. Raises InvalidInput for another shape."""
        return self._read(self.pooled_state(embedding))

    def state(self, tokens: Floats) -> Array:
        """(h,) state after the token vectors (t, d) of a text. Raises InvalidInput for another shape."""
        if tokens.ndim != 2 or tokens.shape[1] != self.dims:
            raise InvalidInput(f"token vectors of shape {tokens.shape}, wanted (tokens, {self.dims})")
        return self._last_state(sequence(tokens))

    def pooled_state(self, embedding: Floats) -> Array:
        """(h,) state after a pooled vector (d,) alone. Raises InvalidInput for another shape."""
        if embedding.shape != (self.dims,):
            raise InvalidInput(f"query_embedding has shape {embedding.shape}, wanted ({self.dims},)")
        return self._last_state(scaled(embedding[None]))

    def _read(self, state: Array) -> Routing:
        head = self.network.head
        chances = softmax((state @ head.w_class + head.b_class) / np.float32(self.calibration.temperature))
        also = sigmoid(state @ head.w_also + head.b_also)
        return replace(self.describe(chances, also), state=state)

    def _last_state(self, steps: Floats) -> Array:
        """`fastgrnn.forward` for one sequence (t, d), in fewer and smaller steps: (h,)."""
        cell, hidden = self.network.cell, self.network.cell.hidden
        projected = (steps @ cell.w2) @ cell.w1.T
        h = np.zeros(hidden, np.float32)
        both = np.empty(2 * hidden, np.float32)
        for row in projected:
            pre = row + h @ self._u
            both[:hidden] = pre
            both[:hidden] *= 0.5
            both[hidden:] = pre
            both += self._bias
            np.tanh(both, out=both)
            z = 0.5 * both[:hidden] + 0.5
            h = (self._share * (1 - z) + self._floor) * both[hidden:] + z * h
        return h

    def describe(self, chances: Array, also: Array) -> Routing:
        """Probabilities of classes (7,) and of routes (6,) as an answer."""
        lead = CLASSES[int(chances.argmax())]
        named = {name: round(float(chance), 6) for name, chance in zip(CLASSES, chances, strict=True)}
        parts = {name: round(float(chance), 6) for name, chance in zip(ROUTES, also, strict=True)}
        likely = sorted(CLASSES, key=lambda name: -named[name])
        plausible = tuple(name for name in likely if named[name] >= self.calibration.plausible or name == lead)
        unsure = round(uncertainty(chances), 6)
        if lead == OUT_OF_DOMAIN:
            return Routing(lead, named[lead], (), named, parts, plausible, unsure)
        others = sorted((name for name in ROUTES if name != lead), key=lambda name: -parts[name])
        routes = [(lead, named[lead])]
        routes += [(name, parts[name]) for name in others if parts[name] >= self.calibration.threshold]
        return Routing(lead, named[lead], tuple(routes), named, parts, plausible, unsure)


def save_router(folder: Path, router: Router, kind: str, facts: dict[str, Any]) -> ModelManifest:
    """Write a model folder: matrices as `kind` (f32, f16 or int8), the rest in full. Raises InvalidInput when it is
    larger than a router may be."""
    arrays: dict[str, Any] = {}
    for name, values in router.network.arrays().items():
        if values.ndim == 2:
            stored = quantize(np.asarray(values, np.float32), kind)
            arrays[name] = stored.codes
            if kind == "int8":
                arrays[f"{name}.scales"] = stored.scales
        else:
            arrays[name] = np.asarray(values, np.float32)
    calibration = router.calibration
    meta: dict[str, Any] = {"stored": kind, "encoder": router.encoder, "classes": list(CLASSES)}
    meta["calibration"] = asdict(calibration)
    blob = pack(KIND, arrays, meta)
    if len(blob) > MAX_BYTES:
        raise InvalidInput(f"a router of {len(blob)} bytes; {MAX_BYTES} are the most")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(blob)
    return write_manifest(folder, KIND, router.version, facts)


def open_router(folder: Path = SHIPPED) -> Router:
    """Verify a model folder and load it. Raises CorruptData naming what is wrong with it."""
    manifest, files = read_verified(folder, KIND, (FILE,))
    arrays, meta = unpack(files[FILE], KIND)
    try:
        if meta["classes"] != list(CLASSES):
            raise CorruptData(f"router {manifest.version} knows other routes than this code")
        cell, head = (kind(**{name: _matrix(arrays, name, meta["stored"]) for name in names}) for kind, names in PARTS)
        calibration = Calibration(**{name: float(value) for name, value in meta["calibration"].items()})
        return Router(Network(cell, head), calibration, str(meta["encoder"]), manifest.version)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"router {manifest.version} is incomplete: {error!r}") from error


def _matrix(arrays: dict[str, Any], name: str, kind: str) -> Array:
    values = arrays[name]
    if values.ndim < 2:
        return np.array(values, np.float32)
    scales = arrays.get(f"{name}.scales", np.empty(0, np.float32))
    return Quantized(kind, len(values), values, scales).dequantize()


@cache
def shipped_router() -> Router:
    """The router that comes with the package, loaded once."""
    return open_router(SHIPPED)
