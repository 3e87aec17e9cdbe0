"""Keeping the bank small and true: sessions become clusters, what is the same becomes one, what fails or is not used
goes. Pure functions from patterns to changes; doing the same twice changes nothing more."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.numeric.kmeans import kmeans
from core.numeric.vectors import Floats, top_k, unit, unit_rows
from core.patterns.bank import PRUNE_BELOW
from core.patterns.circumstances import DIMENSIONS, MATCHING, Codebook, agreement
from core.patterns.cluster import SAME_COSINE
from core.patterns.index import re_embedded
from core.patterns.known import KnownPattern, content_space, faded, merged
from core.patterns.store import Applications, Changes
from core.snapshot.snapshot import Snapshot

COHERENT = 0.7  # cosine to their mean of every session that becomes part of a pattern: it would find that pattern
NEAREST = 3  # patterns whose circumstances are looked at
PER_CLUSTER = 6  # sessions that share a pattern, on average
CONTEXT_PULL = 0.15  # length of one circumstance next to a unit query: sessions alike in both come together
SETTLED_S = 6 * 3600.0  # after its last event a session does not go on any more
BLOCK = 1024  # rows of the similarity matrix at once
CAPACITY = 10_000  # patterns that every instance holds


@dataclass(frozen=True, slots=True)
class Rules:
    """How a bank is kept; the numbers are the design's (section 6)."""

    prune_below: float = PRUNE_BELOW
    merge_above: float = SAME_COSINE
    per_cluster: int = PER_CLUSTER
    capacity: int = CAPACITY


def is_single(pattern: KnownPattern) -> bool:
    """Whether a pattern is one session, not yet clustered."""
    return pattern.pattern_id.startswith("s-")


def in_space(patterns: Sequence[KnownPattern], snapshot: Snapshot) -> Changes:
    """Those of another space embedded anew in this snapshot's; what no title of can be known here stays as it is."""
    space = content_space(snapshot)
    foreign = [one for one in patterns if one.space != space]
    if not foreign:
        return Changes()
    pairs = zip(foreign, re_embedded(foreign, snapshot), strict=True)
    return Changes([replace(one, space=space, embedding=cut(vector)) for one, vector in pairs if vector.any()])


def cut(vector: Floats) -> Floats:
    """At most of length 1: of titles that are nearer to each other in the new space the mean would be longer."""
    return np.asarray(vector / np.float32(max(float(np.linalg.norm(vector)), 1.0)))


def extract(patterns: Sequence[KnownPattern], now: float, rules: Rules) -> Changes:
    """Sessions that have ended are gathered: into a pattern that the bank has, if one is as good as the same, or with
    others (k-means++ over queries and circumstances) where they are alike. The rest stays what it is until company
    comes, so that doing it again changes nothing."""
    put: dict[str, KnownPattern] = {}
    gone: dict[str, str] = {}
    left = [one for one in patterns if is_single(one) and one.last_used <= now - SETTLED_S]
    for space in sorted({one.space for one in left}):
        known = Known([one for one in patterns if one.space == space and not is_single(one) and not one.segment])
        singles = [one for one in left if one.space == space]
        while groups := gathered(singles, known, rules):
            for members in groups:
                kept = known.absorb(members, rules.merge_above)
                put[kept.pattern_id] = kept
                gone.update((one.pattern_id, kept.pattern_id) for one in members)
            singles = [one for one in singles if one.pattern_id not in gone]
    return Changes(list(put.values()), gone, report={"sessions": len(gone)})


def gathered(singles: Sequence[KnownPattern], known: Known, rules: Rules) -> list[list[KnownPattern]]:
    """Groups of sessions to be made one: those that belong to a known pattern each by itself, or clusters of others."""
    found = [[one] for one in singles if known.twin(one, rules.merge_above) is not None]
    if found or len(singles) < 2:
        return found
    return [group for group in clusters(singles, rules.per_cluster) if len(group) > 1 and coherence(group) >= COHERENT]


def coherence(group: Sequence[KnownPattern]) -> float:
    """The least cosine of a member's query to their mean."""
    queries = np.stack([one.embedding for one in group])
    return float((unit_rows(queries) @ unit(queries.mean(axis=0))).min())


class Known:
    """Patterns of one space, to which others are added one by one; their embeddings are rows of one matrix."""

    def __init__(self, patterns: Sequence[KnownPattern]) -> None:
        self._patterns = list(patterns)
        self._rows = unit_rows(np.stack([one.embedding for one in patterns])) if patterns else None

    def absorb(self, members: Sequence[KnownPattern], above: float) -> KnownPattern:
        """Members as one pattern, merged into the known one that is the same, if there is one."""
        fresh = merged(members, f"c-{name_of(one.pattern_id for one in members)}")
        place = self.twin(fresh, above)
        if place is None:
            self._patterns.append(fresh)
            row = unit_rows(fresh.embedding[None])
            self._rows = row if self._rows is None else np.concatenate([self._rows, row])
            return fresh
        known = self._patterns[place]
        self._patterns[place] = both = merged([known, fresh], known.pattern_id)
        self._rows[place] = unit(both.embedding)  # type: ignore[index]  # a twin is one of the rows
        return both

    def twin(self, pattern: KnownPattern, above: float) -> int | None:
        """Place of the most similar known pattern with a cosine above `above` in matching circumstances."""
        if self._rows is None:
            return None
        cosines = self._rows @ unit(pattern.embedding)
        near = (int(place) for place in top_k(cosines, NEAREST) if cosines[place] > above)
        return next((place for place in near if agree(pattern, self._patterns[place])), None)


def agree(a: KnownPattern, b: KnownPattern) -> bool:
    """Whether two patterns hold in the same circumstances."""
    book = Codebook()
    one, other = book.encode([a.circumstances, b.circumstances])
    return bool(agreement(one[None], other)[0] >= MATCHING)


def clusters(singles: Sequence[KnownPattern], per_cluster: int) -> list[list[KnownPattern]]:
    """Groups of sessions of one space; the same sessions always give the same groups."""
    ordered = sorted(singles, key=lambda one: one.pattern_id)
    seed = int(name_of(one.pattern_id for one in ordered), 16) % 2**63
    labels = kmeans(points(ordered), math.ceil(len(ordered) / per_cluster), np.random.default_rng(seed))[1]
    groups: dict[int, list[KnownPattern]] = {}
    for one, label in zip(ordered, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(one)
    return list(groups.values())


def points(patterns: Sequence[KnownPattern]) -> Floats:
    """(n, d + values) unit queries with their circumstances as short further coordinates."""
    codes = Codebook().encode([one.circumstances for one in patterns])
    features = [unit_rows(np.stack([one.embedding for one in patterns]))]
    for place in range(len(DIMENSIONS)):
        values = np.arange(codes[:, place].max(initial=-1) + 1)
        features.append(np.float32(CONTEXT_PULL) * (codes[:, place, None] == values).astype(np.float32))
    return np.concatenate(features, axis=1)


def name_of(parts: object) -> str:
    """A short hash of names in any order."""
    return hashlib.blake2b("\0".join(sorted(parts)).encode(), digest_size=8).hexdigest()  # type: ignore[call-overload]


def merge_alike(patterns: Sequence[KnownPattern], rules: Rules) -> Changes:
    """Patterns of a cosine above the rule's in circumstances that match become one: the largest takes them in, until
    nothing is alike any more. Sessions wait for their cluster, patterns of segments stay their segment's."""
    put: dict[str, KnownPattern] = {}
    gone: dict[str, str] = {}
    for space in sorted({one.space for one in patterns}):
        kept = [one for one in patterns if one.space == space and not is_single(one) and not one.segment]
        while pairs := alike(kept, rules.merge_above):
            kept = _merge_round(kept, pairs, put, gone)
    return Changes([one for name, one in put.items() if name not in gone], gone)


def _merge_round(
    kept: list[KnownPattern], pairs: list[tuple[int, int]], put: dict[str, KnownPattern], gone: dict[str, str]
) -> list[KnownPattern]:
    """Merge each pattern at most once; whoever has changed is compared anew in the next round."""
    taken: set[int] = set()
    current = dict(enumerate(kept))
    for large, small in pairs:
        if large in taken or small in taken:
            continue
        taken |= {large, small}
        one = merged([kept[large], kept[small]], kept[large].pattern_id)
        current[large] = put[one.pattern_id] = one
        gone[kept[small].pattern_id] = one.pattern_id
        del current[small]
    return list(current.values())


def alike(patterns: Sequence[KnownPattern], above: float) -> list[tuple[int, int]]:
    """Places (larger, smaller) of pairs with a cosine above `above` and matching circumstances, most similar first."""
    if len(patterns) < 2:
        return []
    rows = unit_rows(np.stack([one.embedding for one in patterns]))
    codes = Codebook().encode([one.circumstances for one in patterns])
    size = [(-one.size, one.pattern_id) for one in patterns]
    found: list[tuple[float, tuple[int, str], int, int]] = []
    for first in range(0, len(rows), BLOCK):
        cosines = rows[first : first + BLOCK] @ rows.T
        left, right = np.nonzero(cosines > above)
        pairs = (left + first < right) & (agreement(codes[left + first], codes[right]) >= MATCHING)
        for near, far in zip(left[pairs].tolist(), right[pairs].tolist(), strict=True):
            one, other = near + first, far
            large, small = (one, other) if size[one] <= size[other] else (other, one)
            found.append((-float(cosines[near, far]), size[large], large, small))
    return [(large, small) for *_, large, small in sorted(found)]


def fade_unused(patterns: Sequence[KnownPattern], now: float) -> Changes:
    """Confidence falls by 5 % per day after a week without use; it follows from the times, so again changes nothing."""
    changed = [after for one in patterns if abs((after := faded(one, now)).confidence - one.confidence) > 1e-9]
    return Changes(changed)


def prune(patterns: Sequence[KnownPattern], rules: Rules) -> Changes:
    """Without what is doubtful, and without the least confident beyond the capacity."""
    doubtful = {one.pattern_id for one in patterns if one.confidence < rules.prune_below}
    rest = sorted((one for one in patterns if one.pattern_id not in doubtful), key=lambda one: (-one.boost, -one.size))
    surplus = {one.pattern_id for one in rest[rules.capacity :]}
    return Changes(
        remove=dict.fromkeys(sorted(doubtful | surplus), ""),
        report={"doubtful": len(doubtful), "beyond_capacity": len(surplus)},
    )


def count_uses(patterns: Sequence[KnownPattern], uses: Sequence[Applications]) -> Changes:
    """Usage counted, and quality moved by how the applications ended: failures lower it."""
    by_pattern: Mapping[str, list[Applications]] = _grouped(uses)
    changed = [used(one, by_pattern[one.pattern_id]) for one in patterns if one.pattern_id in by_pattern]
    total = {name: sum(getattr(use, name) for use in uses) for name in ("applications", "successes", "failures")}
    return Changes(changed, report=total)


def used(pattern: KnownPattern, uses: Sequence[Applications]) -> KnownPattern:
    """One pattern after its applications: each that ended one way or the other counts like one more session.

    All count as usage, but only one that convinced somebody keeps a pattern alive: where patterns lie close, nearly
    every one is shown once a week, and the bank would grow without end.
    """
    good = sum(use.successes for use in uses)
    bad = sum(use.failures for use in uses)
    quality = (pattern.quality * pattern.size + good) / (pattern.size + good + bad)
    return replace(
        pattern,
        usage_count=pattern.usage_count + sum(use.applications for use in uses),
        last_used=max([pattern.last_used, *(use.last_at for use in uses if use.successes)]),
        quality=quality,
        confidence=quality,
    )


def _grouped(uses: Sequence[Applications]) -> dict[str, list[Applications]]:
    found: dict[str, list[Applications]] = {}
    for use in uses:
        found.setdefault(use.pattern_id, []).append(use)
    return found
