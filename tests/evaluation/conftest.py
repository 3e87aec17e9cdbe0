"""Small data sets with known properties."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.catalog import Title
from core.evaluation.dataset import Dataset, liked, load
from core.evaluation.splits import Split, stream

Row = tuple[int, int, float, float]
Make = Callable[..., Dataset]


def make_dataset(rows: list[Row], items: int | None = None, timed: bool = True) -> Dataset:
    """Events (user, item, stars, at) in any order; four stars are positive; genres alternate."""
    user, item, stars, at = (np.array(column) for column in zip(*rows, strict=True))
    count = int(item.max()) + 1 if items is None else items
    genres = (("drama",), ("comedy",), ("drama", "war"))
    data = Dataset(
        name="small",
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        stars=stars.astype(np.float32),
        at=at.astype(np.float64),
        positive=liked(stars, 4.0),
        user_ids=tuple(f"u{code}" for code in range(int(user.max()) + 1)),
        titles=tuple(Title(f"t{code}", f"Title {code}", genres=genres[code % 3]) for code in range(count)),
        timed=timed,
        positive_from=4.0,
    )
    return data.reordered(np.argsort(data.at, kind="stable"))


@pytest.fixture
def make() -> Make:
    return make_dataset


def random_rows(rng: np.random.Generator, users: int, items: int, events: int) -> list[Row]:
    """Distinct (user, item) pairs with random stars at distinct random times."""
    pairs = rng.choice(users * items, events, replace=False)
    times = rng.permutation(events) * 1000.0
    stars = rng.choice([2.0, 3.0, 4.0, 5.0], events)
    return [(int(p // items), int(p % items), float(s), float(t)) for p, s, t in zip(pairs, stars, times, strict=True)]


@pytest.fixture
def random_data() -> Dataset:
    return make_dataset(random_rows(np.random.default_rng(3), 40, 30, 600))


@pytest.fixture(scope="session")
def two_tastes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on disk: 240 users who each like one of two halves of 60 titles, in a random order over 100 days.

    Within a half every title is as popular as the other, so popularity can at best guess among 60, while what a user
    liked before tells the half. Users arrive one after the other: those of the last days are new after the cut.
    """
    rng = np.random.default_rng(11)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(240):
        half = user % 2
        own = half * 30 + rng.permutation(30)[:12]
        other = (1 - half) * 30 + rng.permutation(30)[:3]
        begun = 86_400.0 * 90 * user / 240
        for step, item in enumerate(rng.permutation(np.concatenate([own, other]))):
            stars = 5 if item // 30 == half else 1
            lines.append(f"{user},{item},{stars},{int(begun + step * 43_200)}")
    folder = tmp_path_factory.mktemp("two-tastes")
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def two_tastes_split(two_tastes: Path) -> Split:
    return stream(load(two_tastes))
