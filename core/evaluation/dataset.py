"""The data of an evaluation: every event of everybody, in the order in which it happened."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.catalog import Title
from core.errors import InvalidInput
from core.importers import detect, read
from core.interaction import MAX_STARS, Interaction, InteractionType

STAR_ROUNDING = 1e-4  # stars are float32, thresholds are scaled
_KEPT = (InteractionType.RATING_EXPLICIT, InteractionType.WATCH_COMPLETE)
POSITIVE_SHARE = 0.8  # of the scale, when no threshold is given: four stars, or eight of ten


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """m events of u users on n titles, sorted by time and, at equal times, by their order in the file.

    Users and titles are codes 0..u-1, 0..n-1; `titles` are all titles of the catalogue, with or without events.
    """

    name: str
    user: NDArray[np.int32]  # (m,)
    item: NDArray[np.int32]  # (m,)
    stars: NDArray[np.float32]  # (m,) 0..5, NaN where only the order is known
    at: NDArray[np.float64]  # (m,) Unix seconds
    positive: NDArray[np.bool_]  # (m,)
    user_ids: tuple[str, ...]
    titles: tuple[Title, ...]
    timed: bool  # False: times compare within one user only
    positive_from: float  # threshold in the data's own scale, NaN where every event is positive
    rejected: int = 0

    def __len__(self) -> int:
        return len(self.user)

    @property
    def users(self) -> int:
        """u, whether or not any of their events is positive."""
        return len(self.user_ids)

    def event(self, index: int) -> Interaction:
        """One event as the serving code knows it."""
        stars = float(self.stars[index])
        rated = stars == stars
        return Interaction(
            event_id=str(index),
            user_id=self.user_ids[self.user[index]],
            content_id=self.titles[self.item[index]].content_id,
            type=InteractionType.RATING_EXPLICIT if rated else InteractionType.WATCH_COMPLETE,
            occurred_at=float(self.at[index]),
            rating=stars if rated else None,
        )

    def reordered(self, order: NDArray) -> Dataset:
        """The same events in another order, `order` (m,) indices."""
        return replace(
            self,
            user=self.user[order],
            item=self.item[order],
            stars=self.stars[order],
            at=self.at[order],
            positive=self.positive[order],
        )


def load(path: Path, positive: float | None = None) -> Dataset:
    """Read any data set that can be imported. `positive`: the lowest liked rating, in the data's own scale.

    Raises InvalidInput when there is nothing to evaluate.
    """
    source = read(detect(path), path, prefix="")
    titles = {title.content_id: replace(title, availability=()) for title in source.titles}  # of today, not of then
    users: dict[str, int] = {}
    items = {content_id: code for code, content_id in enumerate(titles)}
    user, item, stars, at = array("i"), array("i"), array("f"), array("d")
    for event in source.events:
        if isinstance(event, Interaction) and event.type in _KEPT:
            user.append(users.setdefault(event.user_id, len(users)))
            item.append(items.setdefault(event.content_id, len(items)))
            stars.append(np.nan if event.rating is None else event.rating)
            at.append(event.occurred_at)
    if not user:
        raise InvalidInput(f"{path} holds no ratings and no order of viewing")
    timed = not np.isnan(stars[0])
    best = source.report.best_rating
    threshold = (POSITIVE_SHARE * best if positive is None else positive) if timed else float("nan")
    unsorted = Dataset(
        name=path.name.removesuffix(".zip"),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        stars=np.array(stars, np.float32),
        at=np.array(at),
        positive=liked(np.array(stars), threshold * MAX_STARS / best),
        user_ids=tuple(users),
        titles=tuple(titles.get(content_id) or Title(content_id, content_id) for content_id in items),
        timed=timed,
        positive_from=threshold,
        rejected=source.report.rejected_rows,
    )
    return unsorted.reordered(np.argsort(unsorted.at, kind="stable"))


def liked(stars: NDArray, threshold: float) -> NDArray:
    """(m,) bool: at least the threshold, in stars; without a rating, what was watched counts as liked."""
    return np.isnan(stars) | (stars >= threshold - STAR_ROUNDING)
