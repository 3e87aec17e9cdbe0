"""What the flows need of the stores, in the flows' own words.

Every protocol has one contract suite under tests/contracts that runs on the real backend. All methods raise
StoreUnavailable when the backend does not answer; none hides a failure behind an empty result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.interaction import Event


@dataclass(frozen=True, slots=True)
class StoredState:
    """One user's state as bytes (see core.profile.codec). `version` grows with every write, `seq` with every event."""

    blob: bytes
    version: int
    seq: int


@dataclass(frozen=True, slots=True)
class SequencedEvent:
    """An accepted event with its place in its user's log; seq starts at 1 and has no gaps."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class Appended:
    """What a transaction did: the events that were new (in order) and the state that now is the truth."""

    new: tuple[SequencedEvent, ...]
    state: StoredState | None  # None: every event was refused because the user is erased
    adaptation_due: bool = False  # as now stored: a batch of known events repeats it, so a lost message is sent again


Fold = Callable[[StoredState | None, Sequence[SequencedEvent]], bytes]
"""Pure function (state before, new events) -> state blob after; called inside the transaction, under the row lock."""


Due = Callable[[bytes], bool]
"""Pure function state blob after -> whether an adaptation is due; its answer is stored in the same transaction."""


class EventLog(Protocol):
    """The event log and the user states folded from it: the truth, in Cloud SQL."""

    def append(self, user_id: str, events: Sequence[Event], fold: Fold, due: Due | None = None) -> Appended:
        """In one transaction under the user's row lock: number and insert unknown events, fold, write the state.

        When nothing is new nothing is written, and the state is the stored one. `due` can only set the mark that an
        adaptation is due; Adapters takes it away. Raises InvalidInput for events that cannot be stored, and whatever
        `fold` and `due` raise.
        """

    def load_state(self, user_id: str) -> StoredState | None:
        """None for a user of whom nothing is stored."""

    def events(self, user_id: str, after_seq: int = 0) -> Iterator[SequencedEvent]:
        """The user's events in ingest order."""

    def latest(self, user_id: str, limit: int) -> list[SequencedEvent]:
        """The latest `limit` events of one user but impressions, in ingest order."""

    def checkpoint(self, user_id: str) -> StoredState | None:
        """The state that stands in for the events up to its seq, some of which may be gone; None: all are there."""

    def reject(self, reason: str, payload: bytes, message_id: str, user_id: str = "") -> None:
        """Keep an event that can never be applied, with the reason; the same message twice is kept once, and one of an
        erased user not at all. user_id: whose it is, if that is known."""

    def mark_hot_stale(self, user_id: str) -> None:
        """Remember that the hot copy could not be written."""

    def stale_hot(self, limit: int) -> list[tuple[str, StoredState]]:
        """Users whose hot copy is behind, oldest mark first."""

    def clear_hot_stale(self, user_id: str, version: int) -> None:
        """The hot copy now has `version`; a newer write keeps the mark."""

    def popularity(self, since: float, half_life_s: float, now: float) -> dict[str, float]:
        """content_id -> sum over users of 2^(-(now - first) / half_life_s), first: of the user's positive events about
        the title since `since`. A request's counting is Declined when it takes long."""

    def outcomes(self, since: float, half_life_s: float, now: float) -> tuple[dict[str, float], dict[str, float]]:
        """content_id -> decayed count, as in `popularity`, of how often it was shown in answers since then (each time
        counts), and of the users with positive events that name the answer they came from."""

    def evidence(self) -> Iterator[Event]:
        """Every event of every user but impressions, streamed by user and time, for the snapshot build."""


class HotStates(Protocol):
    """Copies of user states and adapters in Valkey, already small enough for it. An older version never overwrites a
    newer one; an erased user stays erased."""

    def get_with_adapter(self, user_id: str) -> tuple[StoredState | None, StoredAdapter | None]:
        """Both copies in one round trip; None when there is no copy, the truth may have one; NO_ADAPTER for a user who
        is known to have none. Raises CorruptData."""

    def put_adapter(self, user_id: str, adapter: StoredAdapter) -> bool:
        """As `put`, for the adapter's copy. NO_ADAPTER is kept for a while, so that nobody asks for it each time."""

    def put(self, user_id: str, state: StoredState) -> bool:
        """True when the copy now has this version or a newer one; False when the user is erased."""

    def delete(self, user_id: str) -> None:
        """Both copies."""

    def erase(self, user_id: str) -> None:
        """Both copies, and refuse new ones for as long as a copy could have lived."""


class RateLimits(Protocol):
    """How often callers may call, counted over all instances."""

    def take(self, caller: str, route: str, per_second: float, burst: int, calls: int) -> float:
        """Count `calls` at once and return 0, or the seconds until they would be granted and count nothing."""


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """One version of a user's slow tier: `blob` is core.adaptation.codec bytes. `folded_upto_seq` is the last event of
    the user's log that it has learned from."""

    blob: bytes
    version: int
    folded_upto_seq: int
    generation: str
    updated_at: float  # Unix seconds; exact to the microsecond in the cold store


NO_ADAPTER = StoredAdapter(blob=b"", version=0, folded_upto_seq=0, generation="", updated_at=0.0)
"""The hot store's record that a user has no adapter; any real one (version 1 and up) replaces it."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A line of the log of adaptations: what was trained on what, and the verdict with its measurements."""

    user_id: str
    at: float
    from_seq: int
    upto_seq: int
    snapshot: str
    generation: str
    seed: int
    verdict: str  # accepted, rolled_back, or rollback (by hand)
    metrics: Mapping[str, float]


class Adapters(Protocol):
    """Slow tiers in Cloud SQL, with the last versions kept for a rollback and the log of every adaptation."""

    def load(self, user_id: str) -> StoredAdapter | None:
        """The newest version."""

    def save(self, user_id: str, adapter: StoredAdapter, entry: Adaptation) -> bool:
        """In one transaction under the user's row lock: write `adapter.version` as the newest, log the entry, clear
        `adaptation_due` unless there are events beyond `folded_upto_seq`, and mark the hot copy as behind.

        False, and nothing is written, when the user is erased. Raises Conflict unless the newest stored version is
        one less.
        """

    def record(self, entry: Adaptation) -> bool:
        """Log an adaptation that changed nothing, and clear `adaptation_due` unless there are events beyond its
        `upto_seq`. False, and nothing is written, when the user is erased."""

    def versions(self, user_id: str) -> list[StoredAdapter]:
        """The kept versions, newest first."""

    def adaptations(self, user_id: str, limit: int) -> list[Adaptation]:
        """The latest log entries, newest first."""

    def due(self, shard: int, shards: int, limit: int) -> list[str]:
        """Users of this shard (0 <= shard < shards) whose adaptation is due, most events not yet folded first."""

    def stale_hot(self, limit: int) -> list[tuple[str, StoredAdapter]]:
        """Newest versions of which no hot copy has been reported, oldest first."""

    def clear_hot_stale(self, user_id: str, version: int) -> None:
        """The hot copy now has `version`; a newer one keeps its mark."""


class PopularityCounters(Protocol):
    """Shared time-decayed counters of positive events per title (forward decay, so that adding is one increment)."""

    def add(self, weights: Mapping[str, float], now: float) -> bool:
        """Add weights (content_id -> weight) observed at `now` (Unix seconds); False when the counters are lost.

        Lost counters count nothing until `replace`, which brings what was missed: a part must not pass for the whole.
        """

    def read(self, now: float) -> dict[str, float]:
        """content_id -> decayed count at `now`; empty when the counters were lost or nothing was counted."""

    def filled(self) -> bool:
        """Whether the counters are there: lost ones count nothing. Reads one field, however many titles they have."""

    def claim(self, patient: bool, for_s: float) -> bool:
        """Whether it falls to the caller to refill lost counters: to one at a time, again after `replace` or `for_s`.

        patient: with more time than a request has. Those claim for themselves: hurried ones never keep them out.
        """

    def replace(self, counts: Mapping[str, float], now: float) -> None:
        """Refill lost counters from the truth."""


@dataclass(frozen=True, slots=True)
class Succession:
    """Somebody came to like the title `key` at `at` (Unix seconds), after the titles `earlier`, latest last."""

    earlier: tuple[int, ...]  # core.catalog.content_key
    key: int
    at: float


class Transitions(Protocol):
    """The latest successions of everybody, best effort: they may be lost, and the oldest are forgotten."""

    def add(self, successions: Sequence[Succession]) -> None:
        """Add them, oldest first."""

    def read(self, place: str | float, most: int) -> tuple[list[Succession], str]:
        """At most `most`, oldest first, and the place to read on from.

        place: where an earlier call ended, or the Unix seconds since when they were added. Fewer than `most` need not
        be the last ones of all: entries that cannot be read are left out.
        """


class Answers(Protocol):
    """Composed answers by their viewer (None: of all of whom nothing is known) and name, for a while."""

    def get(self, user_id: str | None, name: bytes) -> bytes | None:
        """The answer, None where there is none (any more)."""

    def put(self, user_id: str | None, name: bytes, answer: bytes) -> None:
        """Keep an answer; nothing is kept of a user who was erased."""


class Publisher(Protocol):
    """The way into Pub/Sub. A message carries events of one user; the ordering key is the user."""

    def publish(self, topic: str, ordering_key: str, data: bytes, attributes: Mapping[str, str]) -> str:
        """Wait until the broker has accepted the message and return its id."""

    def publish_best_effort(self, topic: str, ordering_key: str, data: bytes) -> bool:
        """Hand over without waiting; False (and counted) when too many are outstanding."""

    def flush(self) -> None:
        """Send what is buffered; called on SIGTERM and at the end of a job."""


@dataclass(frozen=True, slots=True)
class Step:
    """One hop: through which kind of fact (director, cast, franchise) and which name, and to which title."""

    kind: str
    name: str
    content_id: str


@dataclass(frozen=True, slots=True)
class Way:
    """How one title leads to another; the last step's title is `content_id`."""

    content_id: str
    steps: tuple[Step, ...]


class Catalog(Protocol):
    """Titles, availability and typed relationships in Cloud SQL."""

    def upsert(self, titles: Iterable[Title]) -> int:
        """Insert or update; returns how many rows changed. The same titles twice change nothing."""

    def titles(self) -> Iterator[Title]:
        """All of them, streamed by id."""

    def exists(self, content_ids: Sequence[str]) -> set[str]:
        """Those of `content_ids` that the catalogue has."""

    def put_relationships(self, edges: Iterable[tuple[str, str, str, float]]) -> int:
        """(source, target, type, weight) rows of a snapshot build; reinforced weights are kept."""

    def ways(self, content_id: str, via: Sequence[str], hops: int) -> list[Way]:
        """Ways of at most `hops` hops to other titles through the people or franchises that they share, shortest first,
        without coming by a title twice; of many, some of every name. None for an unknown title. Raises InvalidInput for
        other kinds than director, cast and franchise, and for more than three hops."""

    def reinforcements(self) -> dict[tuple[str, str, str], float]:
        """(source, target, type) -> factor of the relationships that use has strengthened."""


@dataclass(frozen=True, slots=True)
class PendingTitle:
    """A title that a model version has no vector of, or only one of an older text; the hash is of this text."""

    title: Title
    content_hash: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the catalogue has vectors of one model version. embedded: of any text of the title; current: of the
    text it has now. The same fingerprint means the same vectors."""

    titles: int
    embedded: int
    current: int
    fingerprint: str


class Embeddings(Protocol):
    """Vectors of titles in Cloud SQL, by model version; versions live side by side."""

    def pending(self, version: str, shard: int, shards: int, after: str, limit: int) -> list[PendingTitle]:
        """Titles of this shard (0 <= shard < shards) without a current vector, by id, from beyond `after`."""

    def put(self, version: str, titles: Sequence[PendingTitle], vectors: NDArray[np.float32]) -> int:
        """Store rows of `vectors` (n, d); returns how many were new. Titles that are gone are left out."""

    def coverage(self, version: str) -> Coverage:
        """Of every title, whatever its shard."""

    def versions(self) -> list[str]:
        """Model versions that have vectors, the one written last first."""

    def vectors(self, version: str) -> Iterator[tuple[str, NDArray[np.float16]]]:
        """(content id, (d,) vector) of every embedded title, streamed."""

    def index(self, version: str) -> None:
        """Make the nearest-neighbour index (HNSW, cosine) of a complete version, unless there is one."""

    def nearest(self, version: str, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """The k titles with the largest cosine to `vector` (d,), best first; approximate once indexed."""

    def publishing(self) -> AbstractContextManager[bool]:
        """Entering says whether nobody else is publishing vectors now; nobody else may until it is left."""


class Bucket(Protocol):
    """Objects in one Cloud Storage bucket. Names are slash-separated."""

    def upload(self, name: str, path: Path) -> None:
        """Write a file's bytes, over what is there."""

    def download(self, name: str, path: Path) -> None:
        """Raises NotFound for a missing object."""

    def write(self, name: str, data: bytes, if_generation: int | None = None) -> int:
        """Write and return the new generation; Conflict when `if_generation` (0 = must not exist) does not match."""

    def read(self, name: str) -> tuple[bytes, int]:
        """Bytes and generation. Raises NotFound."""

    def list(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`, sorted."""

    def delete(self, name: str) -> None:
        """A missing object is none the less gone."""


Record = dict[str, Any]
