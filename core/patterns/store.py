"""What the flows need of the pattern store, in their words. All methods raise StoreUnavailable without an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.numeric.vectors import Floats
from core.patterns.known import KnownPattern
from core.patterns.session import Trajectory


@dataclass(frozen=True, slots=True)
class BankChanges:
    """What changed in the bank up to `version`. whole: `put` is everything there is."""

    version: int
    put: Sequence[KnownPattern]
    removed: Sequence[str]
    whole: bool


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that succeeded, and the pattern that it is part of now."""

    trajectory: Trajectory
    pattern_id: str


@dataclass(frozen=True, slots=True)
class Applications:
    """How one pattern fared with the users of one segment ("": users of none). A success: of the titles that it lifted
    in an answer one was then liked; a failure: none was, and one was disliked."""

    pattern_id: str
    segment: str
    applications: int
    successes: int
    failures: int
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What a step of the maintenance wants: patterns as they shall be, and those to go with what they became ("":
    nothing). `members`: user -> segment, to replace all there are."""

    put: Sequence[KnownPattern] = ()
    remove: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, str] | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the maintenance. status: running, finished, interrupted (killed, or its store went away)."""

    kind: str
    dry_run: bool
    status: str
    started_at: float
    finished_at: float | None
    as_of: float
    steps: Mapping[str, Any]


class BankView(Protocol):
    """The bank as one step sees it, in the step's transaction."""

    def patterns(self) -> list[KnownPattern]:
        """All, in the order of their ids."""

    def sessions(self, since: float) -> list[StoredSession]:
        """Sessions that ended since then, in the order of their ids."""

    def take_uses(self, until_s_ago: float) -> list[Applications]:
        """Applications reported by impressions that came since the last call and `until_s_ago` or earlier; they are
        also added up for `applications`, and never counted again once the transaction is committed. A pattern that
        has become another one counts for that."""

    def applications(self) -> list[Applications]:
        """Everything counted so far."""

    def forget(self, before: float) -> int:
        """Drop sessions that ended before, and removals as old."""

    def reinforce(self, upto: float, rate: float, decay_per_day: float) -> int:
        """Strengthen relationships along which sessions went that ended since the last call, up to a bound, after the
        time in between has let all of them fade to 1; how many rows changed. The same `upto` again changes nothing."""


class Maintenance(Protocol):
    """A run under way; nobody else maintains the bank meanwhile."""

    def step(self, name: str, work: Callable[[BankView], Changes]) -> Mapping[str, Any]:
        """Do one step in one transaction and add its report. Repeated when somebody changed the same patterns
        meanwhile; Conflict when they keep doing so."""


class Patterns(Protocol):
    """Patterns in Cloud SQL: the truth of the ReasoningBank."""

    def add(self, sessions: Sequence[tuple[Trajectory, KnownPattern]]) -> int:
        """Sessions with their patterns; returns how many were new or had grown. One that is known changes nothing, one
        that has been merged into another pattern stays there."""

    def put(self, pattern: KnownPattern) -> bool:
        """Store one pattern; False when it was there just so."""

    def changes(self, since: int) -> BankChanges:
        """What changed after version `since` (0: everything)."""

    def nearest(self, space: str, query: Floats, limit: int) -> list[KnownPattern]:
        """The patterns of this space most similar to a query (d,), best first, with their similarity."""

    def size(self) -> int:
        """How many there are."""

    def maintenance(self, kind: str, now: float, dry_run: bool) -> AbstractContextManager[Maintenance]:
        """Begin a run, once no other is under way; a dry one leaves nothing but its report."""

    def runs(self, limit: int) -> list[Run]:
        """The latest runs, newest first."""
