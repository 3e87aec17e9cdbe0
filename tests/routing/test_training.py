"""Training: the loss's gradient, problems that need memory and a bend, the same result from the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from core.local.demo import demo_titles
from core.routing.corpus import Sentence, from_templates, hand_written, with_slips
from core.routing.head import loss_and_gradient, new_network
from core.routing.routes import CLASSES, OUT_OF_DOMAIN, ROUTES
from core.routing.sequences import padded
from core.routing.train import Examples, Recipe, examples, fit
from core.routing.training import logits

SMALL = Recipe(hidden=24, rank_w=12, rank_u=8, epochs=25, batch=32, learning_rate=0.01, dropout=0.0, pooled_only=0.0)
SMALL = replace(SMALL, token_dropout=0.0, smoothing=0.0)


def labelled(sequences: list[np.ndarray], classes: np.ndarray) -> Examples:
    n = len(sequences)
    wanted = np.eye(len(CLASSES), dtype=np.float32)[classes]
    return Examples(sequences, wanted, wanted[:, : len(ROUTES)].copy(), np.ones(n, np.float32))


def accuracy(problem: tuple[list[np.ndarray], np.ndarray], unseen: tuple[list[np.ndarray], np.ndarray]) -> float:
    network = fit(labelled(*problem), SMALL)
    return float((logits(network, unseen[0])[0].argmax(axis=1) == unseen[1]).mean())


def test_the_loss_has_the_gradient_that_finite_differences_find() -> None:
    rng = np.random.default_rng(0)
    network = new_network(rng, 5, 4, 3, 2, 7, 6)
    for values in network.arrays().values():
        values += 0.1 * rng.standard_normal(values.shape).astype(np.float32)
    for part in (network.cell, network.head):
        for name, values in part.arrays().items():
            setattr(part, name, values.astype(np.float64))
    x, mask = padded([rng.standard_normal((t, 5)).astype(np.float32) for t in (3, 1, 4)])
    wanted = rng.dirichlet(np.ones(7), 3)
    parts, weight = (rng.random((3, 6)) > 0.5) * 1.0, np.array([1.0, 0.5, 2.0])
    given = (x.astype(float), mask.astype(float), wanted, parts, weight, np.array([[2.0, 0, 2, 2]] * 3))
    gradient = loss_and_gradient(network, *given)[1]
    for name, values in network.arrays().items():
        place = tuple(int(rng.integers(size)) for size in values.shape)
        kept, step = values[place], 1e-6
        values[place] = kept + step
        above = loss_and_gradient(network, *given)[0]
        values[place] = kept - step
        below = loss_and_gradient(network, *given)[0]
        values[place] = kept
        assert gradient[name][place] == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-6), name


def test_it_learns_which_of_two_signs_came_first() -> None:
    def problem(rng: np.random.Generator, n: int) -> tuple[list[np.ndarray], np.ndarray]:
        classes = rng.integers(2, size=n)
        sequences = []
        for kind in classes:
            steps = 0.3 * rng.standard_normal((6, 4))
            first, second = sorted(rng.choice(6, 2, replace=False))
            steps[first, kind] += 2
            steps[second, 1 - kind] += 2
            sequences.append(steps.astype(np.float32))
        return sequences, classes

    rng = np.random.default_rng(1)
    assert accuracy(problem(rng, 600), problem(rng, 300)) >= 0.95


def test_the_same_examples_and_seed_give_the_same_network() -> None:
    rng = np.random.default_rng(2)
    problem = labelled([rng.standard_normal((3, 4)).astype(np.float32) for _ in range(40)], rng.integers(7, size=40))
    one, two = (fit(problem, replace(SMALL, epochs=2)) for _ in range(2))
    other = fit(problem, replace(SMALL, epochs=2, seed=1))
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, two.arrays()[name])
    assert np.abs(one.arrays()["w1"] - other.arrays()["w1"]).max() > 0.01


def test_a_mixed_sentence_is_mostly_its_leading_route() -> None:
    recipe = replace(SMALL, lead=0.7)
    sentences = [Sentence("a", ("mood_matching", "vector_search")), Sentence("b", (OUT_OF_DOMAIN,))]
    made = examples(sentences, [np.ones((2, 4), np.float32)] * 2, np.ones(2, np.float32), recipe)
    assert made.wanted[0, [2, 1]] == pytest.approx([0.7, 0.3])
    assert made.parts.tolist() == [[0, 1, 1, 0, 0, 0], [0] * 6]


def test_hundreds_of_sentences_are_written_for_every_class_and_templates_use_the_catalogue() -> None:
    written = hand_written()
    for name in CLASSES:
        assert sum(sentence.routes[0] == name for sentence in written) >= 300
    assert {route for sentence in written for route in sentence.routes} == set(CLASSES)
    titles = list(demo_titles())
    made = from_templates(titles, np.random.default_rng(0), 3)
    assert made == from_templates(titles, np.random.default_rng(0), 3)
    assert not any("{" in sentence.text for sentence in made)
    assert len({sentence.text for sentence in made}) == len(made) > 200


def test_slips_of_the_pen_change_a_letter_or_two() -> None:
    rng = np.random.default_rng(3)
    slipped = [with_slips("something similar to dune", rng) for _ in range(50)]
    assert all(abs(len(text) - 25) <= 2 for text in slipped)
    assert len(set(slipped)) > 30
    assert with_slips("m", rng) == "m"
