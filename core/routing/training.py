"""`sona train router`: from sentences to a model folder, with what was measured on sentences held back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.catalog import Title
from core.numeric.activations import sigmoid, softmax
from core.routing.calibrate import (
    Calibration,
    calibration_error,
    fit_plausible,
    fit_temperature,
    fit_threshold,
    folds_by_meaning,
    secondary_f1,
)
from core.routing.corpus import Sentence, from_templates, hand_written, with_slips
from core.routing.head import Network
from core.routing.router import Router, save_router
from core.routing.routes import CLASSES
from core.routing.sequences import Floats, padded
from core.routing.train import Examples, Recipe, examples, fit

Progress = Callable[[str], None]
FOLDS = 4
COMMAND = "sona train router"


class TokenVectors(Protocol):
    """What training needs of an encoder: core.embedding.encoder.Encoder."""

    version: str

    def token_vectors(self, texts: Sequence[str]) -> list[Floats]:
        """Per text (t, d), one row for each of its tokens."""


@dataclass(frozen=True, slots=True)
class Trained:
    """accuracy, error: of single-route sentences held back by meaning, before the last fit on all of them."""

    router: Router
    sentences: int
    corpus: str
    accuracy: float
    error: float
    secondary_f1: float

    def facts(self, recipe: Recipe) -> dict[str, Any]:
        """What a reader of the manifest wants to know."""
        return {
            "command": COMMAND,
            "encoder": self.router.encoder,
            "parameters": sum(int(values.size) for values in self.router.network.arrays().values()),
            "recipe": asdict(recipe),
            "sentences": self.sentences,
            "corpus_sha256": self.corpus,
            "held_back": {
                "accuracy": round(self.accuracy, 4),
                "calibration_error": round(self.error, 4),
                "secondary_f1": round(self.secondary_f1, 4),
            },
        }


def train_router(
    encoder: TokenVectors, titles: Sequence[Title], recipe: Recipe, say: Progress = lambda text: None
) -> Trained:
    """Train, calibrate on sentences held back in FOLDS rounds, and train once more on everything."""
    rng = np.random.default_rng(recipe.seed)
    written = hand_written()
    made = from_templates(titles, rng, recipe.templates)
    slipped = [place for place in range(len(written)) if rng.random() < recipe.slips]
    careless = [Sentence(with_slips(written[place].text, rng), written[place].routes) for place in slipped]
    everything = [*written, *careless, *made]
    say(f"encoding {len(everything)} sentences")
    tokens = encoder.token_vectors([sentence.text for sentence in everything])
    weight = np.ones(len(everything), np.float32)
    weight[len(written) + len(careless) :] = recipe.template_weight
    learned = examples(everything, tokens, weight, recipe)

    means = np.array([vectors.mean(axis=0) for vectors in tokens[: len(written)]], np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    fold = folds_by_meaning(means, FOLDS, rng)
    fold = np.concatenate([fold, fold[slipped], np.full(len(made), -1)])  # templates are never held back
    classes, also = _held_back(learned, fold, len(written), recipe, say)
    calibration, figures = _calibrate(classes, also, learned, len(written), written)
    say("training on everything")
    network = fit(learned, recipe, lambda epoch, epochs, loss: say(f"epoch {epoch} of {epochs}: loss {loss:.3f}"))
    digest = hashlib.sha256("\n".join(f"{'+'.join(s.routes)}|{s.text}" for s in everything).encode()).hexdigest()
    version = f"router-{digest[:8]}-{encoder.version}"
    return Trained(Router(network, calibration, encoder.version, version), len(everything), digest, *figures)


def _held_back(learned: Examples, fold: Any, written: int, recipe: Recipe, say: Progress) -> tuple[Floats, Floats]:
    """Logits (written, 7) and (written, 6) of hand-written sentences by networks that have not seen their like."""
    classes, also = np.zeros((written, len(CLASSES)), np.float32), np.zeros((written, len(CLASSES) - 1), np.float32)
    for number in range(FOLDS):
        say(f"calibrating: round {number + 1} of {FOLDS}")
        network = fit(learned.subset(np.flatnonzero(fold != number)), recipe)
        places = np.flatnonzero(fold[:written] == number)
        classes[places], also[places] = logits(network, [learned.sequences[place] for place in places])
    return classes, also


def logits(network: Network, sequences: Sequence[Floats], size: int = 256) -> tuple[Floats, Floats]:
    """Logits of sequences (t_i, d), in batches of `size`."""
    parts = [network.logits(*padded(sequences[start : start + size])) for start in range(0, len(sequences), size)]
    return np.concatenate([classes for classes, _ in parts]), np.concatenate([also for _, also in parts])


def _calibrate(
    classes: Floats, also: Floats, learned: Examples, written: int, sentences: Sequence[Sentence]
) -> tuple[Calibration, tuple[float, float, float]]:
    wanted = learned.wanted[:written].argmax(axis=1)
    single = np.array([len(sentence.routes) == 1 for sentence in sentences])
    temperature = fit_temperature(classes[single], wanted[single])
    chances, leading = softmax(classes / temperature), classes.argmax(axis=1)
    named = sigmoid(also)
    threshold = fit_threshold(named, leading, learned.parts[:written])
    correct = leading == wanted
    figures = (
        float(correct[single].mean()),
        calibration_error(chances.max(axis=1)[single], correct[single]),
        secondary_f1(named >= threshold, leading, learned.parts[:written]),
    )
    return Calibration(temperature, threshold, fit_plausible(chances[single], wanted[single])), figures


def write(trained: Trained, folder: Path, kind: str, recipe: Recipe) -> dict[str, Any]:
    """Save the router to a model folder and return its manifest's facts."""
    facts = trained.facts(recipe)
    save_router(folder, trained.router, kind, facts)
    return dict(json.loads(json.dumps(facts)))
