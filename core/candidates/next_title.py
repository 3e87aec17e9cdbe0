"""What a small network, trained on the order of everybody's likes, expects next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.candidates.viewer import Viewer


def next_title(viewer: Viewer) -> NDArray:
    """(n,) float32: how probable each title is to be liked next, the most probable of the allowed ones = 1; zeros where
    the snapshot has no network, or the network knows none of the liked titles."""
    scores = np.zeros(len(viewer.allowed), np.float32)
    network = viewer.snapshot.next_title
    if network is None:
        return scores
    places = network.places(viewer.rows[viewer.liking > 0])
    if not len(places):
        return scores
    logits = np.where(viewer.allowed[network.titles], network.logits(places), -np.inf)
    best = logits.max()
    if np.isfinite(best):
        scores[network.titles] = np.exp(logits - best)
    return scores
