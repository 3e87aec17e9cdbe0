"""The bank in an instance's memory: read when it is older than its maximum age, and then only what has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from core.errors import StoreUnavailable
from core.patterns.index import PatternIndex, lay_out
from core.patterns.known import KnownPattern, content_space
from core.patterns.store import Patterns
from core.snapshot.snapshot import Snapshot

RETRY_S = 1.0  # after a failure
ROOM = 2  # times the capacity may be held: between two runs of the maintenance, which prunes, the bank grows
NAME = "patterns"  # in `degraded`


@dataclass(slots=True)
class PatternMemory:
    """At most `capacity` patterns, the ones that lift most, laid out over the snapshot in hand."""

    store: Patterns
    max_age_s: float
    capacity: int
    version: int = 0
    _patterns: dict[str, KnownPattern] = field(default_factory=dict)
    _left_out: int = 0
    _index: PatternIndex | None = None
    _laid_out_for: tuple[str, int] = ("", -1)
    _read_at: float = -np.inf
    _failed: bool = False
    _lock: Lock = field(default_factory=Lock)

    def index(self, snapshot: Snapshot, now: float) -> tuple[PatternIndex | None, tuple[str, ...]]:
        """The patterns, None before the first were read, and ("patterns",) when they cannot be looked for."""
        max_age_s = min(self.max_age_s, RETRY_S) if self._failed else self.max_age_s
        space = content_space(snapshot)
        stale = now - self._read_at > max_age_s or self._laid_out_for != (space, self.version)
        # One thread refreshes, the others go on with what is there.
        if stale and self._lock.acquire(blocking=False):
            try:
                self._refresh(snapshot, now, max_age_s)
            finally:
                self._lock.release()
        index = self._index
        if index is not None and index.space != space:
            index = None  # one thread is just laying it out over this snapshot
        return index, (NAME,) if self._failed else ()

    def known(self) -> int:
        """How many patterns the bank had when it was last read."""
        return len(self._patterns) + self._left_out

    def beyond(self) -> bool:
        """Whether the bank has more than are laid out."""
        return self.known() > self.capacity

    def _refresh(self, snapshot: Snapshot, now: float, max_age_s: float) -> None:
        if now - self._read_at > max_age_s:
            try:
                self._read()
                self._failed = False
            except StoreUnavailable:
                self._failed = True
            self._read_at = now
        laid_out_for = (content_space(snapshot), self.version)
        if self._laid_out_for != laid_out_for:
            self._index = lay_out(self._strongest(), snapshot)
            self._laid_out_for = laid_out_for

    def _read(self) -> None:
        changes = self.store.changes(self.version)
        if changes.whole:
            self._patterns, self._left_out = {}, 0
        for name in changes.removed:
            self._patterns.pop(name, None)
        self._patterns.update((one.pattern_id, one) for one in changes.put)
        self.version = changes.version
        if len(self._patterns) > ROOM * self.capacity:
            self._left_out += len(self._patterns) - self.capacity
            self._patterns = {one.pattern_id: one for one in self._strongest()}

    def _strongest(self) -> list[KnownPattern]:
        """At most `capacity`, those that lift most."""
        return sorted(self._patterns.values(), key=lambda one: (-one.boost, one.pattern_id))[: self.capacity]
