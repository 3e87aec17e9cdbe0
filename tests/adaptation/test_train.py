"""Adapting a user: the gradient is true, the loss falls, harm is rolled back, EWC holds, batches equal single users."""

import dataclasses

import numpy as np
import pytest

from core.adaptation.ewc import Ewc
from core.adaptation.lora import Lora, fresh, preference_gradient, preference_loss, spectral_norm
from core.adaptation.train import (
    Judge,
    Objective,
    Preferences,
    TrainSettings,
    descend,
    finish_taste,
    train_adapter,
    train_users,
)
from core.errors import InvalidInput
from core.numeric.vectors import unit_rows

DIM, RANK = 32, 4


def rows(rng, *shape):
    return unit_rows(rng.standard_normal((int(np.prod(shape[:-1])), shape[-1])).astype(np.float32)).reshape(shape)


def preferences(rng, n=20, m=3, taste=None):
    taste = rows(rng, 1, DIM) if taste is None else taste
    positives = unit_rows(taste + 0.3 * rows(rng, n, DIM))
    return Preferences.of_positives(rows(rng, n, DIM) + taste, positives, rows(rng, n, m, DIM))


def stacked(users):
    return Preferences(*(np.stack([getattr(u, f.name) for u in users]) for f in dataclasses.fields(Preferences)))


def empty_lora(rng):
    return fresh(DIM, RANK, 4.0, rng)


def test_the_objective_is_the_preference_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    data = preferences(rng)
    data = dataclasses.replace(data, weights=np.ones_like(data.weights))
    lora = Lora(rng.standard_normal((RANK, DIM)), rng.standard_normal((DIM, RANK)), 4.0)
    objective = Objective(lora.A, lora.scale, data, temperature=0.5)
    args = (lora, data.queries, data.items, data.labels, 0.5)
    assert float(objective.loss(lora.B)) == pytest.approx(preference_loss(*args), rel=1e-4)
    assert np.allclose(objective.gradient(lora.B), preference_gradient(*args)[1], atol=1e-4)


def test_the_fisher_is_the_mean_of_squared_single_gradients():
    rng = np.random.default_rng(1)
    data, lora = preferences(rng, n=4, m=1), empty_lora(rng)
    whole = Objective(lora.A, lora.scale, data, 0.5)
    expected = np.zeros((DIM, RANK))
    for i in range(len(data)):
        one = Preferences(*(getattr(data, f.name)[i : i + 1] for f in dataclasses.fields(data)))
        single = dataclasses.replace(one, weights=np.ones(1, np.float32))
        expected += Objective(lora.A, lora.scale, single, 0.5).gradient(lora.B) ** 2 / len(data)
    assert np.allclose(whole.squared_gradient(lora.B), expected, atol=1e-6)


def test_weights_of_zero_are_padding():
    rng = np.random.default_rng(2)
    data, lora = preferences(rng), empty_lora(rng)
    padded = Preferences(
        np.concatenate([data.queries, rows(rng, 5, DIM)]), np.concatenate([data.items, rows(rng, 5, DIM)]),
        np.concatenate([data.labels, np.ones(5, np.float32)]), np.concatenate([data.weights, np.zeros(5, np.float32)]),
    )  # fmt: skip
    first, second = (train_adapter(lora, d, None, Ewc(lora.B.size), 0)[0] for d in (data, padded))
    assert np.allclose(first.B, second.B, atol=1e-5)


def test_an_update_is_accepted_when_held_back_preferences_agree():
    rng = np.random.default_rng(3)
    taste, lora = rows(rng, 1, DIM), empty_lora(rng)
    seen = lora.A[:1]  # the sessions are of a kind that A sees, and unlike the taste

    def some():
        return dataclasses.replace(preferences(rng, taste=taste), queries=np.repeat(seen, 80, axis=0))

    ewc = Ewc(lora.B.size)
    trained, report = train_adapter(lora, some(), some(), ewc, 0)
    assert report.accepted
    assert report.loss_after < report.loss_before
    assert report.held_back_after < report.held_back_before
    assert report.gradient_norm > 0
    assert report.drift == pytest.approx(np.linalg.norm(trained.B), rel=1e-4)
    assert ewc.samples == 80


def test_a_harmful_update_is_rolled_back_and_leaves_no_trace():
    rng = np.random.default_rng(4)
    lora = empty_lora(rng)
    liked = dataclasses.replace(preferences(rng), queries=np.repeat(lora.A[:1], 80, axis=0))
    ewc = Ewc(lora.B.size)
    opposite = dataclasses.replace(liked, labels=1 - liked.labels)
    kept, report = train_adapter(lora, liked, opposite, ewc, 0)
    assert report.verdict == "rolled_back"
    assert report.held_back_after > report.held_back_before
    assert report.order_after < report.order_before
    assert kept is lora
    assert ewc.samples == 0


def test_the_judge_counts_pairs_of_one_query_in_the_right_order():
    rng = np.random.default_rng(10)
    queries, likes, others = rows(rng, 3, DIM), rows(rng, 3, DIM), rows(rng, 3, 2, DIM)
    data = Preferences.of_positives(queries, likes, others)
    judge = Judge(Objective(np.zeros((RANK, DIM), np.float32), 1.0, data, 1.0), data)
    expected = [[float(q @ v > q @ w) for w in several] for q, v, several in zip(queries, likes, others, strict=True)]
    order = judge.order(np.zeros((DIM, RANK), np.float32))
    assert order.sum() == pytest.approx(np.mean(expected))
    assert np.allclose(order[:3] * 3, np.mean(expected, axis=1))


def test_scores_that_grow_too_sure_raise_the_loss_and_not_the_order():
    """Right order, wrong calibration: the same adapter ten times as large is no harm."""
    rng = np.random.default_rng(11)
    lora = empty_lora(rng)
    data = dataclasses.replace(preferences(rng, n=40), queries=np.repeat(lora.A[:1], 160, axis=0))
    trained, _ = train_adapter(lora, data, None, Ewc(lora.B.size), 0)
    objective = Objective(lora.A, lora.scale, data, 0.2)
    judge = Judge(objective, data)
    sure = trained.B * 50
    assert objective.loss(sure) > objective.loss(trained.B)
    assert judge.order(sure).sum() >= judge.order(trained.B).sum() - 0.02


def test_what_chance_may_do_is_no_harm_and_what_it_may_not_is():
    rng = np.random.default_rng(12)
    data = Preferences.of_positives(rows(rng, 10, DIM), rows(rng, 10, DIM), rows(rng, 10, 4, DIM))
    judge = Judge(Objective(np.eye(RANK, DIM, dtype=np.float32), 1.0, data, 1.0), data)
    before = judge.pairs.sum(axis=-1)
    one, most = before.copy(), before.copy()
    one[3] = 0
    most[:8] = 0
    assert judge.worse(before, one, 0.0)
    assert not judge.worse(before, one, 2.0)
    assert judge.worse(before, most, 2.0)
    assert not judge.worse(before, before * 0, np.inf)
    assert not judge.worse(before, before, 0.0)


def test_the_adapter_stays_bounded_however_often_it_is_trained():
    rng = np.random.default_rng(5)
    lora, ewc, data = empty_lora(rng), Ewc(DIM * RANK), preferences(rng)
    for _ in range(30):
        lora, _ = train_adapter(lora, data, None, ewc, 0, TrainSettings(limit=0.5))
    assert spectral_norm(lora.A, lora.B, lora.scale) <= 0.501


def test_ewc_keeps_an_old_taste_that_training_alone_forgets():
    old_losses = {}
    for strength in (0.0, 0.4, 20.0):
        rng = np.random.default_rng(6)
        lora, old = empty_lora(rng), preferences(rng, n=40)
        new = dataclasses.replace(old, labels=1 - old.labels)  # the strictest conflict: the same items, now disliked
        ewc = Ewc(lora.B.size, strength)
        for _ in range(6):
            lora, _ = train_adapter(lora, old, None, ewc, 0)
        finish_taste(lora, ewc)
        learned = float(Objective(lora.A, lora.scale, old, 0.2).loss(lora.B))
        for _ in range(6):
            lora, _ = train_adapter(lora, new, None, ewc, 0)
        old_losses[strength] = float(Objective(lora.A, lora.scale, old, 0.2).loss(lora.B)) - learned
    assert old_losses[20.0] < old_losses[0.4] < old_losses[0.0]


def test_an_enormous_lambda_freezes_and_does_not_explode():
    rng = np.random.default_rng(7)
    lora, data = empty_lora(rng), preferences(rng)
    ewc = Ewc(lora.B.size, strength=1e9)
    ewc.observe(np.ones(lora.B.size))
    ewc.finish_task(np.zeros(lora.B.size))
    trained, report = train_adapter(lora, data, None, ewc, 0)
    assert np.abs(trained.B).max() < 1e-6
    assert report.loss_after <= report.loss_before


def test_many_users_train_in_one_batch_as_they_would_alone():
    rng = np.random.default_rng(8)
    lora = empty_lora(rng)
    users = [preferences(rng) for _ in range(5)]
    together = stacked(users)
    zero = np.zeros((5, DIM, RANK), np.float32)
    rates = np.full(5, 0.5, np.float32)
    batch, norms = descend(Objective(lora.A, lora.scale, together, 0.2), zero, zero, zero, rates, 5)
    for i, user in enumerate(users):
        single, norm = descend(Objective(lora.A, lora.scale, user, 0.2), zero[0], zero[0], zero[0], 0.5, 5)
        assert np.allclose(batch[i], single, atol=1e-5)
        assert norms[i] == pytest.approx(float(norm), rel=1e-3)


def test_the_rate_falls_with_the_interactions():
    rng = np.random.default_rng(10)
    lora, data = empty_lora(rng), preferences(rng)
    reports = [train_adapter(lora, data, None, Ewc(lora.B.size), n)[1] for n in (0, 500, 5000)]
    assert reports[1].learning_rate == reports[0].learning_rate / 2
    assert reports[2].drift < reports[1].drift < reports[0].drift


def test_users_are_judged_one_by_one():
    """Three users in one batch: one whose held-back preferences agree, one whose contradict, one without any."""
    rng = np.random.default_rng(11)
    lora = empty_lora(rng)
    liked = dataclasses.replace(preferences(rng), queries=np.repeat(lora.A[:1], 80, axis=0))
    opposite = dataclasses.replace(liked, labels=1 - liked.labels)
    nobody = dataclasses.replace(liked, weights=np.zeros_like(liked.weights))
    zero = np.zeros((3, DIM, RANK), np.float32)
    trained = train_users(
        lora.A, 4.0, zero, stacked([liked] * 3), stacked([liked, opposite, nobody]), zero, zero, np.zeros(3, np.int64)
    )
    assert [report.verdict for report in trained.reports] == ["accepted", "rolled_back", "accepted"]
    assert trained.reports[2].held_back_after is None
    assert not trained.B[1].any()
    assert np.array_equal(trained.B[0], trained.B[2])


def test_nothing_to_learn_from_and_misfits_are_refused():
    rng = np.random.default_rng(9)
    lora, data = empty_lora(rng), preferences(rng)
    nothing = Preferences(*(getattr(data, f.name)[:0] for f in dataclasses.fields(data)))
    with pytest.raises(InvalidInput):
        train_adapter(lora, nothing, None, Ewc(lora.B.size), 0)
    with pytest.raises(InvalidInput):
        train_adapter(lora, data, None, Ewc(lora.B.size + 1), 0)
    with pytest.raises(InvalidInput):
        dataclasses.replace(data, labels=data.labels[:-1])
