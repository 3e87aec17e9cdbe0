"""A pattern as the bank keeps it: made of titles and circumstances, and of a vector only for the sake of speed.

Vectors age, ids do not: `anchors` say which titles the queries were made of, so a pattern can be embedded in the space
of any snapshot. One that came with a query of its own (a text) and no anchors is embedded from its results there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.numeric.vectors import Floats
from core.patterns.bank import fade as faded_pattern
from core.patterns.circumstances import Counts, added, counted, dominant
from core.patterns.cluster import Pattern, boost, merge
from core.patterns.session import Trajectory
from core.snapshot.snapshot import Snapshot

# Leading dimensions of the content vectors, ordered by how much of the catalogue they explain: its topics. All 256 tell
# apart what is alike: 14 % of simulated viewers found another's session at a cosine of .7, with 32 two thirds do.
TOPICS = 32
MAX_ANCHORS = 32  # titles that a query is remembered by
MAX_RESULTS = 32  # titles that a pattern may lift or lower
UNIVERSAL = "universal"


@dataclass(frozen=True, slots=True, eq=False)
class KnownPattern:
    """embedding (d,): mean of the members' unit queries in `space`; anchors: content id -> weight, whose sum of vectors
    the embedding is; results: content id -> mean signed strength over all members; quality: mean outcome, in [0, 1];
    confidence: quality, faded by lack of use; size: sessions behind it; segment: "" for everybody's, a segment's name,
    or "universal"."""

    pattern_id: str
    space: str
    embedding: Floats
    anchors: Mapping[str, float]
    context: Counts
    results: Mapping[str, float]
    quality: float
    confidence: float
    size: int
    created_at: float
    last_used: float
    usage_count: int = 0
    segment: str = ""
    similarity: float = field(default=0.0)

    @property
    def boost(self) -> float:
        """By confidence and use, see core.patterns.cluster.boost."""
        return boost(self.confidence, self.usage_count)

    @property
    def circumstances(self) -> dict[str, str]:
        """The most frequent ones of its sessions, as context -> word."""
        return dominant(self.context)


_names: WeakKeyDictionary[Snapshot, str] = WeakKeyDictionary()  # no snapshot lives longer for having a name


def topics(snapshot: Snapshot) -> NDArray[np.float16]:
    """(n, d) what patterns are compared by: the leading TOPICS dimensions of every title's content vector."""
    return snapshot.vectors[:, :TOPICS]


def content_space(snapshot: Snapshot) -> str:
    """Name of the snapshot's content space: the same titles with the same vectors are the same space."""
    name = _names.get(snapshot)
    if name is None:
        digest = hashlib.blake2b(digest_size=8)
        digest.update(snapshot.keys.tobytes())
        digest.update(topics(snapshot).tobytes())
        name = _names[snapshot] = f"content-{topics(snapshot).shape[1]}-{digest.hexdigest()}"
    return name


def owner(snapshot: Snapshot) -> Callable[[str], str]:
    """Content id -> that of the series for an episode, else itself: requests look at series."""

    def of(content_id: str) -> str:
        row = snapshot.row(content_id)
        parent = -1 if row is None else int(snapshot.attributes["parent"][row])
        return content_id if parent < 0 else snapshot.content_id(parent)

    return of


def embed(snapshot: Snapshot, titles: Mapping[str, float]) -> Floats:
    """(d,) sum of the titles' topics by weight; unknown titles are left out."""
    known = [(row, weight) for name, weight in titles.items() if (row := snapshot.row(name)) is not None]
    if not known:
        return np.zeros(topics(snapshot).shape[1], np.float32)
    rows, weights = zip(*known, strict=True)
    return np.asarray(np.array(weights, np.float32) @ topics(snapshot)[list(rows)].astype(np.float32))


def pattern_of(trajectory: Trajectory, snapshot: Snapshot) -> KnownPattern | None:
    """The pattern of one session; None when nothing is known of what came before it, or of its results."""
    of = owner(snapshot)
    anchors: dict[str, float] = {}
    for name, weight in trajectory.anchors.items():
        anchors[of(name)] = anchors.get(of(name), 0.0) + weight
    vector = embed(snapshot, anchors)
    length = float(np.linalg.norm(vector))
    results: dict[str, float] = {}
    for name, strength in trajectory.results.items():
        results[of(name)] = max(results.get(of(name), 0.0), strength, key=abs)
    if length < 1e-6 or not any(snapshot.row(name) is not None for name in results):
        return None
    return KnownPattern(
        pattern_id=f"s-{trajectory.session_id}",
        space=content_space(snapshot),
        embedding=vector / np.float32(length),
        anchors={name: weight / length for name, weight in anchors.items()},
        context=counted(trajectory.circumstances),
        results=results,
        quality=trajectory.quality,
        confidence=trajectory.quality,
        size=1,
        created_at=trajectory.ended_at,
        last_used=trajectory.ended_at,
    )


def as_cluster(pattern: KnownPattern) -> Pattern:
    """What the rules for merging and fading look at."""
    return Pattern(
        pattern.embedding, pattern.embedding, pattern.quality, pattern.size, pattern.created_at, pattern.last_used,
        pattern.confidence, pattern.usage_count,
    )  # fmt: skip


def merged(several: Sequence[KnownPattern], pattern_id: str) -> KnownPattern:
    """All as one: size-weighted means, summed counts, the earliest creation and the latest use. All of one space."""
    whole = as_cluster(several[0])
    for other in several[1:]:
        whole = merge(whole, as_cluster(other))
    shares = [one.size / whole.size for one in several]
    return replace(
        several[0],
        pattern_id=pattern_id,
        embedding=whole.centroid,
        anchors=strongest(_mean([one.anchors for one in several], shares), MAX_ANCHORS),
        context=added(one.context for one in several),
        results=strongest(_mean([one.results for one in several], shares), MAX_RESULTS),
        quality=whole.quality,
        confidence=whole.confidence,
        size=whole.size,
        usage_count=whole.usage_count,
        created_at=whole.created_at,
        last_used=whole.last_used,
    )


def _mean(several: Sequence[Mapping[str, float]], shares: Sequence[float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for weights, share in zip(several, shares, strict=True):
        for name, weight in weights.items():
            total[name] = total.get(name, 0.0) + share * weight
    return total


def strongest(weights: Mapping[str, float], most: int) -> dict[str, float]:
    """The `most` entries farthest from zero, strongest first; equal ones in the order of their names."""
    return dict(sorted(weights.items(), key=lambda item: (-abs(item[1]), item[0]))[:most])


def faded(pattern: KnownPattern, now: float) -> KnownPattern:
    """With the confidence that is left at `now`: see core.patterns.bank.fade."""
    return replace(pattern, confidence=faded_pattern(as_cluster(pattern), now).confidence)
