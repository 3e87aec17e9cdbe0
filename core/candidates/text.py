"""Titles that match what was asked for in words: by meaning and by the letters, fused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates.gather import Ranking, top
from core.ranking.fusion import fuse_rrf
from core.snapshot.snapshot import Snapshot

# Of the rankings in the fusion. Whoever writes a name means the letters: titles that have every word count once more.
SHARES = {"meaning": 0.5, "words": 0.2, "every_word": 0.3}
DEPTH = 200  # of each ranking; the hundredth match of a text is no match any more
PSEUDO_RELEVANT = 20  # titles that stand in for a query that cannot be encoded


@dataclass(frozen=True, slots=True)
class TextMatch:
    """How well every title matches a text. meaning: (n,) cosine of vectors; words: (n,) BM25F, 0: not at all;
    complete: (n,) has every word."""

    meaning: NDArray
    words: NDArray
    complete: NDArray


def by_words(snapshot: Snapshot, text: str) -> tuple[NDArray, NDArray]:
    """(n,) BM25F relevance of every title to a text, and (n,) which have every word of it; nothing for a snapshot
    without a lexicon."""
    n = len(snapshot)
    return snapshot.lexicon.match(text, n) if snapshot.lexicon else (np.zeros(n), np.zeros(n, bool))


def by_structure(snapshot: Snapshot, words: NDArray) -> NDArray:
    """(n,) similarity to the titles that share words with the text, by latent semantic analysis.

    The fallback where no encoder can read the query: the best matches by words, weighted by how well they match, are
    taken for what was meant (pseudo-relevance feedback, Rocchio 1971), in the space of the snapshot's vectors.
    """
    matches = top(words, np.ones(len(words), bool), PSEUDO_RELEVANT)
    if not len(matches.rows):
        return np.zeros(len(words))
    meant = matches.scores.astype(np.float32) @ snapshot.vectors[matches.rows].astype(np.float32)
    size = float(np.linalg.norm(meant))
    return snapshot.vectors.astype(np.float32) @ (meant / size) if size > 0 else np.zeros(len(words))


def by_text(match: TextMatch, allowed: NDArray, pool: int, k: float = 60.0) -> Ranking:
    """The best allowed matches, by reciprocal rank fusion of meaning and words."""
    rankings = {
        "meaning": top(match.meaning, allowed, DEPTH),
        "words": top(match.words, allowed, DEPTH),
        "every_word": top(match.words, allowed & match.complete, DEPTH),
    }
    fused = fuse_rrf(rankings, SHARES, k)
    return Ranking(fused.rows[:pool], fused.scores[:pool])
