"""What one subscription has yet to deliver: which message is ready, out, resting after a failure, or behind its key."""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

IN_MEMORY_BYTES = 64_000_000  # payloads of one backlog beyond this are read from the journal when they are delivered
NEVER = -1.0


@dataclass(slots=True, eq=False)
class Entry:
    """One undelivered message. payload: a serialised PubsubMessage, None when it is only in the journal."""

    message: int
    ordering_key: str
    failures: int
    payload: bytes | None
    out: bool = False  # handed to a consumer who has not answered
    due: float = 0.0  # when the present wait ends (monotonic seconds); a timer with another time is void


class Backlog:
    """Thread-safe. With ordering, one message per key is ready or out; the later ones wait behind it, a failed one too.

    number: the subscription in the journal; config: the Subscription message, replaced as a whole.
    expired(backlog, entry) is called, without the lock, for a message whose acknowledgement deadline passed.
    """

    def __init__(self, number: int, config: Any, expired: Callable[["Backlog", Entry], None]) -> None:
        self.number = number
        self.config = config
        self.closed = False
        self._expired = expired
        self._entries: dict[int, Entry] = {}
        self._ready: deque[Entry] = deque()
        self._behind: dict[str, deque[Entry]] = {}  # ordering key in use -> its later messages
        self._timers: list[tuple[float, int, Entry]] = []
        self._timer_numbers = itertools.count()  # breaks ties between timers
        self._held_bytes = 0
        self._changed = threading.Condition()

    def add(self, entries: list[Entry]) -> None:
        """Append messages in the order of publication."""
        with self._changed:
            for entry in entries:
                self._entries[entry.message] = entry
                self._hold(entry)
                key = entry.ordering_key if self.config.enable_message_ordering else ""
                if key and key in self._behind:
                    self._behind[key].append(entry)
                    continue
                if key:
                    self._behind[key] = deque()
                self._ready.append(entry)
                self._changed.notify()

    def take(
        self,
        limit: int,
        deadline_s: float,
        wait_s: float | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> list[Entry]:
        """At most `limit` ready messages, which are out for `deadline_s` from now on.

        Waits for the first up to `wait_s` (None: for ever). Empty also when the backlog is closed, or `wanted` says no;
        `wake` makes everyone ask that again.
        """
        give_up = float("inf") if wait_s is None else time.monotonic() + wait_s
        while True:
            with self._changed:
                now = time.monotonic()
                expired = self._ring(now)
                if not expired:
                    if self.closed or not wanted():
                        return []
                    if self._ready:
                        return self._hand_out(limit, now + deadline_s)
                    if now >= give_up:
                        return []
                    alarm = min(give_up, self._timers[0][0] if self._timers else give_up)
                    self._changed.wait(None if alarm == float("inf") else alarm - now)
            for entry in expired:
                self._expired(self, entry)

    def reclaim(self, message: int) -> Entry | None:
        """Take a message back from the consumer who has it now; None if nobody has."""
        with self._changed:
            entry = self._entries.get(message)
            if entry is None or not entry.out:
                return None
            entry.out, entry.due = False, NEVER
            return entry

    def extend(self, message: int, deadline_s: float) -> None:
        """Give the consumer who has this message `deadline_s` from now."""
        with self._changed:
            entry = self._entries.get(message)
            if entry is not None and entry.out:
                self._set_timer(entry, time.monotonic() + deadline_s)

    def rest(self, entry: Entry, delay_s: float) -> None:
        """Make a failed message ready again after `delay_s`; its key stays blocked."""
        with self._changed:
            entry.out = False
            self._set_timer(entry, time.monotonic() + delay_s)

    def remove(self, message: int) -> bool:
        """Forget a message that is done with, whoever has it, and let the next of its key come. False if unknown."""
        with self._changed:
            entry = self._entries.pop(message, None)
            if entry is None:
                return False
            entry.due = NEVER
            self._held_bytes -= len(entry.payload or b"")
            entry.payload = None  # a void timer may keep the entry for minutes
            self._release(entry)
            return True

    def close(self) -> None:
        """End every `take`."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        with self._changed:
            self._changed.notify_all()

    def _hold(self, entry: Entry) -> None:
        size = len(entry.payload or b"")
        if self._held_bytes + size > IN_MEMORY_BYTES:
            entry.payload = None
        else:
            self._held_bytes += size

    def _hand_out(self, limit: int, due: float) -> list[Entry]:
        taken: list[Entry] = []
        while self._ready and len(taken) < limit:
            entry = self._ready.popleft()
            if self._entries.get(entry.message) is entry:
                entry.out = True
                self._set_timer(entry, due)
                taken.append(entry)
        if self._ready or self._timers:  # whoever watched the clock may be the one who leaves: another takes over
            self._changed.notify()
        return taken

    def _release(self, entry: Entry) -> None:
        behind = self._behind.get(entry.ordering_key)
        if behind is None:
            return
        if behind:
            self._ready.append(behind.popleft())
            self._changed.notify()
        else:
            del self._behind[entry.ordering_key]

    def _set_timer(self, entry: Entry, due: float) -> None:
        entry.due = due
        if due != float("inf"):
            heapq.heappush(self._timers, (due, next(self._timer_numbers), entry))
            if self._timers[0][2] is entry:  # whoever waits for a later one must not oversleep
                self._changed.notify()

    def _ring(self, now: float) -> list[Entry]:
        """End the waits that are over: rested messages become ready; those still out are returned as expired."""
        expired = []
        while self._timers and self._timers[0][0] <= now:
            due, _, entry = heapq.heappop(self._timers)
            if entry.due != due:
                continue
            entry.due = NEVER
            if entry.out:
                entry.out = False
                expired.append(entry)
            else:
                self._ready.append(entry)
        return expired
