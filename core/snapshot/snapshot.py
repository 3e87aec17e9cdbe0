"""The reading side of a snapshot: an immutable, memory-mapped build of the catalogue.

Row i of every per-item array is the i-th title in ascending order of `core.catalog.content_key`. Everything expensive
is linear in a user's history, so it is stored per item and a request only gathers and adds rows.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation.space import Space
from core.attention.fusion import FusionAttention
from core.catalog import RelationshipType, Title, content_key, title_from_record
from core.embedding.quantized import QuantizedRows
from core.errors import CorruptData
from core.snapshot.lexicon import Lexicon
from core.snapshot.manifest import Manifest, read_manifest
from core.snapshot.next_title_network import NextTitleNetwork, read_network
from core.snapshot.space import FILE as SPACE_FILE
from core.snapshot.space import read_space

# Facts that filters and rules need, one record a title. Unknown = -1; codes index the lists of Vocabulary; `parent` is
# the row of an episode's series; `genres` is a bit mask over vocabulary.genres (0: unknown); `primary` is the code of
# the title's first genre (255: unknown).
ATTRIBUTES = np.dtype(
    [
        ("type", "u1"),
        ("maturity", "i1"),
        ("year", "i2"),
        ("runtime", "i2"),
        ("language", "i2"),
        ("franchise", "i4"),
        ("parent", "i4"),
        ("genres", "u4"),
        ("primary", "u1"),
    ],
    align=True,
)
NO_GENRE = 255

# Sorted by row, then service, region and added_at. Times are Unix seconds; an open end is inf.
AVAILABILITY = np.dtype([("row", "i4"), ("service", "i2"), ("region", "i2"), ("added_at", "f8"), ("expires_at", "f8")])

# Typed edges of the content graph, sorted by source. `type` indexes RELATIONSHIP_TYPES; weight in (0, 1].
RELATIONSHIPS = np.dtype([("source", "i4"), ("target", "i4"), ("type", "u1"), ("weight", "f4")])
RELATIONSHIP_TYPES = tuple(RelationshipType)

DAYPARTS = ("night", "morning", "afternoon", "evening")  # 0-6, 6-12, 12-18, 18-24 o'clock UTC
SEASONS = 4  # quarters of the year: December to February, March to May, June to August, September to November

_TITLES_CACHED = 4096  # parsed titles kept per snapshot; an answer explains at most a few dozen


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """K neighbours of each of n titles, strongest first.

    index: (n, K) int32 rows; weight: (n, K) float16, > 0. Missing neighbours are the own row with weight 0, so that a
    gather-and-add over whole rows needs no mask.
    """

    index: NDArray[np.int32]
    weight: NDArray[np.float16]


AFTER = 5  # steps after a shared title that kindred viewers are asked about


@dataclass(frozen=True, slots=True, eq=False)
class Kindred:
    """Likes of a sample of viewers, one viewer after the other, each in order of time.

    rows: (m,) int32 titles; owner: (m + AFTER,) int32 whose like it is, the most recently active viewer last, -1 beyond
    the end. The latest places of title i are places[first[i]:first[i + 1]].
    """

    rows: NDArray[np.int32]
    owner: NDArray[np.int32]
    places: NDArray[np.int32]
    first: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the codes in the arrays mean; a code is a position in one of these lists."""

    genres: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    franchises: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()  # "age:25-34", "region:DE", "language:de"
    devices: tuple[str, ...] = ()
    dayparts: tuple[str, ...] = DAYPARTS


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One version of the catalogue with all that a request gathers from. n titles, d dimensions, arrays read-only."""

    version: str
    created_at: float  # Unix seconds
    keys: NDArray[np.uint64]  # (n,) ascending
    attributes: NDArray[Any]  # (n,) ATTRIBUTES
    vectors: NDArray[np.float16]  # (n, d) unit rows
    popularity: NDArray[np.float32]  # (n,) positives per title, time-decayed to created_at, not normalised
    popularity_all: NDArray[np.float32]  # (n,) the same without decay
    collaborative: Neighbours
    transitions: Neighbours
    sequence: Mapping[float, Neighbours]  # decay per step -> lists; none: built before there was such a model
    next_title: NextTitleNetwork | None  # None: too few likes, or it foretold nothing that the rest does not
    kindred: Kindred | None  # None: they foretold nothing that the rest does not, or built before they were asked
    content: Neighbours
    graph: Neighbours
    dayparts: NDArray[np.float32]  # (4, n) P(title | daypart), rows sum to 1
    weekend: NDArray[np.float32]  # (2, n) P(title | working day), P(title | Saturday or Sunday)
    devices: NDArray[np.float32]  # (len(vocabulary.devices), n)
    seasons: NDArray[np.float32] | None  # (SEASONS, n); None: built before they were counted
    segments: NDArray[np.float32]  # (len(vocabulary.segments), n)
    availability: NDArray[Any]  # (a,) AVAILABILITY
    relationships: NDArray[Any]  # (e,) RELATIONSHIPS
    communities: NDArray[np.int32] | None  # (n,) of the graph, 0 the largest; None: built before they were looked for
    vocabulary: Vocabulary
    fusion: tuple[Mapping[str, float], ...] | None  # learned weights of the signals by length of history; None: fixed
    attention: Mapping[str, FusionAttention]  # learned attention over the signals, by mechanism
    space: Space | None  # where adapters live; None: built before the first base generation
    lexicon: Lexicon | None  # words of every title; None: built before there was search
    text: QuantizedRows | None  # vectors of what titles say; None: none when it was built, or too many to carry
    text_version: str | None  # which vectors; None: none when it was built
    encoded: NDArray[np.float16] | None  # (n, d) unit rows of the content encoder; None: none when it was built
    _availability_start: NDArray[np.int64] = field(repr=False)  # (n + 1,) first entry of each row
    _relationships_start: NDArray[np.int64] = field(repr=False)
    _ids: bytes = field(repr=False)  # all content ids, joined
    _ids_start: NDArray[np.int64] = field(repr=False)
    _title: Callable[[int], Title] = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def open(cls, folder: Path) -> Snapshot:
        """Map the folder that `build` wrote; sizes are checked, hashes are manifest.verify's. Raises CorruptData."""
        return _open(folder)

    def rows(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """(m,) content keys -> (m,) rows, -1 where this snapshot does not know the title."""
        keys = np.asarray(keys, np.uint64)
        found = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[found] == keys, found, -1).astype(np.int32)

    def row(self, content_id: str) -> int | None:
        """Row of a title, None when this snapshot does not know it."""
        key = np.uint64(content_key(content_id))
        found = int(np.searchsorted(self.keys, key))
        return found if found < len(self.keys) and self.keys[found] == key else None

    def content_id(self, row: int) -> str:
        """Content id of a row."""
        return self._ids[self._ids_start[row] : self._ids_start[row + 1]].decode()

    def title(self, row: int) -> Title:
        """The whole title; parsed when first asked for."""
        return self._title(int(row))

    def availability_of(self, row: int) -> NDArray[Any]:
        """Availability entries of one title."""
        return self.availability[self._availability_start[row] : self._availability_start[row + 1]]

    def relationships_of(self, row: int) -> NDArray[Any]:
        """Typed edges that leave one title, strongest first within each type."""
        return self.relationships[self._relationships_start[row] : self._relationships_start[row + 1]]


def _load(folder: Path, name: str, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Map one array and check what it is; None in `shape` is any size. A plain ndarray: np.memmap slices slowly."""
    try:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except (OSError, ValueError) as error:
        raise CorruptData(f"{name}.npy of a snapshot cannot be mapped: {error}") from error
    fits = len(array.shape) == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape))  # noqa: B905 - lengths compared first
    if array.dtype != dtype or not fits:
        raise CorruptData(f"{name}.npy of a snapshot is {array.dtype}{array.shape}, not {np.dtype(dtype)}{shape}")
    return array


def _neighbours(folder: Path, name: str, n: int) -> Neighbours:
    index = _load(folder, f"{name}_index", np.int32, (n, None))
    return Neighbours(index, _load(folder, f"{name}_weight", np.float16, index.shape))


def _title_reader(path: Path, start: NDArray[np.int64]) -> Callable[[int], Title]:
    with path.open("rb") as stream:
        lines = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if len(lines) != start[-1]:
        raise CorruptData(f"{path.name} of a snapshot does not match its offsets")

    @lru_cache(maxsize=_TITLES_CACHED)
    def title(row: int) -> Title:
        return title_from_record(json.loads(lines[start[row] : start[row + 1]]))

    return title


def _vocabulary(path: Path) -> Vocabulary:
    try:
        return Vocabulary(**{name: tuple(words) for name, words in json.loads(path.read_bytes()).items()})
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise CorruptData(f"vocabulary of a snapshot cannot be read: {error}") from error


def _lexicon(folder: Path) -> Lexicon:
    start = _load(folder, "lexicon_start", np.int64, (None,))
    first = _load(folder, "lexicon_first", np.int64, start.shape)
    return Lexicon(
        terms=_load(folder, "lexicon_terms", np.uint8, (int(start[-1]),)).tobytes(),
        start=start,
        first=first,
        rows=_load(folder, "lexicon_rows", np.int32, (int(first[-1]),)),
        weights=_load(folder, "lexicon_weights", np.float16, (int(first[-1]),)),
    )


def _kindred(folder: Path, n: int) -> Kindred:
    rows = _load(folder, "kindred_rows", np.int32, (None,))
    first = _load(folder, "kindred_first", np.int64, (n + 1,))
    owner = _load(folder, "kindred_owner", np.int32, (len(rows) + AFTER,))
    return Kindred(rows, owner, _load(folder, "kindred_places", np.int32, (int(first[-1]),)), first)


def _text_version(manifest: Manifest) -> str | None:
    version: str | None = (manifest.parameters.get("text") or {}).get("version")
    return version


def _text(folder: Path, manifest: Manifest) -> QuantizedRows:
    codes = _load(folder, "text_codes", np.int8, (manifest.items, None))
    return QuantizedRows("int8", codes, _load(folder, "text_scales", np.float32, (manifest.items,)))


def _open(folder: Path) -> Snapshot:
    manifest = read_manifest(folder)
    n, vocabulary = manifest.items, _vocabulary(folder / "vocabulary.json")
    starts = {name: _load(folder, f"{name}_start", np.int64, (n + 1,)) for name in _SLICED}
    keys = _load(folder, "keys", np.uint64, (n,))
    decays = manifest.parameters.get("sequence_decays", ())
    return Snapshot(
        version=manifest.version,
        created_at=manifest.created_at,
        keys=keys,
        attributes=_load(folder, "attributes", ATTRIBUTES, (n,)),
        vectors=_load(folder, "vectors", np.float16, (n, manifest.dims)),
        popularity=_load(folder, "popularity", np.float32, (n,)),
        popularity_all=_load(folder, "popularity_all", np.float32, (n,)),
        collaborative=_neighbours(folder, "collaborative", n),
        transitions=_neighbours(folder, "transitions", n),
        sequence={decay: _neighbours(folder, f"sequence_{i}", n) for i, decay in enumerate(decays)},
        next_title=read_network(partial(_load, folder)) if "next_title_titles.npy" in manifest.files else None,
        kindred=_kindred(folder, n) if "kindred_rows.npy" in manifest.files else None,
        content=_neighbours(folder, "content", n),
        graph=_neighbours(folder, "graph", n),
        dayparts=_load(folder, "dayparts", np.float32, (len(vocabulary.dayparts), n)),
        weekend=_load(folder, "weekend", np.float32, (2, n)),
        devices=_load(folder, "devices", np.float32, (len(vocabulary.devices), n)),
        seasons=_load(folder, "seasons", np.float32, (SEASONS, n)) if "seasons.npy" in manifest.files else None,
        segments=_load(folder, "segments", np.float32, (len(vocabulary.segments), n)),
        availability=_load(folder, "availability", AVAILABILITY, (int(starts["availability"][-1]),)),
        relationships=_load(folder, "relationships", RELATIONSHIPS, (int(starts["relationships"][-1]),)),
        communities=_load(folder, "communities", np.int32, (n,)) if "communities.npy" in manifest.files else None,
        vocabulary=vocabulary,
        fusion=manifest.parameters.get("fusion"),
        attention={
            record["mechanism"]: FusionAttention.from_record(record)
            for record in manifest.parameters.get("attention") or ()
        },
        space=read_space(folder, keys) if SPACE_FILE in manifest.files else None,
        lexicon=_lexicon(folder) if "lexicon_terms.npy" in manifest.files else None,
        text=_text(folder, manifest) if "text_codes.npy" in manifest.files else None,
        text_version=_text_version(manifest),
        encoded=_load(folder, "encoded", np.float16, (n, None)) if "encoded.npy" in manifest.files else None,
        _availability_start=starts["availability"],
        _relationships_start=starts["relationships"],
        _ids=_load(folder, "ids", np.uint8, (int(starts["ids"][-1]),)).tobytes(),
        _ids_start=starts["ids"],
        _title=_title_reader(folder / "titles.jsonl", starts["titles"]),
    )


_SLICED = ("availability", "relationships", "ids", "titles")  # arrays with a variable number of entries per row
