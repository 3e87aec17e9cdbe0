"""Making the next pair of encoders from a catalogue and everybody's interactions, and judging it before it may serve.

A tenth of the titles is kept from the training as if nobody had met them. The pair is worth having where the content
lists that a snapshot would carry find those titles' audience better with it than without; what was judged is what
ships, so the kept titles' likes are not trained on afterwards either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.catalog import Title, content_key
from core.embedding.content_encoder import write_content_encoder
from core.embedding.content_encoder_network import ContentWeights
from core.embedding.content_encoder_pair import EncoderPair, text_rows
from core.embedding.content_encoder_training import EncoderSettings, Lessons, train_encoders
from core.embedding.features import Vocabulary
from core.embedding.user_encoder import write_user_encoder
from core.embedding.user_encoder_network import UserWeights
from core.snapshot.content import Audience, content_neighbours, newness
from core.snapshot.features import content_features
from core.snapshot.inputs import POSITIVE, Interactions
from core.snapshot.parameters import SnapshotParameters
from core.snapshot.snapshot import Neighbours
from core.snapshot.text import TextVectors

Progress = Callable[[str], None]
PLACES = 10  # of a list that is judged
BLOCK_USERS = 512


@dataclass(frozen=True, slots=True)
class RenewalSettings:
    """held_back: share of the liked titles that only judge; least_users: that liked one of them and another title; a
    pair is accepted when its mean gain exceeds `certainty` standard errors of the paired difference."""

    held_back: float = 0.1
    least_users: int = 30
    certainty: float = 2.0
    training: EncoderSettings = field(default_factory=EncoderSettings)
    snapshot: SnapshotParameters = field(default_factory=SnapshotParameters)  # lists as the snapshot has them


@dataclass(frozen=True, slots=True)
class Judgement:
    """NDCG@10 of held-back titles among each other, per user: of content lists without and with the encoders."""

    accepted: bool
    titles: int
    held_back: int
    users: int
    ndcg_without: float
    ndcg_with: float
    gain: float
    gain_se: float

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Renewed:
    """Two model folders of one version, and how they were judged."""

    content: Path
    user: Path
    version: str
    judgement: Judgement


def renew_encoders(
    titles: Sequence[Title],
    interactions: Interactions,
    text: TextVectors | None,
    folder: Path,
    settings: RenewalSettings | None = None,
    progress: Progress = lambda stage: None,
) -> Renewed | None:
    """Train a pair, write it under `folder` and judge it; None where too little is known to judge anything.

    Interactions count for the titles that they name (core.adaptation.evidence.of_series).
    """
    settings = settings or RenewalSettings()
    keys = np.array([content_key(title.content_id) for title in titles], np.uint64)
    liked = likes(interactions, keys)
    held = held_back(liked, settings.held_back, settings.training.seed)
    learned = only(liked, ~held)
    judges = np.flatnonzero((np.diff(learned.indptr) > 0) & (np.diff(only(liked, held).indptr) > 0))
    if len(judges) < settings.least_users:
        return None
    vocabulary = Vocabulary.of(titles)
    rows = text_rows(text, keys) if text else np.zeros((len(titles), 0), np.float32)
    progress(f"training encoders on {learned.nnz} likes of {len(titles)} titles")
    trained = train_encoders(Lessons(vocabulary.features(titles), rows, learned), settings.training)
    if trained is None:
        return None
    version = _name(*trained)
    content, user = folder / "content", folder / "user"
    write_content_encoder(content, version, trained[0], vocabulary, {"text_version": text.version if text else None})
    write_user_encoder(user, version, trained[1])
    progress(f"judging encoders on {int(held.sum())} titles kept back")
    judgement = _judge(EncoderPair.open(content, user), titles, text, liked, held, judges, settings)
    return Renewed(content, user, version, judgement)


def likes(interactions: Interactions, keys: NDArray[np.uint64]) -> sparse.csr_array:
    """(users, n) float32 ones where a user liked one of the titles `keys` (n,), in any order."""
    order = np.argsort(keys)
    place = order[np.minimum(np.searchsorted(keys[order], interactions.key), len(keys) - 1)]
    chosen = (keys[place] == interactions.key) & (interactions.weight >= POSITIVE)
    cells = interactions.user[chosen], place[chosen]
    return sparse.csr_array((np.ones(len(cells[0]), np.float32), cells), shape=(interactions.users, len(keys)))


def held_back(liked: sparse.csr_array, share: float, seed: int) -> NDArray[np.bool_]:
    """(n,) which titles are kept from the training: a share of those that anybody liked."""
    known = np.unique(liked.indices)
    held = np.zeros(liked.shape[1], bool)
    held[np.random.default_rng(seed).permutation(known)[: int(share * len(known))]] = True
    return held


def only(liked: sparse.csr_array, titles: NDArray[np.bool_]) -> sparse.csr_array:
    """The likes of the titles (n,) alone."""
    chosen = titles[liked.indices]
    users = np.repeat(np.arange(liked.shape[0]), np.diff(liked.indptr))[chosen]
    return sparse.csr_array((liked.data[chosen], (users, liked.indices[chosen])), shape=liked.shape)


def _judge(
    pair: EncoderPair, titles: Sequence[Title], text: TextVectors | None, liked: sparse.csr_array,
    held: NDArray[np.bool_], judges: NDArray[np.intp], settings: RenewalSettings,
) -> Judgement:  # fmt: skip
    p, features = settings.snapshot, content_features(titles)
    learned = only(liked, ~held)
    placed = pair.place(titles, text)
    counts = np.bincount(learned.indices, minlength=len(titles))
    audience = Audience(placed.vectors, placed.fans, newness(counts, p), p.audience_strength)
    before, after = (
        held_back_ndcg(content_neighbours(features, p.neighbours, given), learned, only(liked, held), held, judges)
        for given in (None, audience)
    )
    return judged(before, after, len(titles), int(held.sum()), settings.certainty)


def judged(
    before: NDArray[np.float64], after: NDArray[np.float64], titles: int, held: int, certainty: float
) -> Judgement:
    """Whether what changed is worth having, by the NDCG@10 of each judging user before and after."""
    gain = after - before
    error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    mean = float(gain.mean())
    return Judgement(
        accepted=bool(mean > certainty * error),
        titles=titles,
        held_back=held,
        users=len(gain),
        ndcg_without=round(float(before.mean()), 5),
        ndcg_with=round(float(after.mean()), 5),
        gain=round(mean, 5),
        gain_se=round(error, 5),
    )


def held_back_ndcg(
    lists: Neighbours, learned: sparse.csr_array, kept: sparse.csr_array, held: NDArray[np.bool_],
    judges: NDArray[np.intp],
) -> NDArray[np.float64]:  # fmt: skip
    """NDCG@10 of each of the users `judges`: how well the neighbours of what the user liked otherwise (`learned`) rank
    the liked held-back titles (`kept`) among all held-back ones. Ties count against the lists; what they do not find is
    a miss."""
    n = len(held)
    start = np.arange(n + 1) * lists.index.shape[1]
    weights = sparse.csr_array((lists.weight.astype(np.float32).ravel(), lists.index.ravel(), start), shape=(n, n))
    columns = np.flatnonzero(held)
    to_held, wanted = sparse.csc_array(weights)[:, columns].tocsr(), sparse.csc_array(kept)[:, columns].tocsr()
    discount = 1.0 / np.log2(np.arange(2, PLACES + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    gains = []
    for first in range(0, len(judges), BLOCK_USERS):
        users = judges[first : first + BLOCK_USERS]
        scores = (learned[users] @ to_held).toarray()
        target = wanted[users].toarray() > 0
        scores[target] *= np.float32(1 - 1e-6)  # ties count against the lists
        best = np.argsort(-scores, axis=1, kind="stable")[:, :PLACES]
        hit = np.take_along_axis(target & (scores > 0), best, axis=1)
        gains.append(hit @ discount[: hit.shape[1]] / ideal[np.minimum(target.sum(axis=1), PLACES)])
    return np.concatenate(gains)


def _name(content: ContentWeights, user: UserWeights) -> str:
    """A version that changes exactly when a weight does."""
    digest = hashlib.sha256()
    for array in (content.terms, content.text, content.bias, content.hidden, user.keys, user.query, user.turn):
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"audience-{digest.hexdigest()[:12]}"
