"""SonaEngine: the library face. Record what happened and how it went; apply what was learned to the next query.

    engine = SonaEngine(SonaConfig(embedding_dim=256))
    id = engine.start_trajectory(embedding)
    engine.record_step(id, node_id=42, score=0.85, latency_us=150)
    engine.end_trajectory(id, quality=0.9)
    adapted = engine.apply_lora(embedding)      # input + delta, already changed by that outcome

Bad input raises InvalidInput (a ValueError), an unknown or ended trajectory NotFound (a LookupError). Vectors come as
float32 arrays or anything that converts; every call that takes a query takes rows of queries too.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.adaptation.checkpoint import dump, restore
from core.adaptation.loops import BackgroundReport, ConsolidationReport, Forward, InstantReport, Loops
from core.adaptation.settings import SonaConfig
from core.adaptation.signal import LearningSignal, clamp_quality
from core.adaptation.trajectory import NodeId, OpenTrajectories, Trajectory
from core.adaptation.variants import EXPLORATION, VariantScores, select_by_ucb
from core.errors import InvalidInput, NotFound
from core.numeric.vectors import FLOAT32, Floats, finite_probe, require_finite, unit_rows
from core.patterns.cluster import Pattern

__all__ = ["LearningSignal", "Pattern", "SonaConfig", "SonaEngine", "VariantScores"]

REMEMBERED = 1024  # ended trajectories that feedback may still name


class SonaEngine:
    """Learns from trajectories and feedback. Every method may be called from any thread; answers never wait for
    learning that another thread has under way."""

    def __init__(self, config: SonaConfig | None = None) -> None:
        self._adopt(Loops(config or SonaConfig()), next_id=0)

    def _adopt(self, loops: Loops, next_id: int) -> None:
        config = loops.config
        self.config = config
        self._loops = loops
        self._shape = (config.embedding_dim,)
        self._probe = finite_probe(config.embedding_dim)
        self._open = OpenTrajectories(
            config.embedding_dim, config.max_trajectory_steps, config.trajectory_buffer_size, next_id
        )
        self._ended: OrderedDict[int, Trajectory] = OrderedDict((t.id, t) for t in loops.buffer.waiting()[-REMEMBERED:])
        self._ended_lock = threading.Lock()
        self._thread = threading.local()

    def start_trajectory(self, embedding: object) -> int:
        """Begin a trajectory for a query (d,); returns its id: 0, 1, 2, …"""
        return self._open.start(embedding)

    def record_step(
        self, trajectory_id: int, node_id: NodeId, score: float, latency_us: float, activation: object | None = None
    ) -> None:
        """Add a step: which node was taken, how it scored, how long it took, and the vector (d,) of the action, if it
        has one (else the query is the action). Steps beyond `max_trajectory_steps` are counted and dropped."""
        self._open.record(trajectory_id, node_id, score, latency_us, activation)

    def end_trajectory(self, trajectory_id: int, quality: float) -> None:
        """End it with its outcome, clamped to [0, 1]. The next `apply_*` call already uses what it taught."""
        quality = clamp_quality(quality)
        query, steps = self._open.close(trajectory_id)
        trajectory = self._loops.end(trajectory_id, query, steps, quality)
        self._thread.last = trajectory
        with self._ended_lock:
            self._ended[trajectory_id] = trajectory
            if len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)

    def learn_from_feedback(self, signal: LearningSignal, trajectory_id: int | None = None) -> None:
        """Learn from a judgement on an ended trajectory; None means the calling thread's last one.

        A signal with its own gradient needs no trajectory. Raises NotFound if there is none to judge.
        """
        if not isinstance(signal, LearningSignal):
            raise InvalidInput(f"a LearningSignal is needed, got {type(signal).__name__}")
        trajectory: Trajectory | None = getattr(self._thread, "last", None)
        if trajectory_id is not None:
            trajectory = self._ended.get(trajectory_id)
        if trajectory is None and (trajectory_id is not None or signal.gradient is None):
            raise NotFound(f"no ended trajectory {'on this thread' if trajectory_id is None else repr(trajectory_id)}")
        self._loops.feedback(signal, trajectory)

    def apply_micro_lora(self, x: object) -> Floats:
        """Input plus the fast tier's delta; x: (d,) or (n, d), the result has the same shape, float32."""
        loops = self._loops
        if loops.pending:
            loops.instant()
        return self._apply(x, loops.micro_forward)

    def apply_base_lora(self, x: object) -> Floats:
        """Input plus the base tier's delta; shapes as for `apply_micro_lora`."""
        return self._apply(x, self._loops.base_forward)

    def apply_lora(self, x: object) -> Floats:
        """Input plus the deltas of both tiers, at the cost of one; shapes as for `apply_micro_lora`."""
        loops = self._loops
        if loops.pending:
            loops.instant()
        return self._apply(x, loops.full_forward)

    def _apply(self, x: Any, forward: Forward) -> Floats:
        A, Bt = forward
        if type(x) is np.ndarray and x.dtype is FLOAT32 and x.shape == self._shape:
            try:
                if math.isfinite(x.dot(self._probe)):
                    return x + A.dot(x).dot(Bt)
            except RuntimeWarning:  # both infinities, where warnings are errors: refused below
                pass
        rows = self._rows(x)
        return np.asarray(rows + (rows @ A.T) @ Bt, dtype=np.float32)

    def _rows(self, x: object) -> Floats:
        dim = self.config.embedding_dim
        return require_finite(x, "embedding", (dim,) if np.ndim(x) == 1 else (None, dim))  # type: ignore[arg-type]

    def run_instant_cycle(self) -> InstantReport:
        """Take in what ended or was judged since; `apply_*` does the same by itself."""
        return self._loops.instant()

    def run_background_cycle(self) -> BackgroundReport:
        """Drain the buffer, train the base tier under EWC, extract patterns, and consolidate when it is time."""
        return self._loops.background(time.time())

    def consolidate_patterns(self) -> ConsolidationReport:
        """Merge patterns that are one, fade the unused, prune the doubtful; merge the remembered EWC tasks."""
        return self._loops.consolidate(time.time())

    def query_patterns(self, embedding: object, k: int = 5) -> list[Any]:
        """The k patterns most similar to a query (d,), best first; for rows (n, d) one such list each. Counts as
        use."""
        rows = self._rows(embedding)
        with self._loops.bank_lock:
            answers = self._loops.bank.find(np.atleast_2d(rows), k, time.time())
        return answers[0] if rows.ndim == 1 else answers

    def predict_variant_scores(self, embedding: object) -> Any:
        """Expected outcome in [0, 1] of every node that recorded steps named, for a query (d,): a mapping by node id;
        for rows a list of them. Its `evidence` says how many comparable outcomes support each."""
        rows = unit_rows(np.atleast_2d(self._rows(embedding)))
        loops = self._loops
        loops.instant()
        with loops.fast_lock:
            answers = loops.variants.predict(rows)
        return answers[0] if np.ndim(embedding) == 1 else answers  # type: ignore[arg-type]

    def select_by_ucb(
        self, variants: Sequence[Any], scores: Mapping[Any, float] | Sequence[float], exploration: float = EXPLORATION
    ) -> Any:
        """The variant to take: best score plus a bonus for little evidence; one never tried goes first. Pass the
        result of `predict_variant_scores` to use the evidence for this query, any other scores to use overall
        counts."""
        if isinstance(scores, VariantScores):
            return select_by_ucb(variants, scores, scores.evidence, exploration)
        self._loops.instant()
        with self._loops.fast_lock:
            counts = self._loops.variants.counts()
        return select_by_ucb(variants, scores, counts, exploration)

    def stats(self) -> dict[str, Any]:
        """Counters, all monotone but `buffered`, `patterns`, `pending_signals` and `open_trajectories`."""
        loops, buffer = self._loops, self._loops.buffer
        return {
            "trajectories_recorded": buffer.seen,
            "buffered": len(buffer),
            "drained": buffer.drained,
            "dropped": buffer.dropped,
            "success_rate": buffer.success_rate,
            "open_trajectories": len(self._open),
            "abandoned": self._open.abandoned,
            "steps_dropped": self._open.steps_dropped.value,
            "signals_learned": loops.signals,
            "pending_signals": len(loops.pending),
            "background_cycles": loops.cycles,
            "patterns": len(loops.bank),
            "patterns_extracted": loops.patterns_extracted,
            "ewc_tasks": loops.ewc.finished,
            "ewc_lambda": loops.ewc.lambda_,
            "baseline": loops.baseline.value,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything learned and buffered (not trajectories that are still open); the file appears whole or not
        at all."""
        target = Path(path)
        partial = target.with_name(f"{target.name}.{os.getpid()}.{threading.get_ident()}.part")
        partial.write_bytes(dump(self._loops, self._open.next_id))
        os.replace(partial, target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SonaEngine:
        """An engine that answers and learns as the saved one. Raises CorruptData for anything but an intact file."""
        engine = cls.__new__(cls)
        engine._adopt(*restore(Path(path).read_bytes()))
        return engine
