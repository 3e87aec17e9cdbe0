"""Attention over the signals as part of a snapshot build: learned from the examples that taught the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.ranking.attention_fit import learn_attention
from core.ranking.examples import Examples
from core.ranking.fit import as_matrix
from core.ranking.weights import FIXED
from core.snapshot.fusion_weights import LearnedFusion


def with_attention(learned: LearnedFusion, examples: Examples, devices: Sequence[str]) -> LearnedFusion:
    """The same with attention, by those mechanisms with which held-back examples are foretold better, best first.

    devices: names of the examples' device codes. Signals that no length of history weighs are left out.
    """
    weights = learned.weights or FIXED
    for name in [name for name in examples.names if not any(name in row for row in weights)]:
        examples = examples.without(name)
    kept, verdicts = learn_attention(examples, as_matrix(weights, examples.names), devices)
    found = {
        each.mechanism: {"gain": round(each.gain, 5), "error": round(each.error, 5), "kept": each.kept}
        for each in verdicts
    }
    best_first = sorted(kept, key=lambda attention: -found[attention.mechanism]["gain"])
    records = tuple(attention.to_record() for attention in best_first)
    return replace(learned, report=learned.report | {"attention": found}, attention=records)
