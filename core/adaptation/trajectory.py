"""Trajectories: what was asked, which steps were taken, how well it ended; and the bounded buffer that holds the ended
ones.

Recording takes no lock: a dictionary look-up, `list.append` and `deque.append` are atomic under the interpreter's lock.
An ended trajectory is packed into bytes, since ten thousand of them wait for the background loop.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Iterable
from itertools import count
from math import isfinite
from operator import index

import numpy as np

from core.errors import InvalidInput, NotFound
from core.numeric.vectors import Floats, require_number, require_vector, unit, unit_rows

NodeId = int | str
Step = tuple[NodeId, float, float, Floats | None]  # node, score, latency_us, activation


class Tally:
    """A counter that many threads increment without a lock and none loses: `next` on one iterator is atomic."""

    __slots__ = ("_lock", "_marks", "_reads")

    def __init__(self, start: int = 0) -> None:
        self._marks = count(start)
        self._reads = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """Count one."""
        next(self._marks)

    @property
    def value(self) -> int:
        """How many were counted. Reading takes a mark too, which is subtracted again."""
        with self._lock:
            marks = next(self._marks) - self._reads
            self._reads += 1
            return marks


class Trajectory:
    """One ended trajectory, packed.

    query (d,) as given; quality in [0, 1]; advantage = quality minus the baseline of its moment, plus later feedback;
    action (d,): mean of the unit action vectors, None = the query was the action; contrast (d,): what the steps' scores
    add (see `pack`), None = nothing.
    """

    __slots__ = ("_action", "_contrast", "_nodes", "_numbers", "_query", "advantage", "id", "quality")

    def __init__(
        self, id: int, query: Floats, quality: float, advantage: float, action: Floats | None, contrast: Floats | None
    ) -> None:
        self.id, self.quality, self.advantage = id, quality, advantage
        self._query = query.tobytes()
        self._action = None if action is None else action.tobytes()
        self._contrast = None if contrast is None else contrast.tobytes()
        self._nodes: bytes | tuple[NodeId, ...] = ()
        self._numbers = b""

    def keep_steps(self, nodes: list[NodeId], scores: list[float], latencies_us: list[float]) -> None:
        """Pack node ids, scores and latencies; ids that are all 64-bit integers take 8 bytes each."""
        try:
            self._nodes = array("q", nodes).tobytes()  # type: ignore[type-var]
        except (TypeError, OverflowError):
            self._nodes = tuple(nodes)
        self._numbers = array("f", [*scores, *latencies_us]).tobytes()

    @property
    def query(self) -> Floats:
        """The embedding that began it, (d,)."""
        return np.frombuffer(self._query, dtype=np.float32)

    @property
    def action(self) -> Floats:
        """The mean unit action vector (d,)."""
        return unit(self.query) if self._action is None else np.frombuffer(self._action, dtype=np.float32)

    @property
    def contrast(self) -> Floats | None:
        """Mean over the steps of (score - mean score) times the unit action vector, (d,)."""
        return None if self._contrast is None else np.frombuffer(self._contrast, dtype=np.float32)

    @property
    def pull(self) -> Floats:
        """Where the output should move, (d,): advantage x action, plus the contrast between its steps (REINFORCE)."""
        pull = np.float32(self.advantage) * self.action
        contrast = self.contrast
        return pull if contrast is None else pull + contrast

    @property
    def has_own_action(self) -> bool:
        """True if a step named an action vector of its own."""
        return self._action is not None

    @property
    def nodes(self) -> list[NodeId]:
        """The node of every step."""
        return list(array("q", self._nodes)) if isinstance(self._nodes, bytes) else list(self._nodes)

    @property
    def scores(self) -> Floats:
        """The score of every step."""
        return np.frombuffer(self._numbers, dtype=np.float32)[: len(self._numbers) // 8]

    @property
    def latencies_us(self) -> Floats:
        """The latency of every step."""
        return np.frombuffer(self._numbers, dtype=np.float32)[len(self._numbers) // 8 :]

    @property
    def step_rewards(self) -> list[float]:
        """What each step earned: the quality, moved by how its score differs from the mean score; in [0, 1]."""
        steps = len(self._numbers) // 8
        if steps < 2:
            return [self.quality] * steps
        scores = self.scores
        rewards: list[float] = np.clip(np.float32(self.quality) + scores - scores.mean(), 0.0, 1.0).tolist()
        return rewards


def pack(id: int, query: Floats, steps: list[Step], quality: float, advantage: float) -> Trajectory:
    """An ended trajectory. The scores' differences from their mean, clipped to [-1, 1], tell good steps from bad ones
    within it; the quality tells good trajectories from bad ones."""
    action = contrast = None
    scores = [float(step[1]) for step in steps]
    if any(step[3] is not None for step in steps):
        rows = unit_rows(np.stack([query if step[3] is None else step[3] for step in steps]))
        action = rows.mean(axis=0)
        differences = np.clip(np.array(scores) - np.mean(scores), -1.0, 1.0).astype(np.float32)
        if differences.any():
            contrast = (differences @ rows) / np.float32(len(steps))
    trajectory = Trajectory(id, query, quality, advantage, action, contrast)
    trajectory.keep_steps([step[0] for step in steps], scores, [float(step[2]) for step in steps])
    return trajectory


class OpenTrajectories:
    """Trajectories that have begun and not ended. At most `limit`: beyond it the oldest is given up and counted, so
    that a caller who never ends them cannot fill the memory."""

    def __init__(self, dim: int, max_steps: int, limit: int, next_id: int = 0) -> None:
        self.dim, self.max_steps, self.limit, self.next_id = dim, max_steps, limit, next_id
        self.steps_dropped = Tally()
        self.abandoned = 0
        self._open: dict[int, tuple[Floats, list[Step]]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def start(self, embedding: object) -> int:
        """Begin one; returns its id: 0, 1, 2, …"""
        query = require_vector(embedding, self.dim, "embedding").copy()
        with self._lock:
            id = self.next_id
            self.next_id += 1
            self._open[id] = (query, [])
            if len(self._open) > self.limit:
                del self._open[next(iter(self._open))]
                self.abandoned += 1
        return id

    def record(
        self, id: int, node_id: NodeId, score: float, latency_us: float, activation: object | None = None
    ) -> None:
        """Append a step; beyond the maximum it is counted and dropped. Raises NotFound and InvalidInput."""
        try:
            steps = self._open[id][1]
            if not isfinite(score) or not isfinite(latency_us):
                raise InvalidInput(f"a step's score and latency must be finite, got {score} and {latency_us}")
        except KeyError:
            raise NotFound(f"no open trajectory {id!r}") from None
        except (TypeError, OverflowError):
            require_number(score, "score")
            require_number(latency_us, "latency_us")
            raise NotFound(f"no open trajectory {id!r}") from None
        if type(node_id) is not int and type(node_id) is not str:
            node_id = require_node(node_id)
        vector = None if activation is None else require_vector(activation, self.dim, "activation").copy()
        if len(steps) < self.max_steps:
            steps.append((node_id, score, latency_us, vector))
        else:
            self.steps_dropped.add()

    def close(self, id: int) -> tuple[Floats, list[Step]]:
        """Take out the query and steps of a trajectory; of two callers only one gets them. Raises NotFound."""
        try:
            with self._lock:
                return self._open.pop(id)
        except (KeyError, TypeError):
            raise NotFound(f"no open trajectory {id!r}") from None


def require_node(node_id: object) -> NodeId:
    """A node id as int or str (NumPy integers included). Raises InvalidInput."""
    if isinstance(node_id, str):
        return str(node_id)
    try:
        return index(node_id)  # type: ignore[arg-type]
    except TypeError as error:
        raise InvalidInput(f"a node id is an integer or a string, got {node_id!r}") from error


class TrajectoryBuffer:
    """Ended trajectories that wait for the background loop; when full, the oldest makes room.

    At rest, seen = buffered + drained + dropped. `dropped` is derived from that equation and not counted, because no
    lock-free code could count it truthfully.
    """

    def __init__(self, capacity: int, seen: int = 0, drained: int = 0) -> None:
        if capacity < 1:
            raise InvalidInput(f"a trajectory buffer holds at least one, got capacity {capacity}")
        self.capacity = capacity
        self.drained = drained
        self._waiting: deque[Trajectory] = deque(maxlen=capacity)
        self._seen = Tally(seen)
        self._draining = threading.Lock()

    def append(self, trajectory: Trajectory) -> None:
        """Add one. Lock-free."""
        self._waiting.append(trajectory)
        self._seen.add()

    def drain(self, limit: int | None = None) -> list[Trajectory]:
        """Take out the oldest, all of them or at most `limit`."""
        taken: list[Trajectory] = []
        with self._draining:
            while limit is None or len(taken) < limit:
                try:
                    taken.append(self._waiting.popleft())
                except IndexError:
                    break
            self.drained += len(taken)
        return taken

    def refill(self, trajectories: Iterable[Trajectory]) -> None:
        """Put back saved trajectories without counting them again."""
        self._waiting.extend(trajectories)

    def waiting(self) -> list[Trajectory]:
        """A copy of what is buffered, oldest first."""
        return list(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def seen(self) -> int:
        """Trajectories ever appended."""
        return self._seen.value

    @property
    def dropped(self) -> int:
        """Trajectories that were pushed out by newer ones before they were drained."""
        with self._draining:
            return max(self._seen.value - self.drained - len(self._waiting), 0)

    @property
    def success_rate(self) -> float:
        """Share of all appended that were not dropped; 1.0 when nothing was appended."""
        seen = self.seen
        return 1.0 - self.dropped / seen if seen else 1.0
