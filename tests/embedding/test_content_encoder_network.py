"""The gradients that train the encoders."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import sparse

from core.embedding.content_encoder_network import encode_titles, start_content
from core.embedding.content_encoder_training import Batch, loss_and_gradients
from core.embedding.user_encoder_network import encode_users, start_user


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def in_double(weights):
    return replace(
        weights, **{field.name: getattr(weights, field.name).astype(np.float64) for field in fields(weights)}
    )


@pytest.fixture
def problem(rng):
    """Six titles of five features and three text dimensions, two users; every weight away from its start."""
    content, user = in_double(start_content(5, 3, rng, dims=4)), in_double(start_user(4, rng))
    content = replace(content, bias=rng.normal(0, 0.1, 4))
    user = replace(user, query=rng.normal(0, 1, user.query.shape), shift=rng.normal(0, 0.3, 4))
    terms = sparse.csr_array(rng.random((6, 5)) * (rng.random((6, 5)) < 0.7))
    batch = Batch(
        titles=np.arange(6),
        shown=np.array([[0, 1, 2], [3, 0, 0]]),
        strength=np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]),
        hidden=np.array([[3, 4], [5, 0]]),
        share=np.array([[0.5, 0.5], [1.0, 0.0]]),
        excluded=np.array([[True, True, True, False, False, False], [False, False, False, True, False, False]]),
    )
    return content, user, batch, terms, rng.normal(0, 1, (6, 3))


def test_every_gradient_is_that_of_the_loss(problem, rng):
    content, user, batch, terms, text = problem
    _, gradients = loss_and_gradients(content, user, batch, terms, text, 3.0)
    for part, names in ((content, ("terms", "text", "bias", "hidden")), (user, ("keys", "query", "turn", "shift"))):
        for name in names:
            direction = rng.normal(0, 1, getattr(part, name).shape)
            losses = []
            for step in (1e-6, -1e-6):
                moved = replace(part, **{name: getattr(part, name) + step * direction})
                pair = (moved, user) if part is content else (content, moved)
                losses.append(loss_and_gradients(*pair, batch, terms, text, 3.0)[0])
            slope = (losses[0] - losses[1]) / 2e-6
            assert (gradients[name] * direction).sum() == pytest.approx(slope, rel=2e-4, abs=1e-8), name


def test_the_loss_is_the_cross_entropy_of_what_was_hidden(problem):
    content, user, batch, terms, text = problem
    loss, _ = loss_and_gradients(content, user, batch, terms, text, 3.0)
    e = encode_titles(content, terms, text).vectors
    u = encode_users(user, e[batch.shown], batch.strength).vectors
    first = np.exp(3.0 * (e[3:] @ u[0]))
    second = np.exp(3.0 * (np.delete(e, 3, axis=0) @ u[1]))
    expected = -0.5 * (np.log(first[:2] / first.sum()).mean() + np.log(second[-1] / second.sum()))
    assert loss == pytest.approx(expected)


def test_untrained_attention_is_the_weighted_mean(rng):
    user = start_user(4, rng)
    history = rng.normal(0, 1, (1, 3, 4)).astype(np.float32)
    strength = np.array([[2.0, 1.0, 1.0]], np.float32)
    pooled = encode_users(user, history, strength).vectors[0]
    np.testing.assert_allclose(pooled, (2 * history[0, 0] + history[0, 1] + history[0, 2]) / 4, rtol=1e-5)


def test_untrained_titles_are_alike_that_share_features(rng):
    terms = sparse.csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 0.2], [0, 0, 1, 1]], np.float32))
    e = encode_titles(start_content(4, 0, rng), terms, np.zeros((3, 0), np.float32)).vectors
    assert e[0] @ e[1] > 0.9 > 0.4 > e[0] @ e[2]
