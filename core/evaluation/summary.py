"""From the lists of one system to the numbers and curves that are reported about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation.batches import liked_items
from core.evaluation.dataset import Dataset
from core.evaluation.metrics import (
    Difference,
    Ragged,
    accuracy,
    calibration,
    clustered_error,
    coverage,
    genre_shares,
    intra_list_diversity,
    novelty,
    paired_difference,
)
from core.evaluation.peers import fit_counts
from core.evaluation.splits import Cases, Split

NEW_USER_STEPS = (0, 1, 3, 5, 10)  # interactions so far; each bucket ends where the next one begins...
NEW_USER_END = 20  # ...and the last one here
TENTHS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What the measures beyond accuracy need of a split, computed once."""

    split: Split
    genre_names: tuple[str, ...]
    genres: NDArray  # (n, g) bool
    share: NDArray  # (n,) smoothed share of the positives before the cut
    tenth: NDArray  # (n,) tenth of the catalogue by popularity before the cut, 0 the most popular; -1 not ranked
    liked: Ragged  # item codes of the visible positives of each case


def facts_of(split: Split) -> Facts:
    """From what may be learned from alone, but for `liked`, which is what each case may see."""
    data, counts = split.data, fit_counts(split)
    names, genres = genre_table(data)
    tenth = np.full(len(counts), -1, np.int64)
    by_popularity = split.catalogue[np.argsort(-counts[split.catalogue], kind="stable")]
    tenth[by_popularity] = np.arange(len(by_popularity)) * TENTHS // max(len(by_popularity), 1)
    share = (counts + 1.0) / (counts.sum() + len(counts))
    return Facts(split, names, genres, share, tenth, liked_items(split, split.cases))


def genre_table(data: Dataset) -> tuple[tuple[str, ...], NDArray]:
    """Genre names in order, and (n, g) bool: which title has which."""
    names = tuple(sorted({genre for title in data.titles for genre in title.genres}))
    column = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(data.titles), len(names)), bool)
    for row, title in zip(table, data.titles, strict=True):
        row[[column[genre] for genre in title.genres]] = True
    return names, table


def with_errors(values: dict[str, NDArray], user: NDArray) -> dict[str, float]:
    """Each metric's mean under its name, and its user-clustered standard error under name + "_se"."""
    record = {}
    for name, value in values.items():
        record[name] = float(value.mean()) if len(value) else float("nan")
        record[f"{name}_se"] = clustered_error(value, user)
    return record


def summarise(lists: NDArray, facts: Facts) -> dict[str, Any]:
    """Everything about one system that needs no other system."""
    split, cases = facts.split, facts.split.cases
    values = accuracy(lists, cases.targets)
    k = lists.shape[1]
    shown = Ragged(lists[lists >= 0], np.concatenate([[0], np.cumsum((lists >= 0).sum(axis=1))]))
    shown_genres, liked_genres = genre_shares(shown, facts.genres), genre_shares(facts.liked, facts.genres)
    record: dict[str, Any] = with_errors(values, cases.user)
    record |= {
        f"coverage@{k}": coverage(lists, len(split.catalogue)),
        f"novelty@{k}": novelty(lists, facts.share),
        f"diversity@{k}": intra_list_diversity(lists, facts.genres),
        f"calibration@{k}": calibration(shown_genres, liked_genres),
        "popularity_tenths": _shares(facts.tenth[shown.values]),
        "genre_shares": dict(zip(facts.genre_names, _rounded(shown_genres.mean(axis=0)), strict=True)),
    }
    if split.online():
        record["by_tenth"] = [float(part.mean()) for part in np.array_split(values[f"ndcg@{k}"], TENTHS) if len(part)]
        record["new_users"] = new_users(values, cases)
    return record


def new_user_buckets(cases: Cases) -> dict[str, NDArray]:
    """Masks (m,) of the cases of users without an event before the cut, by how many interactions they have had."""
    new = cases.frozen == 0
    bounds = zip(NEW_USER_STEPS, (*NEW_USER_STEPS[1:], NEW_USER_END), strict=True)
    return {str(low): new & (cases.visible >= low) & (cases.visible < high) for low, high in bounds}


def new_users(values: dict[str, NDArray], cases: Cases) -> dict[str, dict[str, float]]:
    """Accuracy for new users after so many interactions of any kind."""
    return {
        steps: {
            "events": int(mask.sum()),
            **with_errors({name: value[mask] for name, value in values.items()}, cases.user[mask]),
        }
        for steps, mask in new_user_buckets(cases).items()
    }


def compare(ours: NDArray, theirs: NDArray, cases: Cases) -> dict[str, dict[str, float]]:
    """Paired differences of every accuracy metric between two systems' lists, with 95 % confidence intervals."""
    mine, other = accuracy(ours, cases.targets), accuracy(theirs, cases.targets)
    return {name: as_record(paired_difference(mine[name], other[name], cases.user)) for name in mine}


def as_record(difference: Difference) -> dict[str, float]:
    """Plain JSON form; low and high: the paired 95 % interval."""
    return {
        "difference": difference.difference,
        "se": difference.se,
        "low": difference.low,
        "high": difference.high,
    }


def reference_curves(facts: Facts) -> dict[str, Any]:
    """What users did, in the terms of the systems' curves: the targets' popularity and the histories' genres."""
    targets = facts.split.cases.targets.values
    liked = genre_shares(facts.liked, facts.genres)
    known = liked[liked.sum(axis=1) > 0]
    shares = known.mean(axis=0) if len(known) else np.zeros(len(facts.genre_names))
    return {
        "popularity_tenths": _shares(facts.tenth[targets]),
        "genre_shares": dict(zip(facts.genre_names, _rounded(shares), strict=True)),
    }


def _shares(tenths: NDArray) -> list[float]:
    counts = np.bincount(tenths[tenths >= 0], minlength=TENTHS)
    return _rounded(counts / max(int(counts.sum()), 1))


def _rounded(values: NDArray) -> list[float]:
    return [round(float(value), 6) for value in values]
