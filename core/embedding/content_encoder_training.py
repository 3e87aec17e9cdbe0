"""Training the content and the user encoder together, so that a user's vector points at what the user likes next.

Every step takes some users, hides part of what each liked, and asks which titles those are: a softmax over sampled
titles (Covington et al. 2016; two towers as in Yi et al. 2019), whose candidates are known by their content only. A
title without a history is then no special case. Parts of the content are dropped at random, so that titles of which
little is known still find their place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.embedding.content_encoder_network import ContentWeights, encode_titles, start_content, title_gradients
from core.embedding.user_encoder_network import UserWeights, encode_users, start_user, user_gradients

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """steps of `users` users each; history, targets: titles at most that a user shows and hides; negatives: liked
    titles of others beside them. sharpness: of the softmax. drop_terms: of the single terms; drop_text, drop_structure:
    of the whole part of a title. rate: Adam's, falling linearly over the second half.
    """

    steps: int = 150
    users: int = 128
    history: int = 15
    targets: int = 8
    negatives: int = 700
    sharpness: float = 10.0
    drop_terms: float = 0.3
    drop_text: float = 0.3
    drop_structure: float = 0.1
    rate: float = 0.002
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What is learned from: of n titles the features (n, m) and text vectors (n, t), zero where there is none, and
    liked (users, n), ones where a user liked a title."""

    terms: sparse.csr_array
    text: Floats
    liked: sparse.csr_array


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """b users: shown (b, L) and hidden (b, H) as places in `titles`, strength (b, L) and share (b, H) with 0 for none,
    excluded (b, k) bool: what the user liked but is not asked for."""

    titles: NDArray[np.intp]
    shown: NDArray[np.intp]
    strength: Floats
    hidden: NDArray[np.intp]
    share: Floats
    excluded: NDArray[np.bool_]


def train_encoders(
    lessons: Lessons, settings: EncoderSettings, progress: Callable[[int, float], None] = lambda step, loss: None
) -> tuple[ContentWeights, UserWeights] | None:
    """Both encoders' weights; None when nobody liked two titles. `progress` hears the loss of every step."""
    rng = np.random.default_rng(settings.seed)
    content = start_content(lessons.terms.shape[1], lessons.text.shape[1], rng)
    user = start_user(content.dims, rng)
    able = np.flatnonzero(np.diff(lessons.liked.indptr) > 1)
    if not len(able):
        return None
    known = np.flatnonzero(np.bincount(lessons.liked.indices, minlength=lessons.liked.shape[1]))
    adam = Adam({**_named(content), **_named(user)})
    for step in range(settings.steps):
        batch = draw(lessons.liked, able, known, settings, rng)
        terms, text = dropped(lessons, batch.titles, settings, rng)
        loss, gradients = loss_and_gradients(content, user, batch, terms, text, settings.sharpness)
        adam.step(gradients, settings.rate * min(1.0, 2.0 * (1.0 - step / settings.steps)))
        content = ContentWeights(**{name: adam.values[name] for name in _named(content)})
        user = UserWeights(**{name: adam.values[name] for name in _named(user)})
        progress(step, loss)
    return content, user


def draw(
    liked: sparse.csr_array, able: NDArray[np.intp], known: NDArray[np.intp], settings: EncoderSettings,
    rng: np.random.Generator,
) -> Batch:  # fmt: skip
    """Some of the `able` users, each one's likes cut at a random place of a random order into shown and hidden."""
    users = rng.choice(able, min(settings.users, len(able)), replace=False)
    shown, hidden = [], []
    for user in users:
        own = rng.permutation(liked.indices[liked.indptr[user] : liked.indptr[user + 1]])
        cut = int(rng.integers(1, len(own)))
        shown.append(own[:cut][: settings.history])
        hidden.append(own[cut:][: settings.targets])
    others = rng.choice(known, min(settings.negatives, len(known)), replace=False)
    titles = np.unique(np.concatenate([*shown, *hidden, others])).astype(np.intp)
    excluded = (liked[users][:, titles]).toarray() > 0
    (shown_at, strength), (hidden_at, share) = (_padded(lists, titles) for lists in (shown, hidden))
    rows, columns = np.nonzero(share)
    excluded[rows, hidden_at[rows, columns]] = False
    return Batch(titles, shown_at, strength, hidden_at, share, excluded)


def _padded(lists: list[NDArray[np.integer]], titles: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
    """Ragged lists of title numbers as (b, L) places in `titles`, ascending, and (b, L) weights that sum to 1."""
    width = max(len(one) for one in lists)
    places, weights = np.zeros((len(lists), width), np.intp), np.zeros((len(lists), width), np.float32)
    for row, one in enumerate(lists):
        places[row, : len(one)] = np.searchsorted(titles, one)
        weights[row, : len(one)] = 1.0 / len(one)
    return places, weights


def dropped(
    lessons: Lessons, titles: NDArray[np.intp], settings: EncoderSettings, rng: np.random.Generator
) -> tuple[sparse.csr_array, Floats]:
    """Features and text vectors of `titles` with parts left out at random; what stays is scaled up for lost terms."""
    terms, text = sparse.csr_array(lessons.terms[titles], copy=True), lessons.text[titles]
    without_text = (rng.random(len(titles)) < settings.drop_text) | ~text.any(axis=1)
    kept = rng.random(len(terms.data)) >= settings.drop_terms
    whole = (rng.random(len(titles)) >= settings.drop_structure) | without_text  # never both parts
    scale = (kept & np.repeat(whole, np.diff(terms.indptr))) / (1.0 - settings.drop_terms)
    terms.data = (terms.data * scale).astype(terms.data.dtype)
    return terms, np.where(without_text[:, None], text.dtype.type(0), text)


def loss_and_gradients(
    content: ContentWeights, user: UserWeights, batch: Batch, terms: sparse.csr_array, text: Floats, sharpness: float
) -> tuple[float, dict[str, Floats]]:
    """Mean cross-entropy of the hidden titles under softmax(sharpness u . e), and its true gradient by weight name."""
    titles = encode_titles(content, terms, text)
    users = encode_users(user, titles.vectors[batch.shown], batch.strength)
    scores = sharpness * (users.vectors @ titles.vectors.T)
    scores[batch.excluded] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    chance = np.exp(scores)
    total = chance.sum(axis=1, keepdims=True)
    chance /= total
    rows = np.arange(len(scores))[:, None]
    present = batch.share > 0
    logs = np.where(present, scores[rows, batch.hidden] - np.log(total), 0)
    loss = -float((batch.share * logs).sum() / len(scores))
    np.subtract.at(chance, (np.broadcast_to(rows, present.shape)[present], batch.hidden[present]), batch.share[present])
    by_score = chance * (sharpness / len(scores))
    gradients, by_history = user_gradients(user, users, by_score @ titles.vectors)
    by_title = by_score.T @ users.vectors + _gathered_back(batch, by_history)
    return loss, gradients | title_gradients(content, titles, by_title)


def _gathered_back(batch: Batch, by_history: Floats) -> Floats:
    """(n, d) sums over the places where each of the batch's n titles was shown, of gradients (b, L, d)."""
    shown = batch.strength > 0
    ones = np.ones(int(shown.sum()), by_history.dtype)
    places = (batch.shown[shown], np.arange(len(ones)))
    return sparse.csr_array((ones, places), shape=(len(batch.titles), len(ones))) @ by_history[shown]


class Adam:
    """Adam (Kingma & Ba 2015) with betas .9 and .99: runs are too short for a longer memory.

    In place, because the table of terms has millions of weights.
    """

    def __init__(self, values: dict[str, Floats]) -> None:
        self.values = {name: value.copy() for name, value in values.items()}
        self._change = {name: np.empty_like(value) for name, value in values.items()}  # room to work in
        self._mean = {name: np.zeros_like(value) for name, value in values.items()}
        self._square = {name: np.zeros_like(value) for name, value in values.items()}
        self._steps = 0

    def step(self, gradients: dict[str, Floats], rate: float) -> None:
        """One update of `values` by gradients of the same names and shapes, at learning rate `rate`."""
        self._steps += 1
        rate *= np.sqrt(1 - 0.99**self._steps) / (1 - 0.9**self._steps)
        for name, gradient in gradients.items():
            mean, square, change = self._mean[name], self._square[name], self._change[name]
            mean *= np.float32(0.9)
            mean += np.multiply(gradient, np.float32(0.1), out=change)
            square *= np.float32(0.99)
            square += np.multiply(np.multiply(gradient, gradient, out=change), np.float32(0.01), out=change)
            np.sqrt(square, out=change)
            change += np.float32(1e-8)
            np.divide(mean, change, out=change)
            change *= np.float32(rate)
            self.values[name] -= change


def _named(weights: ContentWeights | UserWeights) -> dict[str, Floats]:
    return {part.name: getattr(weights, part.name) for part in fields(weights)}
