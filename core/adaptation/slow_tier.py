"""A user's slow tier with everything that its next adaptation needs: weights, EWC's memory, and where it stopped.

Its cold form is `codec`'s bytes in full precision with more arrays in the same container, so that whoever only wants to
apply the adapter reads either form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adaptation import codec, tensors
from core.adaptation.codec import COLD_KINDS, KIND, UserAdapter
from core.adaptation.ewc import Ewc, Task
from core.adaptation.fast_tier import ALPHA, FastTier
from core.adaptation.lora import Lora
from core.adaptation.space import Space, carry
from core.adaptation.tiers import fold
from core.errors import CorruptData
from core.numeric.vectors import Floats, is_finite

PREFIX = "ewc."


@dataclass(frozen=True, slots=True, eq=False)
class SlowTier:
    """`adapter.fast` is what has been folded in of the fast tier. Positives before task_from (Unix seconds) belong to
    finished tastes; learned_at is the time of the latest one that it has learned from (-inf: none)."""

    adapter: UserAdapter
    ewc: Ewc
    task_from: float = float("-inf")
    learned_at: float = float("-inf")

    def slow(self, A: Floats) -> Lora:
        """The slow tier as an adapter over A (r, d)."""
        return Lora(A, self.adapter.slow, ALPHA)


def fresh(space: Space, ewc: Ewc) -> SlowTier:
    """A tier that changes nothing yet."""
    slow, fast = (np.zeros((A.shape[1], len(A)), np.float32) for A in (space.A_slow, space.A_fast))
    return SlowTier(UserAdapter(slow, fast, space.generation, space.embedding_version), ewc)


def pack(tier: SlowTier) -> bytes:
    """The cold form. Raises InvalidInput for weights that are not finite, CorruptData for such a memory."""
    arrays, meta = tensors.unpack(codec.encode(tier.adapter, COLD_KINDS), KIND)
    memory = {PREFIX + name: array for name, array in tier.ewc.to_arrays().items()}
    if not all(np.isfinite(array).all() for array in memory.values()):
        raise CorruptData("EWC's memory contains NaN or infinity")
    times = np.array([tier.task_from, tier.learned_at]).clip(-1e300)  # the container holds finite numbers only
    return tensors.pack(KIND, {**arrays, **memory, "times": times}, meta)


def unpack(blob: bytes, ewc: Ewc) -> SlowTier:
    """Inverse of `pack`; `ewc` is a new one, which takes the memory over unless it guards another number of weights.

    Raises CorruptData for anything else.
    """
    adapter = codec.decode(blob)
    arrays, _ = tensors.unpack(blob, KIND)
    try:
        memory: dict[str, NDArray[Any]] = {
            name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)
        }
        if ewc.size == adapter.slow.size:
            ewc.restore(memory)
        task_from, learned_at = (float(time) for time in arrays["times"])
    except (KeyError, ValueError) as error:
        raise CorruptData(f"the slow tier lacks what the next adaptation needs: {error}") from error
    return SlowTier(adapter, ewc, task_from, learned_at)


def carried_over(tier: SlowTier, space: Space) -> SlowTier | None:
    """The tier in the space's generation; None where nothing leads there and it must be fitted anew.

    A diagonal Fisher does not survive a rotation, except one that is the same everywhere: the memory of finished tastes
    keeps its anchors and its mass, spread evenly. The present taste's Fisher begins anew.
    """
    if tier.adapter.generation == space.generation:
        return tier
    adapter, old = carried_adapter(tier.adapter, space), tier.ewc
    if adapter is None:
        return None
    way, shape = space.transfers[tier.adapter.generation], tier.adapter.slow.shape
    ewc = Ewc(space.A_slow.size, old.strength, old.gamma, old.online, old.max_tasks)
    ewc.finished = old.finished
    for task in old.tasks:
        anchor = carry(task.anchor.reshape(shape), way.rotation, way.slow).ravel()
        evenly = np.full(ewc.size, task.fisher.sum(dtype=np.float64) / ewc.size, np.float32)
        ewc.tasks.append(Task(evenly, anchor, task.importance))
    ewc.restore(ewc.to_arrays())  # which sums the tasks up
    return replace(tier, adapter=adapter, ewc=ewc)


def carried_adapter(adapter: UserAdapter, space: Space) -> UserAdapter | None:
    """The factors in the space's generation; None where nothing leads there."""
    if adapter.generation == space.generation:
        return adapter
    way = space.transfers.get(adapter.generation)
    if way is None or adapter.embedding_version != space.embedding_version:
        return None
    slow, fast = carry(adapter.slow, way.rotation, way.slow), carry(adapter.fast, way.rotation, way.fast)
    return replace(adapter, slow=slow, fast=fast, generation=space.generation)


def applied(space: Space, adapter: UserAdapter | None, fast: FastTier | None) -> dict[str, Lora]:
    """The adapters that act on a user's queries, by tier: base, slow, and fast, which while it is useful gives what the
    slow one lacks. A tier that nothing leads into this generation is left out."""
    tiers = {"base": space.base}
    carried = carried_adapter(adapter, space) if adapter is not None else None
    if carried is not None:
        tiers["slow"] = Lora(space.A_slow, carried.slow, ALPHA)
    if fast is not None and fast.useful and fast.generation == space.generation:
        B = fast.B.astype(np.float32) if carried is None else unfolded(fast.B, carried.fast)
        tiers["fast"] = Lora(space.A_fast, B, ALPHA)
    return tiers


def unfolded(fast: NDArray[Any], folded: Floats) -> Floats:
    """What of the fast tier's B (d, r) the slow tier does not have yet.

    The part that was folded in is still there, shrunk by decay and bounds: as much of it as the fast tier still shows
    (least squares, at most all of it) is taken out, so that nothing counts twice and ingest stays its only writer.
    """
    B = fast.astype(np.float32)
    squares = float(np.vdot(folded, folded))
    share = min(max(float(np.vdot(B, folded)) / squares, 0.0), 1.0) if squares > 0 else 0.0
    return np.asarray(B - np.float32(share) * folded)


def folded_in(tier: SlowTier, space: Space, fast: NDArray[Any]) -> tuple[SlowTier, float]:
    """The tier with the fast tier's B (d, r_fast) folded in, and the share of it that A_slow cannot hold."""
    rest = unfolded(fast, tier.adapter.fast)
    slow, lost = fold(Lora(space.A_fast, rest, ALPHA), tier.slow(space.A_slow))
    if not is_finite(slow.B):
        return tier, 1.0
    return replace(tier, adapter=replace(tier.adapter, slow=slow.B, fast=fast.astype(np.float32))), lost
