"""The three loops and the state they share.

- instant: every outcome moves the fast tier and the memory of variants; applied before the next answer is computed.
- background: what the buffer holds trains the base tier under EWC and becomes patterns.
- consolidation: patterns and EWC tasks are merged, faded and pruned.

Answers read one published tuple and wait for nobody. Writers hold `fast_lock` for microseconds, `slow_lock` while
training, `bank_lock` around the pattern bank; always in the order slow, fast, bank.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from core.adaptation.background import FISHER_MEAN, aim_inputs, flatten, observe_fisher, train_base
from core.adaptation.ewc import Ewc
from core.adaptation.instant import reinforce
from core.adaptation.lora import Lora, fresh, fuse
from core.adaptation.settings import SonaConfig
from core.adaptation.shift import ShiftDetector
from core.adaptation.signal import Baseline, LearningSignal
from core.adaptation.trajectory import Step, Trajectory, TrajectoryBuffer, pack
from core.adaptation.variants import VariantMemory
from core.errors import InvalidInput
from core.numeric.vectors import Floats, unit, unit_rows
from core.patterns.bank import PatternBank
from core.patterns.cluster import extract

MAX_PENDING = 64  # lessons that may wait for the next answer; more are taken in at once
TRAINING_ROWS = 1024  # trajectories that one cycle trains on; patterns are extracted from all


class Lesson(NamedTuple):
    """One outcome that the fast tier has not taken in yet."""

    trajectory: Trajectory | None
    credit: float  # advantage of the trajectory's action, or importance of the gradient
    reward: float | None  # outcome in [0, 1] of the trajectory's nodes; None = as its own quality and scores say
    gradient: Floats | None = None  # explicit direction instead of the trajectory's action
    is_end: bool = False  # the trajectory's own end: its steps' contrast counts, once


class Forward(NamedTuple):
    """A tier ready to apply: delta(x) = x @ At @ Bt; A is kept too, since one query is faster as A.dot(x)."""

    A: Floats  # (r, d)
    Bt: Floats  # (r, d), scaled


@dataclass(frozen=True, slots=True)
class InstantReport:
    """signals: lessons taken in; baseline: the running mean of outcomes that the next ones are compared with."""

    signals: int
    baseline: float


@dataclass(frozen=True, slots=True)
class ConsolidationReport:
    """patterns_removed: merged or pruned; ewc_tasks: tasks remembered afterwards."""

    patterns_removed: int
    ewc_tasks: int


@dataclass(frozen=True, slots=True)
class BackgroundReport:
    """What a background cycle did. Losses are the base tier's REINFORCE losses on the cycle's trajectories."""

    trajectories: int = 0
    patterns: int = 0  # in the bank afterwards
    patterns_extracted: int = 0  # found in this cycle
    patterns_new: int = 0  # of these, not known before
    task_boundary: bool = False
    ewc_tasks: int = 0
    loss_before: float = 0.0
    loss_after: float = 0.0
    gradient_norm: float = 0.0
    drift: float = 0.0
    consolidation: ConsolidationReport | None = None


class Loops:
    """State of the three loops; thread-safe."""

    def __init__(self, config: SonaConfig) -> None:
        d = config.embedding_dim
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        self.fast = fresh(d, config.micro_lora_rank, config.lora_alpha, self.rng)
        self.base = fresh(d, config.base_lora_rank, config.lora_alpha, self.rng)
        self.baseline = Baseline()
        self.buffer = TrajectoryBuffer(config.trajectory_buffer_size)
        self.ewc = Ewc(self.base.parameters, config.ewc_lambda, config.ewc_gamma, config.ewc_online)
        self.shift = ShiftDetector(2 * d, minimum=10)
        self.bank = PatternBank(d)
        self.variants = VariantMemory(d)
        self.pending: deque[Lesson] = deque()
        self.signals = self.cycles = self.patterns_extracted = self.since_consolidation = 0
        self.fast_lock, self.slow_lock, self.bank_lock = threading.RLock(), threading.RLock(), threading.RLock()
        self.publish()

    def publish(self) -> None:
        """Make the present weights those that answers use."""
        with self.fast_lock:
            A, B = fuse(self.base)
            self.base_forward = Forward(A, np.ascontiguousarray(B.T))
            self.publish_fast()

    def publish_fast(self) -> None:
        """The same when only the fast tier has changed."""
        fast, base = self.fast, self.base_forward
        up = np.multiply(fast.B.T, np.float32(fast.scale), order="C")
        self.micro_forward = Forward(fast.A, up)
        self.full_forward = Forward(np.concatenate((fast.A, base.A)), np.concatenate((up, base.Bt)))

    def end(self, id: int, query: Floats, steps: list[Step], quality: float) -> Trajectory:
        """A trajectory has ended: buffer it and remember its lesson."""
        with self.fast_lock:
            advantage = self.baseline.advantage(quality)
        trajectory = pack(id, query, steps, quality, advantage)
        self.buffer.append(trajectory)
        self._remember(Lesson(trajectory, advantage, None, is_end=True))
        return trajectory

    def feedback(self, signal: LearningSignal, trajectory: Trajectory | None) -> None:
        """Somebody judged a trajectory, or gave a gradient of their own (which is its own query without a
        trajectory)."""
        if signal.gradient is not None:
            if signal.gradient.shape != (self.config.embedding_dim,):
                raise InvalidInput(f"the gradient has shape {signal.gradient.shape}")
            self._remember(Lesson(trajectory, signal.importance, None, signal.gradient))
        elif trajectory is not None:
            with self.fast_lock:
                fixed = signal.advantage
                credit = self.baseline.advantage(signal.outcome or 0.0) if fixed is None else fixed
                credit *= signal.importance
                trajectory.advantage += credit  # the background cycle, if it is still to come, weighs it too
            reward = signal.outcome if fixed is None else 0.5 + fixed
            self._remember(Lesson(trajectory, credit, reward))

    def _remember(self, lesson: Lesson) -> None:
        self.pending.append(lesson)
        if len(self.pending) > MAX_PENDING:
            self.instant()

    def instant(self) -> InstantReport:
        """Take in all pending lessons."""
        config, taken = self.config, 0
        rate = config.lora_alpha * config.micro_lr * math.sqrt(self.fast.B.size)
        with self.fast_lock:
            fast = self.fast
            while self.pending:
                fast = self._take_in(self.pending.popleft(), fast, rate)
                taken += 1
            if fast is not self.fast:
                self.fast = fast
                self.publish_fast()
            self.signals += taken
            return InstantReport(taken, self.baseline.value)

    def _take_in(self, lesson: Lesson, fast: Lora, rate: float) -> Lora:
        trajectory, gradient = lesson.trajectory, lesson.gradient
        if gradient is not None:
            direction = unit(gradient)
            query = direction if trajectory is None else unit(trajectory.query)
            pull = np.float32(lesson.credit * min(float(direction.dot(gradient)), 1.0)) * direction
        else:
            assert trajectory is not None  # a lesson has one or the other
            query = unit(trajectory.query)
            pull = np.float32(lesson.credit) * (trajectory.action if trajectory.has_own_action else query)
            if lesson.is_end and trajectory.contrast is not None:
                pull = pull + trajectory.contrast
            rewards = trajectory.step_rewards if lesson.reward is None else [lesson.reward] * len(trajectory.nodes)
            for node, reward in zip(trajectory.nodes, rewards, strict=True):
                self.variants.add(query, node, reward)
        return reinforce(fast, query, pull, rate)

    def background(self, now: float) -> BackgroundReport:
        """Drain the buffer; train the base tier, extract patterns; consolidate if it is time."""
        self.instant()
        with self.slow_lock:
            trajectories = self.buffer.drain()
            if not trajectories:
                with self.bank_lock:
                    return BackgroundReport(patterns=len(self.bank), ewc_tasks=self.ewc.finished)
            self.cycles += 1
            report = self._learn_patterns(self._train(trajectories), trajectories, now)
            self.since_consolidation += len(trajectories)
            if self.since_consolidation >= self.config.consolidation_interval:
                report = replace(report, consolidation=self.consolidate(now), patterns=len(self.bank))
            return report

    def _train(self, trajectories: list[Trajectory]) -> BackgroundReport:
        config, n = self.config, len(trajectories)
        if n > TRAINING_ROWS:
            chosen = np.sort(self.rng.choice(n, TRAINING_ROWS, replace=False))
            trajectories = [trajectories[i] for i in chosen]
        queries = unit_rows(np.stack([t.query for t in trajectories]))
        pulls = np.stack([t.pull for t in trajectories])
        boundary = self._watch_for_shift(trajectories, queries)
        if not self.base.B.any():
            self.base = aim_inputs(self.base, queries)
        self.base, done = train_base(self.base, queries, pulls, self.ewc, config.base_lr, config.lora_dropout, self.rng)
        observe_fisher(self.base, queries, pulls, self.ewc, config.ewc_fisher_samples)
        self.publish()
        return BackgroundReport(
            trajectories=n, task_boundary=boundary, ewc_tasks=self.ewc.finished, loss_before=done.loss_before,
            loss_after=done.loss_after, gradient_norm=done.gradient_norm, drift=done.drift,
        )  # fmt: skip

    def _watch_for_shift(self, trajectories: list[Trajectory], queries: Floats) -> bool:
        """A shift is seen in what was asked and in what was rewarded; the advantage would not do, it fades by
        design."""
        rewarded = np.stack([np.float32(2.0 * t.quality - 1.0) * t.action for t in trajectories])
        features = np.concatenate([queries, rewarded], axis=1)
        boundary = self.shift.is_shift(features)
        if boundary:
            self.ewc.finish_task(flatten(self.base), FISHER_MEAN)
            self.shift.reset()
        self.shift.observe(features)
        return boundary

    def _learn_patterns(self, report: BackgroundReport, trajectories: list[Trajectory], now: float) -> BackgroundReport:
        queries = np.stack([t.query for t in trajectories])
        actions = np.stack([t.action for t in trajectories])
        qualities = np.array([t.quality for t in trajectories], dtype=np.float32)
        config = self.config
        found = extract(
            queries, actions, qualities, config.pattern_clusters, config.pattern_quality_threshold, now, self.rng
        )
        with self.bank_lock:
            new = self.bank.upsert(found)
            self.patterns_extracted += len(found)
            return replace(report, patterns=len(self.bank), patterns_extracted=len(found), patterns_new=new)

    def consolidate(self, now: float) -> ConsolidationReport:
        """Merge, fade and prune the patterns; merge the remembered EWC tasks into one."""
        with self.slow_lock, self.bank_lock:
            self.since_consolidation = 0
            self.ewc.consolidate()
            return ConsolidationReport(self.bank.consolidate(now), len(self.ewc.tasks))
