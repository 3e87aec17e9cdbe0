"""The adaptation decision: three thresholds, each of which alone can say no."""

import pytest

from core.adaptation.trigger import Thresholds, adaptation_due


@pytest.mark.parametrize(
    ("interactions", "signal", "elapsed_s", "due"),
    [
        (5, 0.71, 3600, True),
        (4, 9.0, 9999, False),
        (50, 0.7, 9999, False),
        (50, 9.0, 3599, False),
        (5, 0.71, None, True),
    ],
)
def test_all_three_thresholds_must_be_met(interactions, signal, elapsed_s, due):
    now = 1_000_000.0
    last = None if elapsed_s is None else now - elapsed_s
    assert adaptation_due(interactions, signal, now, last) is due


def test_thresholds_are_settings():
    eager = Thresholds(interactions=1, interval_s=0.0, signal=0.0)
    assert adaptation_due(1, 0.1, 10.0, 10.0, eager)
    assert not adaptation_due(0, 0.1, 10.0, 10.0, eager)
