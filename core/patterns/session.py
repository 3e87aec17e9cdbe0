"""Sessions of one user read off the events, and which of them succeeded: what was asked, in which circumstances, and
what came of it.

A session ends with a pause of 30 minutes. A title that is being watched makes no pause: its start and its end may lie
hours apart. Long sessions are several: what is wanted changes while one watches.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from core.interaction import Event, Interaction, InteractionType, signal_strength
from core.patterns.circumstances import circumstances
from core.profile.session import SESSION_GAP_S

MIN_POSITIVES = 3  # results of a session that went well, as specified
MAX_POSITIVES = 10  # then the next session begins: as many as a query looks back
MIN_QUALITY = 0.5  # mean strength of the positive results x their share: three clicks are no success, three half films
MORE_THAN_HALF = 0.5  # of a title watched is a positive result, less says nothing
WATCHING_S = 6 * 3600.0  # the longest a title may take from its start to its end
RECENT, DECAY = 10, 0.8  # likes that make the query, and what one more title back counts; as in adaptation.query


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A session: `anchors` are the likes before it (content id -> weight), `results` the titles in it (content id ->
    signed strength in [-1, 1]). seq: place of its last event in the log."""

    session_id: str
    user_id: str
    started_at: float
    ended_at: float
    seq: int
    anchors: Mapping[str, float]
    circumstances: Mapping[str, str]
    results: Mapping[str, float]

    @property
    def positives(self) -> int:
        """Titles that were received well."""
        return sum(strength > 0 for strength in self.results.values())

    @property
    def quality(self) -> float:
        """Mean strength of the positive results times their share of all, in [0, 1]: negatives lower it."""
        good = sum(strength for strength in self.results.values() if strength > 0)
        bad = -sum(strength for strength in self.results.values() if strength < 0)
        return good / self.positives * good / (good + bad) if self.positives else 0.0

    @property
    def succeeded(self) -> bool:
        """Whether it makes a pattern: MIN_POSITIVES positives and MIN_QUALITY."""
        return self.positives >= MIN_POSITIVES and self.quality >= MIN_QUALITY


@dataclass(slots=True)
class _Session:
    """A session under way. Of several events on one title the strongest counts."""

    first: Interaction
    anchors: dict[str, float]
    last_at: float
    seq: int = 0
    results: dict[str, float] = field(default_factory=dict)
    titles: set[str] = field(default_factory=set)
    devices: Counter[str] = field(default_factory=Counter)

    def goes_on(self, event: Interaction) -> bool:
        pause = event.occurred_at - self.last_at
        return pause <= SESSION_GAP_S or (pause <= WATCHING_S and event.content_id in self.titles)

    def add(self, seq: int, event: Interaction) -> None:
        self.last_at, self.seq = event.occurred_at, max(seq, self.seq)
        self.titles.add(event.content_id)
        if event.device:
            self.devices[event.device] += 1
        strength = result_strength(event)
        known = self.results.get(event.content_id, 0.0)
        if strength < 0 or strength > abs(known):  # a word against outweighs what was done, a stronger one for it too
            self.results[event.content_id] = strength

    def positives(self) -> int:
        return sum(strength > 0 for strength in self.results.values())

    def trajectory(self) -> Trajectory:
        first = self.first
        name = f"{first.user_id}\0{first.event_id}"
        device = self.devices.most_common(1)[0][0] if self.devices else None
        return Trajectory(
            session_id=hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
            user_id=first.user_id,
            started_at=first.occurred_at,
            ended_at=self.last_at,
            seq=self.seq,
            anchors=self.anchors,
            circumstances=circumstances(first.occurred_at, device),
            results={name: strength for name, strength in self.results.items() if strength},
        )


def result_strength(event: Interaction) -> float:
    """What an event says about a result, in [-1, 1]: a click .2, more than half watched .8 of the share, a completion
    1, an opinion by its stars; 0 for what says nothing."""
    if event.type is InteractionType.WATCH_START:
        return 0.0
    if event.type is InteractionType.WATCH_PROGRESS and (event.progress or 0.0) <= MORE_THAN_HALF:
        return 0.0
    return signal_strength(event)


def trajectories(events: Iterable[tuple[int, Event]]) -> Iterator[Trajectory]:
    """All sessions of one user, oldest first; events (seq, event) in any order. Impressions are none of the user's
    doing."""
    told = [(seq, event) for seq, event in events if isinstance(event, Interaction)]
    told = [pair for pair in told if pair[1].type is not InteractionType.IMPRESSION]
    liked: dict[str, float] = {}  # latest last
    running: _Session | None = None
    for seq, event in sorted(told, key=lambda pair: (pair[1].occurred_at, pair[0])):
        if running is not None and not (
            running.goes_on(event) and (running.positives() < MAX_POSITIVES or event.content_id in running.titles)
        ):
            yield running.trajectory()
            running = None
        if running is None:
            running = _Session(event, recent_likes(liked), event.occurred_at)
        running.add(seq, event)
        if result_strength(event) > 0:
            liked.pop(event.content_id, None)
            liked[event.content_id] = result_strength(event)
        elif result_strength(event) < 0:
            liked.pop(event.content_id, None)
    if running is not None:
        yield running.trajectory()


def recent_likes(liked: Mapping[str, float]) -> dict[str, float]:
    """Weights of the latest likes, .8 per title back. liked: latest last."""
    latest = list(liked)[-RECENT:]
    return {name: DECAY**age * liked[name] for age, name in enumerate(reversed(latest))}
