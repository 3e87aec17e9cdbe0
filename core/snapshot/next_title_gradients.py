"""How wrong the next-title network is about a batch, and where its weights should go: backpropagation by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.numeric.activations import sigmoid
from core.numeric.vectors import Floats
from core.snapshot.next_title_network import EPSILON, FADING, WINDOW, NextTitleNetwork, kernels


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """b sequences of at most L titles; the first axis is time.

    shown: (L, b) places of titles; kept: (L, b, d) what dropout multiplies them with, 0 beyond the end of a sequence;
    asked: (v,) positions of the flattened (L, b) after which the title `target` (v,) came; hidden: (v, f) dropout of
    the hidden layer; rivals: (s,) places, none twice, that targets are held against, each for e^mass (s,) titles.
    """

    shown: NDArray[np.intp]
    kept: Floats
    asked: NDArray[np.intp]
    target: NDArray[np.intp]
    hidden: Floats
    rivals: NDArray[np.intp]
    mass: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """What the way back needs of the way forward."""

    seen: Floats  # (L, b d)
    across: Floats  # (k L, L)
    sums: Floats  # (k, v, d)
    mixed: Floats  # (v, d)
    before: Floats  # (v, f)
    gate: Floats  # (v, f)
    inner: Floats  # (v, f)
    normal: Floats  # (v, d)
    scale: Floats  # (v, 1)


def loss_and_gradients(network: NextTitleNetwork, batch: Batch) -> tuple[float, dict[str, Floats]]:
    """Mean of -log P(title that came next), and its gradient by each array of weights."""
    forward = _forward(network, batch)
    state = forward.normal * network.gain + network.shift
    loss, by_state, gradients = _softmax(network, batch, state)
    gradients |= {"gain": (by_state * forward.normal).sum(axis=0), "shift": by_state.sum(axis=0)}
    return loss, gradients | _backward(network, batch, forward, by_state, gradients["embedding"])


def _forward(network: NextTitleNetwork, batch: Batch) -> _Pass:
    length, width, d = batch.kept.shape
    seen = network.embedding[batch.shown]
    seen *= batch.kept
    seen = seen.reshape(length, width * d)
    across = _across_time(kernels(network.ages), length)
    sums = (across @ seen).reshape(-1, length * width, d)[:, batch.asked]
    mixed = np.matmul(sums, network.mix).sum(axis=0)
    before = mixed @ network.up + network.up_bias
    gate = sigmoid(before)
    inner = before * gate * batch.hidden
    normal = mixed + inner @ network.down + network.down_bias
    normal -= normal.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt(np.einsum("vd,vd->v", normal, normal) / d + EPSILON)[:, None]
    normal *= scale
    return _Pass(seen, across, sums, mixed, before, gate, inner, normal, scale)


def _backward(
    network: NextTitleNetwork, batch: Batch, forward: _Pass, by_state: Floats, by_title: Floats
) -> dict[str, Floats]:
    """by_title: (m, d) gradient by embeddings as output, to which that as input is added."""
    k, d = len(network.ages), by_state.shape[1]
    by_after = by_state * network.gain
    by_after -= by_after.mean(axis=1, keepdims=True)
    by_after -= forward.normal * (np.einsum("vd,vd->v", by_after, forward.normal) / d)[:, None]
    by_after *= forward.scale
    by_before = by_after @ network.down.T
    by_before *= batch.hidden
    by_before *= forward.gate * (1 + forward.before * (1 - forward.gate))
    by_mixed = by_after + by_before @ network.up.T
    everywhere = np.zeros((k, batch.shown.size, d), by_state.dtype)
    everywhere[:, batch.asked] = np.matmul(by_mixed, network.mix.transpose(0, 2, 1))
    by_sums = everywhere.reshape(len(forward.across), -1)
    by_shown = (forward.across.T @ by_sums).reshape(batch.kept.shape) * batch.kept
    return {
        "down": forward.inner.T @ by_after,
        "down_bias": by_after.sum(axis=0),
        "up": forward.mixed.T @ by_before,
        "up_bias": by_before.sum(axis=0),
        "mix": np.matmul(forward.sums.transpose(0, 2, 1), by_mixed),
        "ages": _along_ages(by_sums @ forward.seen.T, k) * FADING.astype(by_state.dtype),
        "embedding": by_title + _summed(batch.shown.ravel(), by_shown.reshape(-1, d), len(by_title)),
    }


def _softmax(network: NextTitleNetwork, batch: Batch, state: Floats) -> tuple[float, Floats, dict[str, Floats]]:
    """The loss against a sample (Bengio & Senecal 2008), and its gradients by state (v, d), by embedding as output and
    by bias."""
    right, others = network.embedding[batch.target], network.embedding[batch.rivals]
    own = np.einsum("vd,vd->v", state, right) + network.bias[batch.target]
    chance = state @ others.T
    chance += network.bias[batch.rivals] + batch.mass
    chance[batch.target[:, None] == batch.rivals] = -np.inf  # no title is its own rival
    highest = np.maximum(chance.max(axis=1), own)
    chance -= highest[:, None]
    np.exp(chance, out=chance)
    own -= highest
    total = chance.sum(axis=1) + np.exp(own)
    loss = float(np.mean(np.log(total) - own))
    share = 1 / (total * len(total))
    chance *= share[:, None]
    missed = np.exp(own) * share - own.dtype.type(1 / len(total))  # (v,) gradient by the target's own logit
    by_state = chance @ others + missed[:, None] * right
    by_title = _summed(batch.target, missed[:, None] * state, len(network.embedding))
    by_title[batch.rivals] += chance.T @ state
    by_bias = np.bincount(batch.target, missed, minlength=len(by_title)).astype(state.dtype)
    by_bias[batch.rivals] += chance.sum(axis=0)
    return loss, by_state, {"embedding": by_title, "bias": by_bias}


def _summed(place: NDArray[np.intp], values: Floats, size: int) -> Floats:
    """(size, d) sums of the rows of values (v, d) by their place (v,)."""
    ones = np.ones(len(place), values.dtype)
    spread = sparse.csc_array((ones, place, np.arange(len(place) + 1)), shape=(size, len(place)))
    summed: Floats = spread @ values
    return summed


def _across_time(weights: Floats, length: int) -> Floats:
    """(k L, L): what each step takes of each earlier one and of itself, decay by decay, from weights (k, WINDOW)."""
    age = np.arange(length)[:, None] - np.arange(length)
    across: Floats = np.where(age >= 0, weights[:, np.maximum(age, 0)], weights.dtype.type(0))
    return across.reshape(-1, length)


def _along_ages(by_across: Floats, k: int) -> Floats:
    """(k, WINDOW) sums over equal ages of gradients (k L, L) by what `_across_time` spread."""
    length = by_across.shape[1]
    age = (np.arange(length)[:, None] - np.arange(length)).ravel()
    past = np.flatnonzero(age >= 0)
    summed = [np.bincount(age[past], each[past], minlength=WINDOW) for each in by_across.reshape(k, -1)]
    return np.array(summed, by_across.dtype)
