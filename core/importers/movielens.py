"""MovieLens releases: 100K (tab-separated), 1M and 10M (`::`), 20M, 25M, 32M and latest (CSV)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.catalog import Title
from core.errors import InvalidInput
from core.importers.archive import Member, find, members, parsed
from core.importers.facts import listed_title, rating_event
from core.importers.report import Report, RowRejected
from core.interaction import Interaction

ORIGIN = "movielens"
BEST_RATING = 5.0
PREFIX = "ml-"  # ids of the releases are bare numbers, which other data sets use too
LICENCE = (
    "MovieLens data are GroupLens Research's (University of Minnesota) and are not part of this software. They may be "
    "used for research and not for commercial purposes without permission, may not be redistributed without it (the "
    "small 'latest' sets: only under the same conditions), and publications must cite F. M. Harper and J. A. Konstan, "
    "'The MovieLens Datasets: History and Context', ACM TiiS 5(4), 2015. Your release's README has the exact terms."
)
# fmt: off
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)
# fmt: on

Split = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class _Release:
    """How one family of releases writes its rows: the rows' splitters, title parser and whether there is a header."""

    ratings: Member
    titles: Member
    split: Split
    split_title: Split
    genres: Callable[[list[str]], list[str]]
    header: bool = False


def _csv_row(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _listed(columns: list[str]) -> list[str]:
    return columns[2].split("|")


def _flagged(columns: list[str]) -> list[str]:
    return [genre for genre, flag in zip(_GENRES_100K, columns[5:], strict=False) if flag == "1"]


def release(files: list[Member]) -> _Release | None:
    """Which family of releases these files are, None when they are none of them."""
    if (ratings := find(files, "ratings.csv")) and (titles := find(files, "movies.csv")):
        return _Release(ratings, titles, lambda line: line.split(","), _csv_row, _listed, header=True)
    if (ratings := find(files, "ratings.dat")) and (titles := find(files, "movies.dat")):
        split: Split = lambda line: line.split("::")  # noqa: E731 - a one-word function
        return _Release(ratings, titles, split, split, _listed)
    if (ratings := find(files, "u.data")) and (titles := find(files, "u.item")):
        return _Release(ratings, titles, str.split, lambda line: line.split("|"), _flagged)
    return None


def read(path: Path, report: Report, prefix: str = PREFIX) -> tuple[Iterator[Title], Iterator[Interaction]]:
    """Titles and ratings of a release, as a zip or unpacked. Raises InvalidInput when there is none."""
    found = release(members(path))
    if found is None:
        raise InvalidInput(f"{path} holds no MovieLens release (ratings.csv, ratings.dat or u.data with its movies)")
    report.bytes_total += found.ratings.size + found.titles.size
    titles = parsed(found.titles, report, _title(found, prefix), found.header)
    return titles, parsed(found.ratings, report, _event(found, prefix), found.header)


def _title(found: _Release, prefix: str) -> Callable[[str], Title]:
    def parse(line: str) -> Title:
        columns = found.split_title(line)
        if len(columns) < 3:
            raise RowRejected("too few columns")
        return listed_title(prefix, columns[0], columns[1], found.genres(columns))

    return parse


def _event(found: _Release, prefix: str) -> Callable[[str], Interaction]:
    def parse(line: str) -> Interaction:
        columns = found.split(line)
        if len(columns) != 4:
            raise RowRejected("not four columns")
        user, item, rating, timestamp = columns
        return rating_event(ORIGIN, user, item, rating, timestamp, BEST_RATING, prefix)

    return parse
