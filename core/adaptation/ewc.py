"""EWC++: elastic weight consolidation with an online Fisher (Kirkpatrick et al. 2017; Chaudhry et al. 2018).

Every finished task k leaves its Fisher diagonal F_k (which weights mattered) and its weights w*_k. Training on is then
charged (lambda / 2) sum_k F_k (w - w*_k)^2, whose gradient lambda sum_k F_k (w - w*_k) pulls weights that mattered back
from either side. A quadratic keeps its form when summed, so all pulls cost one pass over the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptData, InvalidInput
from core.numeric.vectors import Floats

LAMBDA_GROWTH = 0.1  # per finished task: the more there is to lose, the stronger the pull
LAMBDA_CEILING = 2.0  # times the starting strength


@dataclass(frozen=True, slots=True)
class Task:
    """What is remembered of a finished task: fisher (p,), anchor w* (p,), and how many tasks it stands for."""

    fisher: Floats
    anchor: Floats
    importance: float = 1.0


class Ewc:
    """Memory of what the weights (p,) were needed for. Not thread-safe: the trainer that owns the weights owns this
    too.

    online: the Fisher is a moving average, F <- gamma F + (1 - gamma) g^2, so that late gradients count more; otherwise
    the plain mean since the task began.
    """

    def __init__(
        self, size: int, strength: float = 0.4, gamma: float = 0.95, online: bool = True, max_tasks: int = 10
    ) -> None:
        if size < 1 or not 0 <= strength < np.inf or not 0 <= gamma < 1 or max_tasks < 1:
            raise InvalidInput(f"EWC of size {size}, strength {strength}, gamma {gamma}, max_tasks {max_tasks}")
        self.size, self.strength, self.gamma, self.online, self.max_tasks = size, strength, gamma, online, max_tasks
        self.running = np.zeros(size, dtype=np.float32)
        self.updates = 0  # calls to observe in this task
        self.samples = 0  # gradients seen in this task
        self.finished = 0  # tasks ever, consolidated ones included
        self.tasks: list[Task] = []
        self._sum_up()

    @property
    def lambda_(self) -> float:
        """The strength, adapted to the number of finished tasks."""
        return self.strength * min(1.0 + LAMBDA_GROWTH * self.finished, LAMBDA_CEILING)

    @property
    def fisher(self) -> Floats:
        """The Fisher diagonal of the present task (p,), corrected for the zero it started from."""
        if self.updates == 0 or not self.online:
            return self.running
        return np.asarray(self.running / np.float32(1.0 - self.gamma**self.updates))

    @property
    def mass(self) -> float:
        """Sum of all remembered Fisher values: how much is protected."""
        return float(self._stiffness.sum(dtype=np.float64))

    def observe(self, gradient: NDArray[Any]) -> None:
        """Take in the gradient of one sample (p,)."""
        self._check(gradient, "gradient")
        self.observe_squared(gradient * gradient, samples=1)

    def observe_squared(self, squared: NDArray[Any], samples: int) -> None:
        """Take in the mean squared gradient (p,) of `samples` samples as one update."""
        self._check(squared, "squared gradient")
        if samples < 1:
            return
        self.updates += 1
        self.samples += samples
        weight = 1.0 - self.gamma if self.online else samples / self.samples
        self.running = ((1.0 - weight) * self.running + weight * squared).astype(np.float32)

    def finish_task(self, weights: NDArray[Any], curvature: float | None = None) -> None:
        """Remember the present Fisher with w* = weights (p,), and begin a new task.

        curvature: rescale the Fisher so that its mean is this, for losses whose gradients do not measure curvature
        (REINFORCE: they fade with the advantage); lambda then keeps one meaning however good the policy is.
        """
        self._check(weights, "weights")
        fisher = self.fisher.copy()
        mean = float(fisher.mean(dtype=np.float64))
        if curvature is not None and mean > 0:
            fisher *= np.float32(curvature / mean)
        self.tasks.append(Task(fisher, np.array(weights, dtype=np.float32)))
        self.finished += 1
        self.running = np.zeros(self.size, dtype=np.float32)
        self.updates = self.samples = 0
        if len(self.tasks) > self.max_tasks:
            self.consolidate()
        self._sum_up()

    def consolidate(self) -> None:
        """Merge the remembered tasks into one with the same pull: F = sum F_k, w* = sum F_k w*_k / sum F_k."""
        if len(self.tasks) < 2:
            return
        self._sum_up()
        total = np.maximum(self._stiffness, np.float32(1e-30))
        anchor = np.where(self._stiffness > 0, self._moment / total, self.tasks[-1].anchor).astype(np.float32)
        importance = sum(task.importance for task in self.tasks)
        self.tasks = [Task((self._stiffness / np.float32(importance)).astype(np.float32), anchor, importance)]
        self._sum_up()

    def penalty(self, weights: NDArray[Any]) -> float:
        """(lambda / 2) sum_k F_k (w - w*_k)^2."""
        self._check(weights, "weights")
        terms = [t.importance * float((t.fisher * (weights - t.anchor) ** 2).sum(dtype=np.float64)) for t in self.tasks]
        return 0.5 * self.lambda_ * sum(terms)

    def pull(self, weights: NDArray[Any]) -> NDArray[Any]:
        """The penalty's gradient lambda sum_k F_k (w - w*_k), (p,); a descent step subtracts it."""
        self._check(weights, "weights")
        return np.asarray(self.lambda_ * (self._stiffness * weights - self._moment))

    def quadratic(self) -> tuple[Floats, Floats]:
        """lambda sum_k F_k and lambda sum_k F_k w*_k, (p,) each: the penalty is half the first times w^2 less the
        second times w, up to a constant."""
        strength = np.float32(self.lambda_)
        return strength * self._stiffness, strength * self._moment

    def proximal(self, weights: NDArray[Any], step: float) -> NDArray[Any]:
        """argmin_w penalty(w) + |w - weights|^2 / (2 step): the pull as an implicit step, which no lambda makes
        unstable."""
        self._check(weights, "weights")
        stiff = step * self.lambda_
        return np.asarray((weights + stiff * self._moment) / (1.0 + stiff * self._stiffness))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, as named arrays (see `from_arrays`)."""
        empty = np.empty((0, self.size), dtype=np.float32)
        return {
            "running": self.running,
            "counts": np.array([self.updates, self.samples, self.finished], dtype=np.int64),
            "fishers": np.stack([task.fisher for task in self.tasks]) if self.tasks else empty,
            "anchors": np.stack([task.anchor for task in self.tasks]) if self.tasks else empty,
            "importances": np.array([task.importance for task in self.tasks], dtype=np.float64),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `to_arrays` gave. Raises CorruptData if it does not fit these weights."""
        fishers, anchors, importances = arrays["fishers"], arrays["anchors"], arrays["importances"]
        shape = (len(importances), self.size)
        if arrays["running"].shape != (self.size,) or fishers.shape != shape or anchors.shape != shape:
            raise CorruptData(f"stored EWC state does not fit {self.size} weights")
        self.running = np.array(arrays["running"], dtype=np.float32)
        self.updates, self.samples, self.finished = (int(count) for count in arrays["counts"])
        parts = zip(fishers, anchors, importances, strict=True)
        self.tasks = [Task(fisher.copy(), anchor.copy(), float(weight)) for fisher, anchor, weight in parts]
        self._sum_up()

    def _sum_up(self) -> None:
        self._stiffness = np.zeros(self.size, dtype=np.float32)  # sum_k F_k
        self._moment = np.zeros(self.size, dtype=np.float32)  # sum_k F_k w*_k
        for task in self.tasks:
            weighted = np.float32(task.importance) * task.fisher
            self._stiffness += weighted
            self._moment += weighted * task.anchor

    def _check(self, array: NDArray[Any], name: str) -> None:
        if array.shape != (self.size,):
            raise InvalidInput(f"the {name} has shape {array.shape}, EWC guards ({self.size},) weights")
