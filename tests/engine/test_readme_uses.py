"""The uses that the original's README promises, each on a small world where chance and the best possible are known.

Every test learns on one part of the world and is judged on fresh queries of the same kind.
"""

import numpy as np

from core.engine import LearningSignal, SonaConfig, SonaEngine
from core.numeric.vectors import unit_rows

DIM = 64


def make_engine(seed):
    return SonaEngine(SonaConfig(embedding_dim=DIM, hidden_dim=DIM, seed=seed))


def directions(rng, n):
    return unit_rows(rng.standard_normal((n, DIM)).astype(np.float32))


def near(rng, centre, noise=0.03):
    return centre + np.float32(noise) * rng.standard_normal(DIM).astype(np.float32)


def test_response_quality_improves_from_thumbs_up_and_down():
    """Six possible responses; users like one. The engine only ever sees thumbs for a response picked at random.
    Afterwards the adapted query ranks the liked response first far more often than the raw query does (about 1 in
    6)."""
    raw = adapted = trials = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        engine, topic, responses = make_engine(seed), directions(rng, 1)[0], directions(rng, 6)
        for _ in range(90):
            shown = int(rng.integers(6))
            id = engine.start_trajectory(near(rng, topic))
            engine.record_step(id, shown, 0.5, 100, activation=responses[shown])
            engine.end_trajectory(id, 0.5)
            thumb = LearningSignal.positive(50.0, 0.95) if shown == 2 else LearningSignal.negative(50.0, 0.2)
            engine.learn_from_feedback(thumb)
        for _ in range(10):
            query = near(rng, topic)
            raw += int(np.argmax(responses @ query)) == 2
            adapted += int(np.argmax(responses @ engine.apply_lora(query))) == 2
            trials += 1
    assert adapted / trials >= 0.95
    assert adapted / trials >= raw / trials + 0.5


def test_the_best_model_is_selected_per_kind_of_query():
    """Four models, three kinds of query, each kind with another best model; outcomes are noisy. Learned from 40 random
    tries per kind, the choice must lose little to the best and win clearly over the best fixed model and over
    chance."""
    skill = np.array([[0.9, 0.5, 0.4, 0.6], [0.4, 0.9, 0.5, 0.6], [0.5, 0.4, 0.9, 0.6]])
    learned = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        engine, kinds = make_engine(seed), directions(rng, 3)
        for i in range(120):
            kind, model = i % 3, int(rng.integers(4))
            id = engine.start_trajectory(near(rng, kinds[kind]))
            engine.record_step(id, model, 0.5, 100)
            engine.end_trajectory(id, skill[kind, model] + 0.1 * rng.standard_normal())
        for i in range(30):
            scores = engine.predict_variant_scores(near(rng, kinds[i % 3]))
            learned.append(skill[i % 3, max(scores, key=scores.get)])
    chance, best_fixed, best = skill.mean(), skill.mean(axis=0).max(), skill.max(axis=1).mean()
    assert np.mean(learned) >= best_fixed + 0.2
    assert np.mean(learned) >= chance + 0.25
    assert np.mean(learned) >= best - 0.02


def test_latency_is_traded_against_quality():
    """A slow model answers a little better (.90 in 4 s), a fast one nearly as well (.85 in .2 s). Judged by feedback
    that carries latency, the fast one is learned; judged without, the slow one. Chance is one half."""
    models = {"slow": (0.90, 4000.0), "fast": (0.85, 200.0)}
    choices = {"with latency": [], "without": []}
    for seed in range(20):
        for judged in choices:
            rng = np.random.default_rng(seed)
            engine, topic = make_engine(seed), directions(rng, 1)[0]
            for i in range(40):
                name = ("slow", "fast")[i % 2]
                quality, latency_ms = models[name]
                id = engine.start_trajectory(near(rng, topic))
                engine.record_step(id, name, 0.5, latency_ms * 1000)
                noisy = quality + 0.03 * rng.standard_normal()
                engine.end_trajectory(id, 0.5)
                waited = latency_ms if judged == "with latency" else 0.0
                engine.learn_from_feedback(LearningSignal.from_feedback(True, waited, noisy))
            scores = engine.predict_variant_scores(near(rng, topic))
            choices[judged].append(max(scores, key=scores.get))
    assert choices["with latency"].count("fast") >= 19
    assert choices["without"].count("slow") >= 18


def test_patience_as_importance_scales_what_is_learned():
    """The README's explicit form: importance .8 for an impatient user moves the output more than .3 for a patient
    one."""
    rng = np.random.default_rng(0)
    gradient, lengths = directions(rng, 1)[0], []
    for importance in (0.3, 0.8, -0.8):
        engine = make_engine(0)
        engine.learn_from_feedback(LearningSignal(gradient, importance, 0.0))
        lengths.append(float((engine.apply_micro_lora(gradient) - gradient) @ gradient))
    patient, impatient, against = lengths
    assert np.isclose(impatient / patient, 0.8 / 0.3, rtol=0.01)
    assert np.isclose(against, -impatient, rtol=0.01)


def test_ucb_converges_on_the_winning_variant():
    """Five variants with success rates .3 to .7, 300 requests: the choice must find the best one, cost little on the
    way, and still have tried every variant. Uniform assignment earns .5."""
    rates = [0.3, 0.4, 0.5, 0.7, 0.6]
    earned, late = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        engine, topic, tried = make_engine(seed), directions(rng, 1)[0], set()
        for i in range(300):
            query = near(rng, topic)
            variant = engine.select_by_ucb(range(5), engine.predict_variant_scores(query))
            tried.add(variant)
            outcome = float(rng.random() < rates[variant])
            id = engine.start_trajectory(query)
            engine.record_step(id, variant, outcome, 100)
            engine.end_trajectory(id, outcome)
            earned.append(rates[variant])
            late += [rates[variant]] if i >= 200 else []
        assert tried == set(range(5))
    assert np.mean(earned) >= 0.57
    assert np.mean(late) >= 0.60


def test_the_adapted_query_prefers_liked_items_for_unseen_queries_of_a_taste():
    """Many different queries share one taste: of two items, the one with more of a hidden trait is liked, and one of
    the two is shown at random. The adapted query prefers the liked one of unseen pairs more often than the raw query
    (one half)."""
    raw, adapted = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        engine = SonaEngine(SonaConfig(embedding_dim=16, hidden_dim=16, seed=seed))
        trait, centre = unit_rows(rng.standard_normal((2, 16)).astype(np.float32))
        for learning in [True] * 300 + [False] * 60:
            query = centre + np.float32(0.05) * rng.standard_normal(16).astype(np.float32)
            items = unit_rows(rng.standard_normal((2, 16)).astype(np.float32))
            liked, shown = int(np.argmax(items @ trait)), int(rng.integers(2))
            if learning:
                id = engine.start_trajectory(query)
                engine.record_step(id, 0, 0.5, 10, activation=items[shown])
                engine.end_trajectory(id, float(shown == liked))
                if id % 100 == 99:
                    engine.run_background_cycle()
            else:
                raw.append(int(np.argmax(items @ query)) == liked)
                adapted.append(int(np.argmax(items @ engine.apply_lora(query))) == liked)
    assert abs(np.mean(raw) - 0.5) < 0.08
    assert np.mean(adapted) >= np.mean(raw) + 0.1
