"""Selection of mechanisms along a stream: chosen before the answer, rewarded by what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from core.attention import names
from core.attention.select import SELECTED, TOP, WITHOUT_WORDS, Attending, observed, only, reward_counts, shares_of
from core.config import RankingSettings
from core.flows.attending import configured
from core.snapshot.snapshot import Snapshot


class Selection:
    """What the attention service and its counters would do for one variant. top: how many mechanisms answer together;
    with one, every reward is that one's."""

    def __init__(self, snapshot: Snapshot, settings: RankingSettings, top: int = TOP) -> None:
        self._learned: Collection[str] = snapshot.attention if settings.fusion_attention == SELECTED else ()
        self._every: Collection[str] = names() if settings.history_attention == SELECTED else ()
        self._fixed, self._top = configured(settings), top
        self.counts: Counter[str] = Counter()

    def choose(self) -> Attending:
        """For the next request, which has no words."""
        if not self._learned and not self._every:
            return self._fixed
        seen, of_type = observed(self.counts), only(WITHOUT_WORDS)
        return Attending(
            shares_of(of_type, *seen, self._learned, self._top) if self._learned else self._fixed.fusion,
            shares_of(of_type, *seen, self._every, self._top) if self._every else self._fixed.history,
        )

    def learn(self, chosen: Attending, hit: bool) -> None:
        """Reward what was chosen by whether the answer held the title that was liked next."""
        for wanted, shares in ((self._learned, chosen.fusion), (self._every, chosen.history)):
            if wanted:
                self.counts.update(reward_counts(WITHOUT_WORDS, shares, float(hit)))
