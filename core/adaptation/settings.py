"""The settings of a SonaEngine, with the defaults of the original's README."""

from __future__ import annotations

from dataclasses import dataclass

from core.adaptation.tiers import require_rank
from core.errors import InvalidInput
from core.numeric.vectors import require_number


@dataclass(frozen=True)
class SonaConfig:
    """Immutable; impossible values raise InvalidInput, which names the field."""

    hidden_dim: int = 256  # of the host model; kept because callers set it, vectors have embedding_dim
    embedding_dim: int = 256  # of queries, activations and outputs
    micro_lora_rank: int = 2  # 1 or 2
    base_lora_rank: int = 16  # 1 to 64, at most embedding_dim
    lora_alpha: float = 1.0  # delta = (alpha / rank) B A q
    lora_dropout: float = 0.0  # share of query coordinates that a base training step leaves out
    trajectory_buffer_size: int = 10_000  # ended trajectories that wait for the background cycle
    max_trajectory_steps: int = 50
    ewc_lambda: float = 0.4  # strength of the pull towards what finished tasks needed
    ewc_gamma: float = 0.95  # memory of the online Fisher
    ewc_fisher_samples: int = 100  # trajectories per cycle that the Fisher is estimated from
    ewc_online: bool = True  # False: the Fisher is the plain mean over the task
    pattern_clusters: int = 32  # most clusters per background cycle
    pattern_quality_threshold: float = 0.7  # mean quality that a pattern needs
    consolidation_interval: int = 1000  # trajectories between two consolidations
    micro_lr: float = 0.01  # root-mean-square change per weight of (alpha / r) B at advantage 1 and alpha 1
    base_lr: float = 0.001  # the same, per training step
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "embedding_dim", "trajectory_buffer_size", "max_trajectory_steps"):
            self._require_count(name)
        for name in ("ewc_fisher_samples", "pattern_clusters", "consolidation_interval"):
            self._require_count(name)
        require_rank("fast", self.micro_lora_rank)
        require_rank("base", self.base_lora_rank)
        if max(self.micro_lora_rank, self.base_lora_rank) > self.embedding_dim:
            raise InvalidInput(f"base_lora_rank and micro_lora_rank are at most embedding_dim {self.embedding_dim}")
        self._require_range("lora_alpha", 0.0, float("inf"), above=True)
        self._require_range("ewc_lambda", 0.0, float("inf"))
        self._require_range("pattern_quality_threshold", 0.0, 1.0)
        for name in ("lora_dropout", "ewc_gamma"):
            self._require_range(name, 0.0, 1.0, below=True)
        for name in ("micro_lr", "base_lr"):
            self._require_range(name, 0.0, 1.0)

    def _require_count(self, name: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidInput(f"{name} must be a positive integer, got {value!r}")

    def _require_range(self, name: str, low: float, high: float, above: bool = False, below: bool = False) -> None:
        value = require_number(getattr(self, name), name)
        if not low <= value <= high or (above and value == low) or (below and value == high):
            raise InvalidInput(f"{name} is {value}, outside {low} to {high}")
