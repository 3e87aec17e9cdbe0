"""Behaviour cases 80 and 93: user adapters. Of 80 the shapes 8 x 512 and 768 x 8 are left out: both factors have the
user vectors' dimension here. 79 (training at every tenth event) is replaced by the thresholds of the adaptation
decision."""

import numpy as np

from core.adaptation.ewc import Ewc
from core.adaptation.lora import fresh
from core.adaptation.train import Preferences, train_adapter
from core.numeric.vectors import unit_rows


def test_case_80_the_scaling_is_alpha_over_rank():
    lora = fresh(512, 8, 16.0, np.random.default_rng(0))
    assert lora.scale == 2
    assert (lora.A.shape, lora.B.shape) == ((8, 512), (512, 8))


def test_case_93_training_lowers_the_loss_for_every_user():
    """Including users whose preference vector has a negative sum, where the original's step always went the wrong
    way."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        taste = rng.standard_normal((1, 48))
        taste = -np.abs(taste) if seed % 3 == 0 else taste
        queries = unit_rows((taste + 0.5 * rng.standard_normal((12, 48))).astype(np.float32))
        items = unit_rows(rng.standard_normal((60, 48)).astype(np.float32))
        data = Preferences.of_positives(queries, items[:12], items[12:].reshape(12, 4, 48))
        lora = fresh(48, 8, 16.0, rng)
        _, report = train_adapter(lora, data, None, Ewc(lora.B.size), interactions=12)
        assert report.loss_after < report.loss_before - 1e-3
