"""Reading the data that people have: MovieLens, MovieTweetings, and their own CSV or JSON lines.

Reading streams: one line is held at a time, a row that cannot be used is counted with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from core.catalog import Title
from core.errors import InvalidInput
from core.importers import movielens, movietweetings, tabular
from core.importers.archive import find, members
from core.importers.report import Report
from core.interaction import Event

KINDS = ("movielens", "movietweetings", "csv", "jsonl")


class Source(NamedTuple):
    """A data set that is being read. The report is complete when both iterators are exhausted; titles come first."""

    titles: Iterator[Title]
    events: Iterator[Event]
    report: Report
    licence: str  # notice to show; empty for one's own data


_READERS: dict[str, tuple[Callable[..., tuple[Iterator[Title], Iterator[Event]]], str, str]] = {
    "movielens": (movielens.read, movielens.PREFIX, movielens.LICENCE),
    "movietweetings": (movietweetings.read, movietweetings.PREFIX, movietweetings.LICENCE),
    "csv": (tabular.read_csv, "", tabular.LICENCE),
    "jsonl": (tabular.read_jsonl, "", tabular.LICENCE),
}


def read(kind: str, path: Path, prefix: str | None = None, best_rating: float | None = None) -> Source:
    """Open a data set. Raises InvalidInput for an unknown kind, a missing file or a missing column.

    `prefix` goes before every user and content id (None: the kind's own, so that the bare numbers of two data sets do
    not meet). `best_rating` is the highest rating of csv and jsonl files, found out when not given.
    """
    if kind not in _READERS:
        raise InvalidInput(f"{kind!r} is not one of {', '.join(KINDS)}")
    reader, own_prefix, licence = _READERS[kind]
    if kind in ("csv", "jsonl"):
        reader = partial(reader, best=best_rating)
    report = Report()
    titles, events = reader(path, report, own_prefix if prefix is None else prefix)
    return Source(report.count_titles(titles), report.count_events(events), report, licence)


def detect(path: Path) -> str:
    """Which kind of data set lies at `path`. Raises InvalidInput when it is none that is known."""
    files = members(path)
    if find(files, "interactions.csv"):
        return "csv"
    if find(files, "interactions.jsonl"):
        return "jsonl"
    if movietweetings.is_snapshot(files):  # before MovieLens, whose 1M release has files of the same names
        return "movietweetings"
    if movielens.release(files):
        return "movielens"
    raise InvalidInput(f"{path} holds no data set: interactions.csv, interactions.jsonl, ratings.csv or ratings.dat")
