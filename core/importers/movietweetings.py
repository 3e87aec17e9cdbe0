"""MovieTweetings: ratings out of ten that were found in tweets. `users.dat` is never read: it names accounts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from core.catalog import Title
from core.errors import InvalidInput
from core.importers.archive import Member, find, lines, members, parsed
from core.importers.facts import listed_title, rating_event
from core.importers.report import Report, RowRejected
from core.interaction import Interaction

ORIGIN = "movietweetings"
BEST_RATING = 10.0
IMDB_DIGITS = 7
PREFIX = "mt-"  # item ids are IMDb numbers, user ids running ones; both are bare numbers
LICENCE = (
    "MovieTweetings is MIT-licensed, copyright (c) 2013 Simon Dooms. User ids are surrogates, but the ratings came "
    "from public tweets, so that people could be recognised: treat them as personal data."
)


def read(path: Path, report: Report, prefix: str = PREFIX) -> tuple[Iterator[Title], Iterator[Interaction]]:
    """Titles and ratings of a snapshot or of the whole repository (its `latest`). Raises InvalidInput."""
    files = members(path)
    ratings, titles = find(files, "ratings.dat"), find(files, "movies.dat")
    if ratings is None or titles is None:
        raise InvalidInput(f"{path} holds no MovieTweetings data (ratings.dat and movies.dat)")
    report.best_rating = BEST_RATING
    report.bytes_total += ratings.size + titles.size
    return (
        parsed(titles, report, partial(_title, prefix=prefix)),
        parsed(ratings, report, partial(_event, prefix=prefix)),
    )


def is_snapshot(files: list[Member]) -> bool:
    """Whether movies.dat counts titles as IMDb does, in seven digits; MovieLens 1M and 10M start at 1."""
    titles = find(files, "movies.dat")
    if titles is None or find(files, "ratings.dat") is None:
        return False
    _, line = next(lines(titles, Report()), (0, ""))
    return len(line.split("::")[0]) >= IMDB_DIGITS


def item_id(text: str) -> str:
    """IMDb number without leading zeros: releases differ in padding it."""
    return text.lstrip("0") or text


def _title(line: str, prefix: str) -> Title:
    columns = line.split("::")
    if len(columns) < 2:
        raise RowRejected("too few columns")
    genres = columns[2].split("|") if len(columns) > 2 else []
    return listed_title(prefix, item_id(columns[0]), columns[1], genres)


def _event(line: str, prefix: str) -> Interaction:
    columns = line.split("::")
    if len(columns) != 4:
        raise RowRejected("not four columns")
    user, item, rating, timestamp = columns
    return rating_event(ORIGIN, user, item_id(item), rating, timestamp, BEST_RATING, prefix)
