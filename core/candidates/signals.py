"""What is known of every title for one viewer, signal by signal: what fusion by log-odds adds up."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import NDArray

from core.candidates.cold_start import cold_start_scores
from core.candidates.collaborative import following, lasting, live, onward, sequence, similar
from core.candidates.content import content_scores
from core.candidates.context import context_scores
from core.candidates.graph import graph_scores
from core.candidates.kindred import kindred
from core.candidates.next_title import next_title
from core.candidates.rarity import rarity
from core.candidates.rising import rising
from core.candidates.viewer import Viewer

SIGNALS: dict[str, Callable[[Viewer], NDArray]] = {
    "similar": similar,
    "following": following,
    "onward": onward,
    "live": live,
    "sequence": sequence,
    "lasting": lasting,
    "kindred": kindred,
    "next_title": next_title,
    "content": content_scores,
    "graph": graph_scores,
    "context": context_scores,
    "rarity": rarity,
    "rising": rising,
    "cold_start": cold_start_scores,
}

STRATEGY_OF = {
    **dict.fromkeys(
        ("similar", "following", "onward", "live", "sequence", "lasting", "kindred", "next_title"), "collaborative"
    ),
    **dict.fromkeys(("rarity", "rising"), "context"),  # wanted now, beyond what is always popular
}
"""Signals that are parts of one strategy; the others are strategies of their own."""

FULL_EVIDENCE = {"live": 0.6, "rising": 1.0}
"""What a signal's best score must reach to stand for full evidence. What one person went on to is little evidence: on
the validation windows of two data sets .6 and .3 did better than letting the best of a few count in full. What rises
is measured by the most popular title, risen or not."""
