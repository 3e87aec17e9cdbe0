"""The whole state of the loops as one blob and back: weights, EWC, bank, buffered trajectories, baseline, variants,
counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation import tensors
from core.adaptation.loops import Loops
from core.adaptation.lora import Lora
from core.adaptation.settings import SonaConfig
from core.adaptation.trajectory import Trajectory, TrajectoryBuffer
from core.errors import CorruptData
from core.numeric.vectors import Floats
from core.patterns.cluster import Pattern

KIND = "sona-engine"
Arrays = Mapping[str, NDArray[Any]]


def dump(loops: Loops, next_id: int) -> bytes:
    """Everything learned and waiting. Trajectories that have not ended are not part of it."""
    with loops.slow_lock, loops.fast_lock, loops.bank_lock:
        loops.instant()
        waiting = loops.buffer.waiting()
        arrays: dict[str, NDArray[Any]] = {
            "fast.A": loops.fast.A, "fast.B": loops.fast.B, "base.A": loops.base.A, "base.B": loops.base.B,
        }  # fmt: skip
        for name, part in (
            ("ewc", loops.ewc.to_arrays()),
            ("shift", loops.shift.to_arrays()),
            ("variants", loops.variants.to_arrays()),
            ("bank", bank_arrays(loops.bank.patterns, loops.config.embedding_dim)),
            ("buffer", trajectory_arrays(waiting, loops.config.embedding_dim)),
        ):
            arrays |= {f"{name}.{key}": value for key, value in part.items()}
        meta = {
            "config": asdict(loops.config),
            "baseline": loops.baseline.value,
            "random": loops.rng.bit_generator.state,
            "variants": list(loops.variants.variants),
            "nodes": [trajectory.nodes for trajectory in waiting],
            "next_id": next_id,
            "seen": loops.buffer.seen,
            "drained": loops.buffer.drained + loops.buffer.dropped,
            "dropped": loops.buffer.dropped,
            "counters": [loops.signals, loops.cycles, loops.patterns_extracted, loops.since_consolidation],
        }
        return tensors.pack(KIND, arrays, meta)


def restore(blob: bytes) -> tuple[Loops, int]:
    """Loops that answer and learn as the dumped ones would, and the next trajectory id. Raises CorruptData."""
    arrays, meta = tensors.unpack(blob, KIND)
    try:
        loops = Loops(SonaConfig(**meta["config"]))
        fill(loops, arrays, meta)
        next_id = int(meta["next_id"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptData(f"the engine state is incomplete or inconsistent: {error}") from error
    loops.publish()
    return loops, next_id


def fill(loops: Loops, arrays: Arrays, meta: Mapping[str, Any]) -> None:
    """Put the dumped parts into fresh loops of the same configuration."""
    loops.fast = factors(loops.fast, arrays["fast.A"], arrays["fast.B"])
    loops.base = factors(loops.base, arrays["base.A"], arrays["base.B"])
    loops.ewc.restore(section(arrays, "ewc"))
    loops.shift.restore(section(arrays, "shift"))
    loops.variants.restore(section(arrays, "variants"), meta["variants"])
    loops.bank.patterns = read_bank(section(arrays, "bank"), loops.config.embedding_dim)
    loops.baseline.value = float(meta["baseline"])
    loops.rng.bit_generator.state = meta["random"]
    loops.buffer = TrajectoryBuffer(
        loops.config.trajectory_buffer_size, int(meta["seen"]), int(meta["drained"]) - int(meta["dropped"])
    )
    loops.buffer.refill(read_trajectories(section(arrays, "buffer"), meta["nodes"], loops.config.embedding_dim))
    loops.signals, loops.cycles, loops.patterns_extracted, loops.since_consolidation = map(int, meta["counters"])


def factors(like: Lora, A: NDArray[Any], B: NDArray[Any]) -> Lora:
    """An adapter of the same shape from stored factors."""
    if A.shape != like.A.shape or B.shape != like.B.shape:
        raise CorruptData(f"stored factors {A.shape} and {B.shape} do not fit {like.A.shape} and {like.B.shape}")
    return Lora(np.array(A, dtype=np.float32), np.array(B, dtype=np.float32), like.alpha)


def section(arrays: Arrays, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one part, without its prefix."""
    return {key[len(name) + 1 :]: value for key, value in arrays.items() if key.startswith(name + ".")}


def rows_or_none(rows: list[Floats | None], dim: int) -> tuple[NDArray[np.int8], Floats]:
    """Optional vectors as a presence mask (n,) and the rows that are there."""
    present = np.array([row is not None for row in rows], dtype=np.int8)
    there = [row for row in rows if row is not None]
    return present, np.stack(there) if there else np.empty((0, dim), dtype=np.float32)


def bank_arrays(patterns: list[Pattern], dim: int) -> dict[str, NDArray[Any]]:
    """The patterns as columns."""
    empty = np.empty((0, dim), dtype=np.float32)
    numbers = [(p.quality, p.confidence, p.created_at, p.last_used, p.size, p.usage_count) for p in patterns]
    return {
        "centroids": np.stack([p.centroid for p in patterns]) if patterns else empty,
        "actions": np.stack([p.action for p in patterns]) if patterns else empty,
        "numbers": np.array(numbers, dtype=np.float64).reshape(-1, 6),
    }


def read_bank(arrays: Arrays, dim: int) -> list[Pattern]:
    """The patterns from `bank_arrays`."""
    centroids, actions, numbers = arrays["centroids"], arrays["actions"], arrays["numbers"]
    if not centroids.shape == actions.shape == (len(numbers), dim):
        raise CorruptData("stored patterns do not fit")
    return [
        Pattern(centroid.copy(), action.copy(), q, int(size), created, used, confidence, int(uses))
        for centroid, action, (q, confidence, created, used, size, uses) in zip(
            centroids, actions, numbers.tolist(), strict=True
        )
    ]


def trajectory_arrays(waiting: list[Trajectory], dim: int) -> dict[str, NDArray[Any]]:
    """Buffered trajectories as columns; their nodes travel in the meta data."""
    has_action, actions = rows_or_none([t.action if t.has_own_action else None for t in waiting], dim)
    has_contrast, contrasts = rows_or_none([t.contrast for t in waiting], dim)
    empty = np.empty(0, dtype=np.float32)
    return {
        "ids": np.array([t.id for t in waiting], dtype=np.int64),
        "queries": np.stack([t.query for t in waiting]) if waiting else np.empty((0, dim), dtype=np.float32),
        "outcomes": np.array([(t.quality, t.advantage) for t in waiting], dtype=np.float64).reshape(-1, 2),
        "has_action": has_action, "actions": actions, "has_contrast": has_contrast, "contrasts": contrasts,
        "scores": np.concatenate([empty, *(t.scores for t in waiting)]),
        "latencies": np.concatenate([empty, *(t.latencies_us for t in waiting)]),
    }  # fmt: skip


def read_trajectories(arrays: Arrays, nodes: list[list[Any]], dim: int) -> list[Trajectory]:
    """The trajectories from `trajectory_arrays`."""
    if arrays["queries"].shape != (len(nodes), dim):
        raise CorruptData("stored trajectories do not fit")
    actions, contrasts = iter(arrays["actions"]), iter(arrays["contrasts"])
    waiting, step = [], 0
    for i, names in enumerate(nodes):
        quality, advantage = arrays["outcomes"][i].tolist()
        action = next(actions) if arrays["has_action"][i] else None
        contrast = next(contrasts) if arrays["has_contrast"][i] else None
        trajectory = Trajectory(int(arrays["ids"][i]), arrays["queries"][i], quality, advantage, action, contrast)
        steps = slice(step, step + len(names))
        trajectory.keep_steps(names, arrays["scores"][steps].tolist(), arrays["latencies"][steps].tolist())
        waiting.append(trajectory)
        step += len(names)
    return waiting
