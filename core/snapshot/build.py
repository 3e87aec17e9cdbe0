"""Building a snapshot folder from titles and interactions."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.adaptation.generation import Generation
from core.catalog import TITLE_TYPES, RelationshipType, Title, content_key, title_to_record
from core.embedding.content_encoder_pair import PlacedTitles
from core.embedding.quantized import quantize_rows
from core.numeric.topk import keep_largest
from core.snapshot.collaborative import collaborative_neighbours, cosine_neighbours
from core.snapshot.columns import Columns, columns_of
from core.snapshot.content import Audience, content_neighbours, content_vectors, newness
from core.snapshot.distributions import (
    conditional,
    daypart_of,
    decayed_popularity,
    segment_popularity,
    title_share,
    weekend_of,
)
from core.snapshot.features import content_features
from core.snapshot.graph import content_graph, graph_neighbours, walk_matrix
from core.snapshot.inputs import POSITIVE, Interactions
from core.snapshot.lexicon import build_lexicon
from core.snapshot.manifest import MANIFEST, Manifest, describe_files, to_bytes
from core.snapshot.neighbours import blank, put_sparse
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.relationships import EDGES_PER_TYPE, Affinity, prominence_of, strengthened
from core.snapshot.sequences import sequence_neighbours
from core.snapshot.snapshot import DAYPARTS, Neighbours, Vocabulary
from core.snapshot.space import lay_out, write_space
from core.snapshot.text import TextVectors
from core.snapshot.transitions import next_title_weights

Progress = Callable[[str, float], None]
"""Called with the name of the part that begins and the share of parts done."""


@dataclass(frozen=True, slots=True, eq=False)
class _Positives:
    """Positive pairs of known titles, by user and time. users, n: the sizes of the whole."""

    user: NDArray[np.int32]
    row: NDArray[np.int64]
    at: NDArray[np.float64]
    device: NDArray[np.int8]
    users: int
    n: int

    def matrix(self) -> sparse.csr_array:
        """(users, n) float32 zeros and ones."""
        return sparse.csr_array((np.ones(len(self.row), np.float32), (self.user, self.row)), shape=(self.users, self.n))


def _positives(interactions: Interactions, keys: NDArray[np.uint64]) -> _Positives:
    row = np.minimum(np.searchsorted(keys, interactions.key), len(keys) - 1)
    chosen = (keys[row] == interactions.key) & (interactions.weight >= POSITIVE)
    return _Positives(
        user=interactions.user[chosen],
        row=row[chosen],
        at=interactions.at[chosen],
        device=interactions.device[chosen],
        users=max(interactions.users, 1),
        n=len(keys),
    )


class _Folder:
    """Files of a snapshot under construction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def array(self, name: str, values: NDArray[Any]) -> None:
        np.save(self.path / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)

    def neighbours(self, name: str, lists: Neighbours) -> None:
        self.array(f"{name}_index", lists.index)
        self.array(f"{name}_weight", lists.weight)

    def pieces(self, name: str, pieces: Sequence[bytes], path: Path | None = None) -> None:
        """Joined bytes (into `path`, default an array) and where each piece starts."""
        self.array(f"{name}_start", np.fromiter(accumulate(map(len, pieces), initial=0), np.int64, len(pieces) + 1))
        if path:
            path.write_bytes(b"".join(pieces))
        else:
            self.array(name, np.frombuffer(b"".join(pieces), np.uint8))


def _starts(rows: NDArray[Any], n: int) -> NDArray[np.int64]:
    return np.searchsorted(rows, np.arange(n + 1)).astype(np.int64)


def _write_catalogue(folder: _Folder, columns: Columns) -> None:
    n = len(columns.keys)
    lines = [
        json.dumps(title_to_record(title), ensure_ascii=False, sort_keys=True).encode() + b"\n"
        for title in columns.titles
    ]
    folder.array("keys", columns.keys)
    folder.array("attributes", columns.attributes)
    folder.array("availability", columns.availability)
    folder.array("availability_start", _starts(columns.availability["row"], n))
    folder.pieces("ids", [title.content_id.encode() for title in columns.titles])
    folder.pieces("titles", lines, folder.path / "titles.jsonl")


def _write_popularity(
    folder: _Folder, interactions: Interactions, positives: _Positives, now: float, p: SnapshotParameters
) -> tuple[str, ...]:
    """Popularity in time, context and segment; returns the names of the segments that are large enough."""
    row, at, n, prior = positives.row, positives.at, positives.n, p.context_prior_events
    share = title_share(row, n)
    folder.array("popularity", decayed_popularity(row, at, n, now, p.popularity_half_life_days * 86_400))
    folder.array("popularity_all", np.bincount(row, minlength=n).astype(np.float32))
    folder.array("dayparts", conditional(daypart_of(at), row, len(DAYPARTS), share, prior))
    folder.array("weekend", conditional(weekend_of(at), row, 2, share, prior))
    folder.array("devices", conditional(positives.device, row, len(interactions.device_names), share, prior))
    names, segments = segment_popularity(interactions, positives.user, row, share, prior, p.segment_min_users)
    folder.array("segments", segments)
    return names


def _write_collaborative(folder: _Folder, positives: _Positives, p: SnapshotParameters) -> Neighbours:
    lists = collaborative_neighbours(
        positives.matrix(),
        p.neighbours,
        p.ease_regularisation * max(len(positives.row), 1) ** 0.5,
        p.ease_min_positives,
        p.ease_max_titles,
        p.cosine_shrinkage,
    )
    folder.neighbours("collaborative", lists)
    return lists


def _write_transitions(folder: _Folder, positives: _Positives, p: SnapshotParameters) -> None:
    weights = next_title_weights(
        positives.user, positives.row, positives.n, p.transition_window, p.transition_decay, p.transition_shrinkage
    )
    lists = blank(positives.n, p.neighbours)
    put_sparse(lists, np.arange(positives.n), keep_largest(weights, p.neighbours + 1))
    folder.neighbours("transitions", lists)


def _write_sequence(folder: _Folder, positives: _Positives, p: SnapshotParameters) -> None:
    ridge = p.sequence_regularisation * max(len(positives.row), 1) ** 0.5
    found = sequence_neighbours(
        positives.user,
        positives.row,
        positives.n,
        p.neighbours,
        p.sequence_decays,
        ridge,
        p.ease_min_positives,
        p.sequence_max_titles,
    )
    for i, lists in enumerate(found):
        folder.neighbours(f"sequence_{i}", lists)


def _write_content(
    folder: _Folder,
    columns: Columns,
    positives: _Positives,
    placed: PlacedTitles | None,
    p: SnapshotParameters,
) -> tuple[Neighbours, NDArray[np.float16]]:
    """Returns the lists of shared features, which the graph stands on, and the vectors."""
    features = content_features(columns.titles)
    lists = content_neighbours(features, p.neighbours)
    vectors = content_vectors(features, p.dims, np.random.default_rng(p.seed))
    folder.array("vectors", vectors)
    if placed is None:
        folder.neighbours("content", lists)
        return lists, vectors
    encoded, fans = placed.over(columns.keys)
    counts = np.bincount(positives.row, minlength=positives.n)
    audience = Audience(encoded, fans, newness(counts, p), p.audience_strength)
    folder.neighbours("content", content_neighbours(features, p.neighbours, audience))
    folder.array("encoded", encoded.astype(np.float16))
    return lists, vectors


def _write_search(folder: _Folder, columns: Columns, text: TextVectors | None, p: SnapshotParameters) -> None:
    """What a text query is compared with: the words of every title, and the vectors if there are any."""
    lexicon = build_lexicon(columns.titles)
    folder.array("lexicon_terms", np.frombuffer(lexicon.terms, np.uint8))
    for name in ("start", "first", "rows", "weights"):
        folder.array(f"lexicon_{name}", getattr(lexicon, name))
    if text and len(columns.keys) <= p.text_max_titles:
        rows = quantize_rows(text.over(columns.keys), "int8")
        folder.array("text_codes", rows.codes)
        folder.array("text_scales", rows.scales)


def _write_graph(
    folder: _Folder,
    titles: Sequence[Title],
    positives: _Positives,
    content: tuple[Neighbours, NDArray[np.float16]],
    p: SnapshotParameters,
    reinforced: Mapping[tuple[str, str, str], float],
) -> int:
    """Edges and walk lists; returns the number of edges. Use changes the walk only: the edges stay as they were found,
    so that the next build does not strengthen them twice."""
    lists, vectors = content
    popularity = np.bincount(positives.row, minlength=positives.n)
    affinity = Affinity(vectors.astype(np.float32), prominence_of(popularity))
    together = cosine_neighbours(
        positives.matrix(), EDGES_PER_TYPE[RelationshipType.CO_WATCHED], p.cosine_shrinkage
    )  # fmt: skip
    edges = content_graph(titles, affinity, lists, together)
    folder.array("relationships", edges)
    folder.array("relationships_start", _starts(edges["source"], positives.n))
    keys = np.array([content_key(title.content_id) for title in titles], np.uint64)
    walk = walk_matrix(strengthened(edges, keys, reinforced), positives.n, p.walk_weights)
    folder.neighbours("graph", graph_neighbours(walk, p.neighbours, p.restart_probability))
    return len(edges)


def _write_vocabulary(folder: _Folder, columns: Columns, interactions: Interactions, segments: tuple[str, ...]) -> None:
    vocabulary = Vocabulary(
        genres=columns.genres,
        languages=columns.languages,
        types=TITLE_TYPES,
        franchises=columns.franchises,
        services=columns.services,
        regions=columns.regions,
        segments=segments,
        devices=interactions.device_names,
    )
    (folder.path / "vocabulary.json").write_text(json.dumps(asdict(vocabulary), indent=1) + "\n")


def _finish(folder: _Folder, root: Path, now: float, manifest: dict[str, Any]) -> Path:
    """Write the manifest and give the folder its name: time of the build and hash of what it holds."""
    files = describe_files(folder.path)
    digest = hashlib.sha256("".join(entry.sha256 for entry in files.values()).encode()).hexdigest()
    version = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{digest[:8]}"
    data = to_bytes(Manifest(version=version, created_at=now, files=files, **manifest))
    (folder.path / MANIFEST).write_bytes(data)
    target = root / version
    if target.exists():  # the same input built again gives the same bytes
        shutil.rmtree(target)
    folder.path.chmod(0o755)  # mkdtemp's folders are private
    folder.path.rename(target)
    return target


def build(
    titles: Iterable[Title],
    interactions: Interactions,
    now: float,
    root: Path,
    parameters: SnapshotParameters | None = None,
    progress: Progress = lambda part, done: None,
    generation: Generation | None = None,
    text: TextVectors | None = None,
    reinforced: Mapping[tuple[str, str, str], float] | None = None,
    placed: PlacedTitles | None = None,
) -> Path:
    """Build a snapshot of `titles` as of `now` (Unix seconds) in a new folder under `root` and return that folder.

    With a base generation, adapters can be used with the snapshot; without one, its space is None. With text vectors,
    it can be searched by meaning; without, by words. With titles placed by the content encoder, new ones are
    listed where their audience is. The folder appears whole or not at all. The same titles (in any order),
    interactions, time, parameters, generation, vectors and places give the same bytes. Interactions with titles that
    are not in the catalogue are left out. Raises InvalidInput for an empty catalogue or one with a repeated id.
    """
    p = parameters or SnapshotParameters()
    columns = columns_of(titles)
    root.mkdir(parents=True, exist_ok=True)
    folder = _Folder(Path(tempfile.mkdtemp(prefix=".build-", dir=root)))
    try:
        return _build(folder, columns, interactions, now, root, p, progress, generation, text, reinforced or {}, placed)
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)  # already renamed unless something failed


def _build(
    folder: _Folder,
    columns: Columns,
    interactions: Interactions,
    now: float,
    root: Path,
    p: SnapshotParameters,
    progress: Progress,
    generation: Generation | None,
    text: TextVectors | None,
    reinforced: Mapping[tuple[str, str, str], float],
    placed: PlacedTitles | None,
) -> Path:
    positives = _positives(interactions, columns.keys)
    progress("catalogue", 0.0)
    _write_catalogue(folder, columns)
    progress("popularity", 0.1)
    segments = _write_popularity(folder, interactions, positives, now, p)
    _write_vocabulary(folder, columns, interactions, segments)
    progress("content", 0.2)
    content = _write_content(folder, columns, positives, placed, p)
    _write_search(folder, columns, text, p)
    progress("transitions", 0.3)
    _write_transitions(folder, positives, p)
    _write_sequence(folder, positives, p)
    progress("collaborative", 0.4)
    lists = _write_collaborative(folder, positives, p)
    if generation:
        write_space(folder.path, lay_out(generation, columns.keys, lists.index, lists.weight))
    progress("graph", 0.7)
    edges = _write_graph(folder, columns.titles, positives, content, p, reinforced)
    progress("manifest", 0.95)
    counts = {"users": interactions.users, "interactions": len(interactions.user), "positives": len(positives.row)}
    manifest = {
        "items": len(columns.keys),
        "dims": content[1].shape[1],
        "parameters": asdict(p)
        | {"generation": generation.name if generation else None}
        | {"text": {"version": text.version, "fingerprint": text.fingerprint} if text else None}
        | {"content_encoder": placed.version if placed else None},
        "counts": counts | {"relationships": edges},
    }
    target = _finish(folder, root, now, manifest)
    progress("done", 1.0)
    return target
