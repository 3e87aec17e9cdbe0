"""Building a snapshot folder from titles and interactions."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from core.adaptation.evidence import of_series
from core.adaptation.generation import Generation
from core.catalog import Title
from core.embedding.content_encoder_pair import PlacedTitles
from core.embedding.graph_sage_model import GraphSage
from core.profile.preference import DAY_S
from core.ranking.examples import collect_examples
from core.ranking.weights import COSTLY, LEARNED
from core.snapshot.columns import Columns, columns_of
from core.snapshot.folder import Folder, finish
from core.snapshot.fusion_attention import with_attention
from core.snapshot.fusion_weights import MIN_EXAMPLES, LearnedFusion, learn_fusion, too_few
from core.snapshot.inputs import Interactions
from core.snapshot.moments import before, last_stretch, moments
from core.snapshot.next_title_network import NextTitleNetwork
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.parts import (
    write_catalogue,
    write_collaborative,
    write_content,
    write_graph,
    write_kindred,
    write_next_title,
    write_popularity,
    write_search,
    write_sequence,
    write_transitions,
    write_vocabulary,
)
from core.snapshot.positives import Positives, positives_of, with_episodes
from core.snapshot.snapshot import Neighbours, Snapshot
from core.snapshot.space import lay_out, write_space
from core.snapshot.text import TextVectors

Progress = Callable[[str, float], None]
"""Called with the name of the part that begins and the share of parts done."""


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
    sage: GraphSage | None = None,
) -> Path:
    """Build a snapshot of `titles` as of `now` (Unix seconds) in a new folder under `root` and return that folder.

    With a base generation, adapters can be used with the snapshot; without one, its space is None. With text vectors,
    it can be searched by meaning; without, by words. With titles placed by the content encoder, new ones are
    listed where their audience is; with a graph embedding, where the graph would lead if they had company. The folder
    appears whole or not at all. The same titles (in any order), interactions, time, parameters, generation, vectors and
    models give the same bytes. Where there are enough likes, the weights of fusion are learned from the latest of them
    (core.snapshot.fusion_weights). Interactions with titles that are not in the catalogue are left out. Raises
    InvalidInput for an empty catalogue or one with a repeated id.
    """
    p = parameters or SnapshotParameters()
    columns = columns_of(titles)
    root.mkdir(parents=True, exist_ok=True)
    folder = Folder(Path(tempfile.mkdtemp(prefix=".build-", dir=root)))
    try:
        return _build(
            folder, columns, interactions, now, root, p, progress, generation, text, reinforced or {}, placed, sage
        )
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)  # already renamed unless something failed


def _build(
    folder: Folder,
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
    sage: GraphSage | None,
) -> Path:
    progress("catalogue", 0.0)
    write_catalogue(folder, columns)
    series = of_series(interactions, columns.titles)  # requests look at series
    progress("content", 0.05)
    content = write_content(folder, columns, positives_of(series, columns.keys), placed, p)
    progress("fusion", 0.2)
    fusion, network = _learn_fusion(folder, columns, series, content, p, reinforced, progress)
    progress("search", 0.5)
    write_search(folder, columns, text, p)
    own = positives_of(interactions, columns.keys)
    side = _write_item_side(folder, columns, series, now, content, p, reinforced, progress, sage, own)
    if fusion.asks("kindred"):
        write_kindred(folder, positives_of(series, columns.keys), p)
    if fusion.asks("next_title"):
        liked, done = positives_of(series, columns.keys), _within(progress, 0.9, 0.95)
        write_next_title(folder, liked, p, network, done)
    if generation:
        write_space(folder.path, lay_out(generation, columns.keys, side.together.index, side.together.weight))
    progress("manifest", 0.95)
    counts = {"users": interactions.users, "interactions": len(interactions.user), "positives": side.positives}
    manifest = {
        "items": len(columns.keys),
        "dims": content[1].shape[1],
        "parameters": asdict(p)
        | {"generation": generation.name if generation else None}
        | {"text": {"version": text.version, "fingerprint": text.fingerprint} if text else None}
        | {"content_encoder": placed.version if placed else None, "communities": side.communities}
        | {"graph_embedding": sage.version if sage else None}
        | {"fusion": fusion.weights, "fusion_learned": fusion.report, "attention": fusion.attention},
        "counts": counts | {"relationships": side.edges},
    }
    target = finish(folder, root, now, manifest)
    progress("done", 1.0)
    return target


@dataclass(frozen=True, slots=True, eq=False)
class _ItemSide:
    """What the rest of a build needs to know of the part that is learned from interactions."""

    together: Neighbours
    positives: int
    edges: int
    communities: dict[str, float]


def _write_item_side(
    folder: Folder,
    columns: Columns,
    interactions: Interactions,
    now: float,
    content: tuple[Neighbours, NDArray[np.float16]],
    p: SnapshotParameters,
    reinforced: Mapping[tuple[str, str, str], float],
    progress: Progress,
    sage: GraphSage | None = None,
    own: Positives | None = None,
) -> _ItemSide:
    """interactions: episodes counted as their series; own: what was liked itself, by which episodes are popular too."""
    positives = positives_of(interactions, columns.keys)
    progress("popularity", 0.55)
    popular = with_episodes(positives, own, columns.attributes["parent"]) if own else positives
    segments = write_popularity(folder, interactions, popular, now, p)
    write_vocabulary(folder, columns, interactions, segments)
    progress("transitions", 0.6)
    write_transitions(folder, positives, p)
    write_sequence(folder, positives, p)
    progress("collaborative", 0.7)
    together = write_collaborative(folder, positives, p)
    progress("graph", 0.8)
    edges, communities = write_graph(folder, columns.titles, positives, content, p, reinforced, sage)
    return _ItemSide(together, len(positives.row), edges, communities)


def _within(progress: Progress, start: float, end: float) -> Callable[[float], None]:
    """What tells `progress` of the training of the network, which takes the build from `start` to `end`."""
    return lambda done: progress("next title", start + (end - start) * done)


def _learn_fusion(
    folder: Folder,
    columns: Columns,
    series: Interactions,
    content: tuple[Neighbours, NDArray[np.float16]],
    p: SnapshotParameters,
    reinforced: Mapping[tuple[str, str, str], float],
    progress: Progress,
) -> tuple[LearnedFusion, NextTitleNetwork | None]:
    """Weights learned by rehearsal: from an item side of the time before the last stretch, and what that then foretold.

    With the network that was trained for it, so that the real one can go on from there.

    `folder` holds what does not depend on interactions. (Where a content encoder has placed the titles, it has: what it
    knows of the stretch is little, and only about titles with few likes.)
    """
    stretch = last_stretch(series, p.fusion_share, p.fusion_examples, p.fusion_holdout)
    if len(stretch.asked) < MIN_EXAMPLES:
        return too_few(len(stretch.asked)), None
    with TemporaryDirectory(prefix=".rehearsal-", dir=folder.path.parent) as workplace:
        earlier = Folder(Path(shutil.copytree(folder.path, Path(workplace) / "earlier")))
        known = before(series, stretch.known)
        _write_item_side(earlier, columns, known, stretch.cut, content, p, reinforced, lambda part, done: None)
        liked = positives_of(known, columns.keys)
        if p.kindred_viewers:
            write_kindred(earlier, liked, p)
        network = write_next_title(earlier, liked, p, progress=_within(progress, 0.3, 0.45))
        facts = {"items": len(columns.keys), "dims": content[1].shape[1], "parameters": asdict(p), "counts": {}}
        snapshot = Snapshot.open(finish(earlier, Path(workplace), stretch.cut, facts))
        replayed = moments(series, stretch, snapshot, p.online_half_life_days * DAY_S, p.history_decay, p.fusion_likes)
        offered = {"kindred": bool(p.kindred_viewers), "next_title": network is not None}
        names = [name for name in LEARNED if name not in COSTLY or offered[name]]
        examples = collect_examples(replayed, np.random.default_rng(p.seed), names)
    return with_attention(learn_fusion(examples, stretch.online), examples, snapshot.vocabulary.devices), network
