"""What holds beyond single sessions: kinds of viewers with patterns of their own, and patterns that work for all.

Segments are clusters of users' profiles, named after the genres that their viewers choose more than everybody does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.catalog import content_key
from core.numeric.kmeans import kmeans
from core.numeric.vectors import Floats, unit_rows
from core.patterns.known import UNIVERSAL, KnownPattern, faded, merged, pattern_of, strongest
from core.patterns.maintain import name_of
from core.patterns.store import Applications, Changes, StoredSession
from core.snapshot.inputs import Interactions
from core.snapshot.snapshot import Snapshot

MIN_USERS = 10  # of a segment: smaller ones would tell about single people
MAX_SEGMENTS = 12
USERS_PER_SEGMENT = 40  # on average, until there are MAX_SEGMENTS
SEGMENT_RESULTS = 20  # titles that a segment likes more than everybody does
MIN_APPLICATIONS = 10  # of a pattern in a segment, before its lift there says anything
MIN_SEGMENTS_KNOWN = 2  # a pattern that one segment knows is that segment's
UNIVERSAL_SHARE = 0.8  # of the segments in which the lift must be positive, as specified


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A kind of viewers: their ids, and the patterns of their sessions."""

    name: str
    users: tuple[str, ...]
    sessions: tuple[KnownPattern, ...]


def segment_patterns(
    sessions: Sequence[StoredSession], patterns: Sequence[KnownPattern], snapshot: Snapshot, now: float
) -> Changes:
    """One pattern per segment, instead of those of the run before; `members` says who is in which."""
    segments = find_segments(sessions, snapshot)
    made = [faded(pattern_of_segment(segment, segments), now) for segment in segments]
    before = {one.pattern_id: one for one in patterns if one.segment and one.segment != UNIVERSAL}
    put = [kept(one, before.get(one.pattern_id)) for one in made]
    names = {one.pattern_id for one in made}
    members = {user: segment.name for segment in segments for user in segment.users}
    report = {"segments": {segment.name: len(segment.users) for segment in segments}}
    changed = [one for one in put if one is not before.get(one.pattern_id)]
    return Changes(changed, {name: "" for name in before if name not in names}, members, report)


def kept(made: KnownPattern, before: KnownPattern | None) -> KnownPattern:
    """The new form of a segment's pattern with what its uses taught; the old one when nothing has changed."""
    if before is None:
        return made
    if (before.results, before.size, before.context) == (made.results, made.size, made.context):
        return before
    latest = max(made.last_used, before.last_used)
    return replace(made, usage_count=before.usage_count, created_at=before.created_at, last_used=latest)


def find_segments(sessions: Sequence[StoredSession], snapshot: Snapshot) -> list[Segment]:
    """Segments of at least MIN_USERS among the users of the sessions; deterministic for the same sessions."""
    by_user: dict[str, list[KnownPattern]] = {}
    for stored in sessions:
        pattern = pattern_of(stored.trajectory, snapshot)
        if pattern is not None:
            by_user.setdefault(stored.trajectory.user_id, []).append(pattern)
    users = sorted(by_user)
    if len(users) < 2 * MIN_USERS:
        return []
    labels = _labels(profiles([by_user[user] for user in users]), users)
    groups = [[user for user, label in zip(users, labels, strict=True) if label == each] for each in sorted({*labels})]
    groups = [group for group in groups if len(group) >= MIN_USERS]
    several = [[one for user in group for one in by_user[user]] for group in groups]
    names = name_segments([liked_genres(each, snapshot) for each in several], snapshot.vocabulary.genres)
    return [Segment(name, tuple(group), tuple(each)) for name, group, each in zip(names, groups, several, strict=True)]


def profiles(several: Sequence[Sequence[KnownPattern]]) -> Floats:
    """(u, d) unit means of what each user's sessions began from and led to, centred: what all users share tells
    nobody apart."""
    means = np.stack([np.mean([one.embedding for one in sessions], axis=0) for sessions in several])
    return unit_rows((means - means.mean(axis=0)).astype(np.float32))


def _labels(points: Floats, users: Sequence[str]) -> list[int]:
    k = int(np.clip(len(users) // USERS_PER_SEGMENT, 2, MAX_SEGMENTS))
    return [int(label) for label in kmeans(points, k, np.random.default_rng(int(name_of(users), 16) % 2**63))[1]]


def liked_genres(patterns: Sequence[KnownPattern], snapshot: Snapshot) -> NDArray[np.float64]:
    """(g,) share of each genre among the liked results."""
    totals = np.zeros(len(snapshot.vocabulary.genres))
    for pattern in patterns:
        for name, weight in pattern.results.items():
            row = snapshot.row(name)
            if row is not None and weight > 0:
                bits = int(snapshot.attributes["genres"][row])
                totals[[place for place in range(len(totals)) if bits >> place & 1]] += weight
    return totals / max(totals.sum(), 1e-9)


def name_segments(shares: Sequence[NDArray[np.float64]], genres: Sequence[str]) -> list[str]:
    """A name for each segment: the two genres it likes most beyond the mean of all; a number where names meet."""
    names: list[str] = []
    for row in shares:
        lift = row - np.mean(shares, axis=0)
        best = [genres[place] for place in np.argsort(-lift, kind="stable")[:2] if lift[place] > 0] or ["everything"]
        name = " and ".join(best)
        taken = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({taken + 1})" if taken else name)
    return names


def pattern_of_segment(segment: Segment, segments: Sequence[Segment]) -> KnownPattern:
    """What the segment's sessions have in common, with the titles that it likes more than the other segments do."""
    whole = merged(segment.sessions, f"segment-{name_of([segment.name])}")
    own = _mean_results(segment.sessions)
    everybody = _mean_results([one for each in segments for one in each.sessions])
    lift = {name: weight - everybody.get(name, 0.0) for name, weight in own.items()}
    results = strongest({name: weight for name, weight in lift.items() if weight > 0}, SEGMENT_RESULTS)
    most = max(results.values(), default=1.0)
    return replace(
        whole,
        segment=segment.name,
        results={name: weight / most for name, weight in results.items()},
        usage_count=0,
    )


def _mean_results(patterns: Sequence[KnownPattern]) -> dict[str, float]:
    total: dict[str, float] = {}
    for pattern in patterns:
        for name, weight in pattern.results.items():
            total[name] = total.get(name, 0.0) + weight / len(patterns)
    return total


def promote(patterns: Sequence[KnownPattern], applications: Sequence[Applications]) -> Changes:
    """Patterns that work for all become universal, those that do not any more cease to be."""
    base = success_rates(applications)
    by_pattern: dict[str, list[Applications]] = {}
    for use in applications:
        if use.segment and use.applications >= MIN_APPLICATIONS:
            by_pattern.setdefault(use.pattern_id, []).append(use)
    put = []
    for one in patterns:
        if one.segment in ("", UNIVERSAL):
            segment = UNIVERSAL if works_everywhere(by_pattern.get(one.pattern_id, []), base) else ""
            if segment != one.segment and (segment or one.pattern_id in by_pattern):
                put.append(replace(one, segment=segment))
    universal = sum(one.segment == UNIVERSAL for one in put)
    return Changes(put, report={"promoted": universal, "demoted": len(put) - universal})


def as_viewers(interactions: Interactions, patterns: Iterable[KnownPattern]) -> Interactions:
    """The interactions with one more viewer for each universal pattern, who likes what it is made of and what it leads
    to: so that what works for all is part of what all users share. Each counts like one person."""
    universal = [one for one in patterns if one.segment == UNIVERSAL]
    titles = [
        sorted({*one.anchors, *(name for name, weight in one.results.items() if weight > 0)}) for one in universal
    ]
    if not any(titles):
        return interactions
    user = np.repeat(np.arange(len(universal)), [len(names) for names in titles]) + interactions.users
    key = np.array([content_key(name) for names in titles for name in names], np.uint64)
    at = np.repeat([one.last_used for one in universal], [len(names) for names in titles])
    order = np.lexsort((key, at, user))
    return replace(
        interactions,
        user=np.concatenate([interactions.user, user[order].astype(np.int32)]),
        key=np.concatenate([interactions.key, key[order]]),
        weight=np.concatenate([interactions.weight, np.ones(len(key), np.float32)]),
        at=np.concatenate([interactions.at, at[order]]),
        device=np.concatenate([interactions.device, np.full(len(key), -1, np.int8)]),
        users=interactions.users + len(universal),
        segments=np.concatenate([interactions.segments, np.full((len(universal), 3), -1, np.int32)]),
    )


def success_rates(applications: Sequence[Applications]) -> Mapping[str, float]:
    """Share of the applications in each segment that succeeded, over all patterns."""
    total: dict[str, list[int]] = {}
    for use in applications:
        row = total.setdefault(use.segment, [0, 0])
        row[0] += use.applications
        row[1] += use.successes
    return {segment: successes / max(count, 1) for segment, (count, successes) in total.items()}


def works_everywhere(uses: Sequence[Applications], base: Mapping[str, float]) -> bool:
    """Whether the lift over the segment's success rate is positive in enough of the segments that know the pattern."""
    if len(uses) < MIN_SEGMENTS_KNOWN:
        return False
    positive = sum(use.successes / use.applications > base[use.segment] for use in uses)
    return positive >= UNIVERSAL_SHARE * len(uses)
