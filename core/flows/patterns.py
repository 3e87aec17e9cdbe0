"""The story of the bank as others see it: store a pattern, find those for a query, let them bend a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InvalidInput, NotFound, StoreUnavailable
from core.flows.pattern_memory import NAME
from core.flows.services import Services
from core.numeric.vectors import Floats, require_finite, unit
from core.patterns.circumstances import MATCHING, Circumstances, Codebook, agreement, counted
from core.patterns.index import OVER_FETCH
from core.patterns.known import KnownPattern, content_space, embed, topics
from core.patterns.maintain import name_of
from core.ranking.pattern_boost import PATTERNS, lifts
from core.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A query: its titles (content id -> weight), or its vector in `space` ("": that of the snapshot in hand)."""

    titles: Mapping[str, float]
    embedding: Sequence[float] | None
    space: str
    circumstances: Circumstances


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """patterns: best first, with their similarity; searched: how many there are; space: where they were compared."""

    patterns: tuple[KnownPattern, ...]
    searched: int
    space: str
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Boosted:
    """A candidate with its new score and what the patterns changed of it; pattern_id: the one that changed it most."""

    content_id: str
    score: float
    pattern_boost: float
    pattern_id: str | None


def require_known(snapshot: Snapshot, titles: Iterable[str]) -> None:
    """Raises NotFound naming the titles that the catalogue does not have."""
    if unknown := [name for name in titles if snapshot.row(name) is None]:
        raise NotFound(f"content {', '.join(unknown[:5])} is not in the catalogue")


def query_vector(snapshot: Snapshot, asked: Asked) -> Floats:
    """(d,) unit vector of a query in the snapshot's space; of a whole content vector its topics count.

    Raises NotFound for unknown titles, InvalidInput for a vector of another space or without direction.
    """
    if asked.space and asked.space != content_space(snapshot):
        raise InvalidInput(f"space: vectors of {asked.space} are not compared with those of {content_space(snapshot)}")
    if asked.embedding is None:
        require_known(snapshot, asked.titles)
        vector = embed(snapshot, asked.titles)
    else:
        whole, dims = snapshot.vectors.shape[1], topics(snapshot).shape[1]
        vector = require_finite(asked.embedding, "query_embedding", (whole if len(asked.embedding) == whole else dims,))
        vector = vector[:dims]
    if not vector.any():
        raise InvalidInput("the query has no direction")
    return unit(vector)


def store_pattern(
    services: Services, asked: Asked, results: Mapping[str, float], quality: float, sessions: int, now: float
) -> tuple[KnownPattern, bool]:
    """Keep a pattern that somebody else has found; False: it was there just so. The same query in the same
    circumstances is the same pattern. Raises NotFound for unknown titles."""
    snapshot, _ = services.snapshot(now)
    vector = query_vector(snapshot, asked)
    require_known(snapshot, results)
    length = float(np.linalg.norm(embed(snapshot, asked.titles))) or 1.0
    query = [*asked.titles] or [vector.astype(np.float16).tobytes().hex()]
    pattern = KnownPattern(
        pattern_id=f"a-{name_of([*query, *(f'{name}={value}' for name, value in asked.circumstances.items())])}",
        space=content_space(snapshot),
        embedding=vector,
        anchors={name: weight / length for name, weight in asked.titles.items()},
        context=counted(asked.circumstances, sessions),
        results=dict(results),
        quality=quality,
        confidence=quality,
        size=sessions,
        created_at=now,
        last_used=now,
    )
    return pattern, services.patterns.put(pattern)


def find_patterns(services: Services, asked: Asked, limit: int, min_similarity: float, now: float) -> Found:
    """The patterns for a query in its circumstances; from memory, or by pgvector when the bank has outgrown it."""
    snapshot, degraded = services.snapshot(now)
    vector = query_vector(snapshot, asked)
    index, stale = services.pattern_memory.index(snapshot, now)
    if index is None:
        raise StoreUnavailable(NAME, "none has been read yet")
    space = content_space(snapshot)
    if not services.pattern_memory.beyond():
        matches = index.search(vector, asked.circumstances, limit, min_similarity)
        return Found(tuple(index.found(match) for match in matches), len(index), space, (*degraded, *stale))
    near = services.patterns.nearest(space, vector, OVER_FETCH * limit)
    near = [one for one in near if one.similarity >= min_similarity and fits(one, asked.circumstances)]
    return Found(tuple(near[:limit]), services.pattern_memory.known(), space, (*degraded, *stale))


def fits(pattern: KnownPattern, wanted: Circumstances) -> bool:
    """Whether the circumstances match."""
    codes = Codebook().encode([pattern.circumstances, wanted])
    return bool(agreement(codes[:1], codes[1])[0] >= MATCHING)


def apply_patterns(
    services: Services, asked: Asked, candidates: Mapping[str, float], now: float
) -> tuple[list[Boosted], Found]:
    """Candidates (content id -> score) in their new order, each explained. Raises NotFound for unknown titles."""
    snapshot, degraded = services.snapshot(now)
    require_known(snapshot, candidates)
    vector = query_vector(snapshot, asked)
    index, stale = services.pattern_memory.index(snapshot, now)
    if index is None:
        raise StoreUnavailable(NAME, "none has been read yet")
    matches = index.search(vector, asked.circumstances, PATTERNS)
    lift, source = lifts(index, matches, len(snapshot))
    strength = services.settings.ranking.pattern_strength
    boosted = []
    for name, score in candidates.items():
        row = snapshot.row(name) or 0
        gained = abs(score) * strength * float(lift[row])
        pattern_id = index.patterns[source[row]].pattern_id if gained else None
        boosted.append(Boosted(name, score + gained, gained, pattern_id))
    found = tuple(index.found(match) for match in matches)
    space = content_space(snapshot)
    return sorted(boosted, key=lambda one: -one.score), Found(found, len(index), space, (*degraded, *stale))
