"""The lists of every system on the same cases, and what making them took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from numpy.typing import NDArray

from core.evaluation import peers, serving
from core.evaluation.histories import Histories
from core.evaluation.peers import Peer
from core.evaluation.serving import Variant
from core.evaluation.splits import Split
from core.snapshot.snapshot import Snapshot

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of its steps are done, and how many there are."""

FitPeer = Callable[[Split, Split], Peer]
"""(split to be tested, split of the validation window before it) -> fitted peer."""


@dataclass(slots=True)
class Answers:
    """`lists` and `open`: system -> (m, K) item codes for the cases of `split`, and for
    those of `split.open_cases`, for which every title is a candidate."""

    split: Split
    lists: dict[str, NDArray] = field(default_factory=dict)
    open: dict[str, NDArray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    degraded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elapsed_ms: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # system -> part -> of every case
    variants: list[str] = field(default_factory=list)  # the systems that are configurations of the serving flow
    histories: dict[serving.Reshape | None, Histories] = field(default_factory=dict)  # shared among variants

    def serve(self, name: str, variant: Variant, snapshot: Snapshot, wide: bool, progress: Progress) -> None:
        """Run one configuration of the serving flow; `wide`: on the open cases too."""
        began = time.perf_counter()
        every, _ = self.split.open_cases()
        total, done = len(self.split.cases) + wide * len(every), 0

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            progress(name, done, total)

        progress(name, 0, total)
        self.variants.append(name)
        served = serving.reshaped(snapshot, variant.space)
        users = self.histories.setdefault(variant.space, Histories(self.split, served))
        ask = partial(serving.recommend, variant, self.split, served, histories=users, advance=advance)
        shown = ask(self.split.cases)
        self.lists[name], self.elapsed_ms[name] = shown.lists, shown.elapsed_ms
        if wide:
            self.open[name] = ask(every, wide=True).lists
        if shown.degraded:
            self.degraded[name] = shown.degraded
        self.seconds[name] = time.perf_counter() - began

    def ask(self, name: str, fit: FitPeer, earlier: Split, progress: Progress) -> Peer | None:
        """Fit and run a peer; one that cannot run here is named with its reason."""
        began = time.perf_counter()
        progress(name, 0, 3)
        try:
            peer = fit(self.split, earlier)
        except ImportError as error:
            self.skipped[name] = f"{error.name} is not installed (extra `evaluate`)"
            return None
        progress(name, 1, 3)
        self.lists[name] = peers.recommend(peer, self.split, self.split.cases)
        progress(name, 2, 3)
        self.open[name] = peers.recommend(peer, self.split, self.split.open_cases()[0], wide=True)
        self.seconds[name] = time.perf_counter() - began
        return peer
