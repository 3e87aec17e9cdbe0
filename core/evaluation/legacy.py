"""Figures under two protocols that older papers use, for comparison with those papers only.

`sampled-100` ranks each target among 100 random titles that the user has not rated: it flatters, and does not even keep
the order of systems (Krichene & Rendle 2020). `random-split` withholds a random fifth of the positives: the future
helps to foretell the past, and several targets per user make precision look high.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation import peers, serving
from core.evaluation.answers import Progress
from core.evaluation.batches import seen_mask
from core.evaluation.dataset import Dataset
from core.evaluation.hybrid import Hybrid, fit_parts
from core.evaluation.metrics import Ragged, accuracy
from core.evaluation.peers import ItemWeights, Peer
from core.evaluation.serving import Variant
from core.evaluation.splits import Cases, Split, per_user_cases, ranked_items, timelines
from core.evaluation.summary import with_errors
from core.snapshot.snapshot import Snapshot

SAMPLED, WITHHELD = 100, 0.2
SEED = 0
COMPARED = ("popularity", "ease", "hybrid")
WARNING = "for comparison with older papers only: sampled candidates and random splits overstate quality"


def figures(
    at: Split, snapshot: Snapshot, ours: Variant, fitted: dict[str, Peer], progress: Progress
) -> dict[str, Any]:
    """Both protocols for our default configuration and some of the peers that were fitted on the main one."""
    others = {name: peer for name, peer in fitted.items() if name in COMPARED}
    progress("legacy: sampled", 0, 2)
    sampled = sampled_figures(at, snapshot, ours, others, np.random.default_rng(SEED))
    progress("legacy: random split", 1, 2)
    random = random_split_figures(at.data, ours, others, len(at.cases), np.random.default_rng(SEED))
    progress("legacy: random split", 2, 2)
    return {"warning": WARNING, f"sampled-{SAMPLED}": sampled, "random-split": random}


def sampled_figures(
    at: Split, snapshot: Snapshot, ours: Variant, others: dict[str, Peer], rng: np.random.Generator
) -> dict[str, Any]:
    """Each case's first target among 100 ranked titles that the user has not rated, drawn evenly."""
    first = Ragged(at.cases.targets.values[at.cases.targets.start[:-1]], np.arange(len(at.cases) + 1))
    cases = replace(at.cases, targets=first)
    only = sampled_candidates(at, cases, rng)
    lists = {"sona": serving.recommend(ours, at, snapshot, cases, only=only).lists}
    lists |= {name: peers.recommend(peer, at, cases, only=only) for name, peer in others.items()}
    return {name: with_errors(accuracy(shown, first), cases.user) for name, shown in lists.items()}


def sampled_candidates(at: Split, cases: Cases, rng: np.random.Generator) -> NDArray:
    """(m, 101) item codes: the target, then up to 100 others (repeats of the target where there are fewer)."""
    only = np.repeat(cases.targets.values[:, None], SAMPLED + 1, axis=1)
    for i in range(len(cases)):
        one = cases.take(np.array([i]))
        free = at.catalogue[~seen_mask(at, one, at.catalogue)[0] & (at.catalogue != only[i, 0])]
        drawn = rng.choice(free, min(SAMPLED, len(free)), replace=False)
        only[i, 1 : 1 + len(drawn)] = drawn
    return only


def random_split_figures(
    data: Dataset, ours: Variant, others: dict[str, Peer], most: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Everything fitted anew on the events that were not withheld; weights chosen on the main protocol are kept."""
    at = random_split(data, most, rng)
    with TemporaryDirectory() as folder:
        snapshot = serving.build_snapshot(at, Path(folder))
        lists = {"sona": serving.recommend(ours, at, snapshot, at.cases).lists}
    lists |= {name: peers.recommend(refitted(peer, at), at, at.cases) for name, peer in others.items()}
    return {name: with_errors(accuracy(shown, at.cases.targets), at.cases.user) for name, shown in lists.items()}


def refitted(peer: Peer, at: Split) -> Peer:
    """The same kind of peer, with the weights it was given, fitted on another split."""
    if isinstance(peer, Hybrid):
        return replace(fit_parts(at), choice=peer.choice)
    return peers.fit_ease(at) if isinstance(peer, ItemWeights) else peers.Popularity(peers.fit_counts(at))


def random_split(data: Dataset, most: int, rng: np.random.Generator) -> Split:
    """A fifth of the positives withheld, put behind all other events; one list per user who has any of them."""
    withheld = data.positive & (rng.random(len(data)) < WITHHELD)
    data = data.reordered(np.argsort(withheld, kind="stable"))
    fit = np.arange(len(data)) < int((~withheld).sum())
    catalogue = ranked_items(data, fit, 1)
    own = np.bincount(data.user[fit], minlength=data.users)
    moment = float(data.at[fit].max())
    warm = np.isin(data.item, catalogue)
    cases, cold = (per_user_cases(data, ~fit & side, own, moment, most) for side in (warm, ~warm))
    return Split("random", data, fit, fit & data.timed, catalogue, cases, cold, timelines(data)[0], moment)
