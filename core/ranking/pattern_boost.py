"""What worked for similar queries in similar circumstances, at work: fused scores are bent by the patterns found.

Log-odds gain strength x lift, lift in [-1, 1]; other scores are multiplied by 1 + strength x lift. A pattern lifts its
results by cosine x boost / ceiling x mean strength of the result, boost = confidence (1 + log2(max(uses, 1)) / 10), at
most its ceiling, and less the fewer sessions are behind it; several patterns add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.adaptation.query import RECENT, recency_weights
from core.candidates.viewer import Viewer
from core.config import RankingSettings
from core.numeric.vectors import Floats
from core.patterns.circumstances import circumstances
from core.patterns.cluster import BOOST_CEILING
from core.patterns.index import Match, PatternIndex
from core.patterns.known import topics
from core.ranking.fusion import Fused

PART = "pattern"
PATTERNS = 8  # that a request looks at
DOUBT = 4.0  # sessions without these results that every pattern is given in addition: a single one is weak evidence


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """The patterns found for one request, best first, and `by_row`: snapshot row -> id of the pattern that lifted it
    most, for the titles that one lifted."""

    matches: tuple[Match, ...] = ()
    by_row: dict[int, str] | None = None


def request_vector(viewer: Viewer) -> Floats:
    """(d,) the request among the snapshot's topics: its latest likes, those of the running session counted double;
    zeros for a viewer who has liked nothing yet."""
    liked = viewer.liked[-RECENT:]
    weights = recency_weights(len(liked), viewer.in_session(liked))
    return np.asarray(weights @ topics(viewer.snapshot)[viewer.rows[liked]].astype(np.float32))


def find(viewer: Viewer, index: PatternIndex, about: NDArray[np.integer] | None = None) -> list[Match]:
    """Patterns for this request, or for one about these titles (snapshot rows)."""
    context = viewer.context
    wanted = circumstances(viewer.now, context.device, context.mood, context.time_of_day)
    query = request_vector(viewer) if about is None else topics(viewer.snapshot)[about].astype(np.float32).sum(axis=0)
    return index.search(query, wanted, PATTERNS)


def lifts(index: PatternIndex, matches: list[Match], n: int) -> tuple[Floats, NDArray[np.int32]]:
    """(n,) lift of every snapshot row in [-1, 1], and the place of the pattern that gave most of it, -1 for none."""
    lift, most, source = np.zeros(n, np.float32), np.zeros(n, np.float32), np.full(n, -1, np.int32)
    for match in matches:
        rows, weights = index.results_of(match.place)
        size = index.patterns[match.place].size
        evidence = match.similarity * index.boosts[match.place] / BOOST_CEILING * size / (size + DOUBT)
        share = weights * np.float32(evidence)
        lift[rows] += share
        stronger = np.abs(share) > most[rows]
        most[rows[stronger]], source[rows[stronger]] = np.abs(share[stronger]), match.place
    return np.clip(lift, -1.0, 1.0), source


def boost(
    fused: Fused,
    viewer: Viewer,
    index: PatternIndex | None,
    settings: RankingSettings,
    reach: int,
    about: NDArray[np.integer] | None = None,
) -> tuple[Fused, Applied]:
    """The first `reach` of the fused titles in their new order, with what patterns gave or took as one more part.

    about: snapshot rows of the titles that a query in words is about; None: the viewer's latest likes ask. Nothing
    changes where no pattern is about this request or none of its results is among the candidates.
    """
    if index is None or not len(index) or not settings.pattern_strength or not len(fused.rows):
        return fused, Applied()
    matches = find(viewer, index, about)
    if not matches:
        return fused, Applied()
    lift, source = lifts(index, matches, len(viewer.allowed))
    rows = fused.rows[:reach]
    if not lift[rows].any():
        return fused, Applied()
    bent = fused.bent(fused.gains(settings.pattern_strength * lift[rows]), PART)
    lifted = rows[lift[rows] > 0]
    by_row = {int(row): index.patterns[source[row]].pattern_id for row in lifted}
    return bent, Applied(tuple(matches), by_row)
