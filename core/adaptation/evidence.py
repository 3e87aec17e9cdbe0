"""Everybody's interactions as what adapters learn from: per user, titles for and against, oldest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.adaptation.examples import Evidence
from core.catalog import Title, content_key
from core.snapshot.inputs import Interactions

LATEST = 64  # titles of one user: enough for the base tier, and no single user outweighs many


def of_series(interactions: Interactions, titles: Iterable[Title]) -> Interactions:
    """The interactions with every episode's counted as its series', because requests look at series.

    What speaks most for a series counts, the latest among equals. Titles outside the catalogue are left out.
    """
    owner_of = {content_key(title.content_id): content_key(title.series_id or title.content_id) for title in titles}
    keys = np.array(sorted(owner_of), np.uint64)
    owners = np.array([owner_of[key] for key in sorted(owner_of)], np.uint64)
    inside = np.isin(interactions.key, keys)
    key = owners[np.searchsorted(keys, interactions.key[inside])]
    user, at, weight = interactions.user[inside], interactions.at[inside], interactions.weight[inside]
    order = np.lexsort((at, weight, key, user))
    last = np.ones(len(order), bool)
    last[:-1] = (user[order][1:] != user[order][:-1]) | (key[order][1:] != key[order][:-1])
    kept = order[last]
    kept = kept[np.lexsort((key[kept], at[kept], user[kept]))]
    device = interactions.device[inside][kept]
    return replace(interactions, user=user[kept], key=key[kept], weight=weight[kept], at=at[kept], device=device)


def by_user(interactions: Interactions, keys: NDArray[np.uint64], latest: int = LATEST) -> list[Evidence]:
    """The `latest` titles of each user who has any, in rows of `keys` (m,), ascending."""
    row = np.minimum(np.searchsorted(keys, interactions.key), len(keys) - 1)
    known = np.flatnonzero((keys[row] == interactions.key) & (interactions.weight != 0))
    starts = np.searchsorted(interactions.user[known], np.arange(interactions.users + 1))
    chosen = [known[max(end - latest, start) : end] for start, end in pairwise(starts)]
    return [Evidence(row[one], interactions.weight[one], interactions.at[one]) for one in chosen if len(one)]
