"""What others would recommend on the same split: the systems that ours is printed beside.

Those that look at a history fall back on popularity where there is none, as any deployment of them would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.evaluation.batches import CHUNK, Batch, batches, columns_of, liked_columns, seen_mask
from core.evaluation.closed_form import cosine_weights, ease_weights
from core.evaluation.metrics import K, Ragged, accuracy, best_lists
from core.evaluation.splits import Cases, Split

RIDGE_STREAM, RIDGE_LOO = 100.0, 300.0  # EASE's lambda: the values behind the published reference figures
NEIGHBOURS = 100
HALF_LIVES_DAYS = (1.0, 3.0, 7.0, 14.0, 30.0)
ALS_FACTORS, ALS_REGULARISATION, ALS_ALPHA, ALS_ITERATIONS = 64, 0.05, 10.0, 15
MAX_DENSE = 20_000  # titles up to which an item-item matrix is inverted: 3 GB and a quarter of an hour
TIE_BREAK = 1e-6


class Peer(Protocol):
    """A fitted system. `half_lives` are the popularity counters it wants; `frozen`: its users do not go on."""

    @property
    def half_lives(self) -> tuple[float, ...]:
        """In days."""

    @property
    def frozen(self) -> bool:
        """True: what users do after the cut is not shown to it."""

    def scores(self, batch: Batch) -> NDArray:
        """(b, w) float32 for the batch's candidates; what is not finite is never recommended."""


def recommend(peer: Peer, split: Split, cases: Cases, wide: bool = False, only: NDArray | None = None) -> NDArray:
    """(m, K) int32 item codes, best first, -1 where the peer has no more.

    wide: every title is a candidate, not only the ranked ones. only: (m, s) item codes, the candidates of each case.
    """
    lists: list[NDArray] = []
    for batch in batches(split, cases, wide, peer.half_lives, peer.frozen):
        forbidden = seen_mask(split, batch.cases, batch.items)
        if only is not None:
            forbidden |= _all_but(only[len(lists) * CHUNK :][: len(forbidden)], batch.items)
        places = best_lists(peer.scores(batch), forbidden, as_columns(batch), K)
        lists.append(np.where(places >= 0, batch.items[places], -1))
    return np.concatenate(lists) if lists else np.empty((0, K), np.int32)


def _all_but(only: NDArray, items: NDArray) -> NDArray:
    """(b, w) bool: candidates that are not among `only` (b, s)."""
    mask = np.ones((len(only), len(items)), bool)
    mask[np.arange(len(only))[:, None], np.searchsorted(items, only)] = False
    return mask


def as_columns(batch: Batch) -> Ragged:
    """The targets as places among the batch's candidates, -1 for those that are none."""
    place = np.full(len(batch.split.data.titles), -1, np.int64)
    place[batch.items] = np.arange(len(batch.items))
    return Ragged(place[batch.cases.targets.values], batch.cases.targets.start)


def fit_matrix(split: Split) -> sparse.csr_array:
    """(users, c) 0/1: positives on ranked items that may be learned from."""
    data, column = split.data, columns_of(split)
    used = split.fit & data.positive & (column[data.item] >= 0)
    ones = np.ones(int(used.sum()), np.float32)
    shape = (data.users, len(split.catalogue))
    matrix = sparse.csr_array((ones, (data.user[used], column[data.item[used]])), shape=shape)
    matrix.data[:] = 1.0  # a title liked twice is liked
    return matrix


def fit_counts(split: Split) -> NDArray:
    """(n,) float32 positives per title that may be learned from."""
    used = split.fit & split.data.positive
    return np.bincount(split.data.item[used], minlength=len(split.data.titles)).astype(np.float32)


def fit_sequences(split: Split) -> list[NDArray]:
    """Catalogue columns of each user's positives that may be learned from, in order."""
    own = np.bincount(split.data.user[split.fit], minlength=split.data.users).astype(np.int32)
    everyone = np.arange(split.data.users, dtype=np.int32)
    nothing = Ragged(np.empty(0, np.int32), np.zeros(len(everyone) + 1, np.int64))
    zeros = np.zeros(len(everyone))
    cases = Cases(everyone, own, own, zeros, zeros.astype(np.int64), nothing)
    return liked_columns(split, cases, columns_of(split))


@dataclass(slots=True)
class Popularity:
    """Positives before the cut."""

    counts: NDArray
    half_lives: tuple[float, ...] = ()
    frozen: bool = False

    def scores(self, batch: Batch) -> NDArray:
        return np.tile(self.counts[batch.items], (len(batch.cases), 1))


@dataclass(slots=True)
class DecayedPopularity:
    """Positives of everybody until now, with a half-life; where nothing was counted, positives before the cut."""

    counts: NDArray
    half_lives: tuple[float, ...]
    frozen: bool = False

    def scores(self, batch: Batch) -> NDArray:
        return batch.popularity[self.half_lives[0]] + TIE_BREAK * shares(self.counts)[batch.items]


@dataclass(slots=True)
class ItemWeights:
    """Scores that are linear in the history: history @ weights (c, c), popularity without a history."""

    weights: NDArray
    counts: NDArray
    frozen: bool = False
    half_lives: tuple[float, ...] = ()

    def scores(self, batch: Batch) -> NDArray:
        return or_popular(batch, batch.over_items(batch.history() @ self.weights), self.counts)


@dataclass(slots=True)
class Als:
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky 2008); users are folded in from their history.

    factors: (c, f). A user's factors solve (Y'Y + alpha Y_u'Y_u + regularisation I) x = (1 + alpha) sum Y_u.
    """

    factors: NDArray
    counts: NDArray
    frozen: bool = False
    half_lives: tuple[float, ...] = ()

    def scores(self, batch: Batch) -> NDArray:
        gram = self.factors.T @ self.factors + ALS_REGULARISATION * np.eye(self.factors.shape[1])
        users = np.zeros((len(batch.liked), self.factors.shape[1]), np.float32)
        for user, columns in zip(users, batch.liked, strict=True):
            own = self.factors[columns]
            user[:] = np.linalg.solve(gram + ALS_ALPHA * own.T @ own, (1 + ALS_ALPHA) * own.sum(axis=0))
        return or_popular(batch, batch.over_items(users @ self.factors.T), self.counts)


def or_popular(batch: Batch, scores: NDArray, counts: NDArray) -> NDArray:
    """The scores, replaced by popularity for users without a history."""
    return np.where(batch.empty[:, None], counts[batch.items][None, :], scores)


def shares(counts: NDArray) -> NDArray:
    """(n,) of the counts' sum; zeros when nothing was counted."""
    return counts / max(float(counts.sum()), 1.0)


def fit_als(split: Split, seed: int = 0) -> Als:
    """Fit with the package `implicit` (extra `evaluate`). Raises ImportError without it."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, "blas"):  # its own threads and BLAS's get in each other's way
        model = AlternatingLeastSquares(
            factors=ALS_FACTORS,
            regularization=ALS_REGULARISATION,
            alpha=ALS_ALPHA,
            iterations=ALS_ITERATIONS,
            random_state=seed,
            num_threads=1,  # more threads make the result depend on their timing
        )
        model.fit(sparse.csr_matrix(fit_matrix(split)), show_progress=False)
    return Als(np.asarray(model.item_factors, np.float32), fit_counts(split))


def fit_decayed_popularity(split: Split, earlier: Split) -> DecayedPopularity:
    """The half-life is the best one on the validation window."""
    counts = fit_counts(earlier)
    tried = {half_life: ndcg(DecayedPopularity(counts, (half_life,)), earlier).mean() for half_life in HALF_LIVES_DAYS}
    return DecayedPopularity(fit_counts(split), (max(tried, key=tried.__getitem__),))


def ndcg(peer: Peer, split: Split) -> NDArray:
    """(m,) NDCG@10 of each case."""
    return accuracy(recommend(peer, split, split.cases), split.cases.targets)[f"ndcg@{K}"]


def ridge_for(split: Split) -> float:
    """EASE's lambda for the protocol."""
    return RIDGE_LOO if split.protocol == "loo" else RIDGE_STREAM


def fit_ease(split: Split, frozen: bool = False) -> ItemWeights:
    """EASE (Steck 2019) on the positives that may be learned from."""
    return ItemWeights(ease_weights(fit_matrix(split), ridge_for(split)), fit_counts(split), frozen)


def fit_itemknn(split: Split) -> ItemWeights:
    """Cosine between titles' audiences (Sarwar et al. 2001), NEIGHBOURS kept for each."""
    return ItemWeights(cosine_weights(fit_matrix(split), NEIGHBOURS), fit_counts(split))
