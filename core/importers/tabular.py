"""A catalogue and a history of one's own: `interactions` as CSV or JSON lines and `items.jsonl`, plain or gzipped.

CSV columns: user_id, item_id, rating, timestamp (Unix seconds or RFC 3339); or user_id, item_id, pos, where only the
order in which a user came to titles is known. JSON lines hold the same fields, or whole events (with `type`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from core.catalog import Title
from core.errors import InvalidInput
from core.importers.archive import Member, find, members, parsed
from core.importers.events import whole_event
from core.importers.facts import described_title, first, number, rating_event
from core.importers.report import Report, RowRejected
from core.interaction import Event, Interaction, InteractionType

ORIGIN = "file"
SCALES = (5.0, 10.0, 100.0)  # highest ratings in use
WITHIN_SCALE = 0.999  # share of the ratings that a scale must hold: a few broken rows do not change it
# Order-only data get times one minute apart, so that nothing in a user's history fades.
ORDER_START_S, ORDER_STEP_S = 946_684_800.0, 60.0
LICENCE = ""  # whose data these are, only the user knows

_FIELDS = {
    "user": ("user_id", "userId", "user"),
    "item": ("item_id", "content_id", "movieId", "itemId", "item"),
    "rating": ("rating",),
    "timestamp": ("timestamp", "occurred_at"),
    "pos": ("pos",),
}
_HISTORY = {"csv": ("interactions.csv", "ratings.csv"), "jsonl": ("interactions.jsonl", "events.jsonl")}
_ITEMS = ("items.jsonl", "titles.jsonl")

Row = Mapping[str, Any]  # values by the names of _FIELDS


def read_csv(
    path: Path, report: Report, prefix: str = "", best: float | None = None
) -> tuple[Iterator[Title], Iterator[Event]]:
    """Titles and events of a folder, a zip or one CSV file. `best` is the highest rating, found out when not given.

    Raises InvalidInput when there is no such file or a column is missing.
    """
    files = members(path)
    history = find(files, *_HISTORY["csv"]) or _only(path, files)
    if history is None:
        raise InvalidInput(f"{path} holds no interactions.csv or interactions.csv.gz")
    row, rated = _csv_reader(history)
    if best is None:
        best = best_rating(_ratings(history, row, header=True)) if rated else SCALES[0]
    report.best_rating = best
    report.bytes_total += history.size
    events = parsed(history, report, lambda line: row_event(row(line), best, prefix), header=True)
    return _titles(files, report, prefix), events


def read_jsonl(
    path: Path, report: Report, prefix: str = "", best: float | None = None
) -> tuple[Iterator[Title], Iterator[Event]]:
    """Titles and events of a folder, a zip or one file of JSON lines; a catalogue or a history alone will do."""
    files = members(path)
    history = find(files, *_HISTORY["jsonl"]) or _only(path, files)
    if history is None:
        if find(files, *_ITEMS) is None:
            raise InvalidInput(f"{path} holds neither interactions.jsonl nor items.jsonl")
        return _titles(files, report, prefix), iter(())
    if best is None:
        best = best_rating(_ratings(history, _json_row, header=False))
    report.best_rating = best
    report.bytes_total += history.size
    return _titles(files, report, prefix), parsed(history, report, lambda line: json_event(line, best, prefix))


def _only(path: Path, files: list[Member]) -> Member | None:
    """The history that is given as one file, whatever its name; None for a catalogue."""
    return files[0] if path.is_file() and len(files) == 1 and files[0].base not in _ITEMS else None


def best_rating(ratings: Iterable[float]) -> float:
    """The scale that ratings are on, by its highest rating: the smallest of SCALES that holds nearly all of them."""
    within, total = [0] * len(SCALES), 0
    for value in ratings:
        total += 1
        for i, best in enumerate(SCALES):
            within[i] += value <= best
    needed = WITHIN_SCALE * total
    return next((best for best, count in zip(SCALES, within, strict=True) if count >= needed), SCALES[-1])


def row_event(row: Row, best: float, prefix: str) -> Interaction:
    """A rating, or without a rating one place in a user's order. Raises RowRejected."""
    user, item = str(row.get("user", "")), str(row.get("item", ""))
    if "rating" in row:
        return rating_event(ORIGIN, user, item, str(row["rating"]), str(row.get("timestamp", "")), best, prefix)
    if not user or not item:
        raise RowRejected("no user or no item")
    place = number(str(row.get("pos", "")), "pos")
    return Interaction(
        event_id=f"{ORIGIN}:{user}:{item}:{place:g}",
        user_id=prefix + user,
        content_id=prefix + item,
        type=InteractionType.WATCH_COMPLETE,
        occurred_at=ORDER_START_S + ORDER_STEP_S * place,
    )


def json_event(line: str, best: float, prefix: str) -> Event:
    """A whole event, or a rating. Raises RowRejected."""
    record = _record(line)
    return whole_event(record, ORIGIN, prefix) if "type" in record else row_event(_named(record), best, prefix)


def _json_row(line: str) -> Row:
    record = _record(line)
    return {} if "type" in record else _named(record)


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        raise RowRejected("not JSON") from None
    if not isinstance(record, dict):
        raise RowRejected("not a JSON object")
    return record


def _named(record: Mapping[str, Any]) -> Row:
    found = {field: first(record, *names) for field, names in _FIELDS.items()}
    return {field: value for field, value in found.items() if value is not None}


def _csv_reader(member: Member) -> tuple[Callable[[str], Row], bool]:
    """What reads one line into its named fields, by the file's own header; and whether the lines hold ratings."""
    header = next(parsed(member, Report(), _cells), [])
    place = {
        field: header.index(name) for field, names in _FIELDS.items() for name in reversed(names) if name in header
    }
    if not {"user", "item"} <= set(place) or not ({"rating", "timestamp"} <= set(place) or "pos" in place):
        raise InvalidInput(
            f"{member.name} needs the columns user_id, item_id, rating, timestamp (or pos), not {header}"
        )

    def row(line: str) -> Row:
        values = _cells(line)
        if len(values) != len(header):
            raise RowRejected(f"not {len(header)} columns")
        return {field: values[i] for field, i in place.items()}

    return row, "rating" in place


def _cells(line: str) -> list[str]:
    return next(csv.reader([line])) if '"' in line else line.split(",")


def _ratings(member: Member, row: Callable[[str], Row], header: bool) -> Iterator[float]:
    def rating(line: str) -> float:
        return number(str(row(line).get("rating", "")), "rating")

    return parsed(member, Report(), rating, header)


def _titles(files: list[Member], report: Report, prefix: str) -> Iterator[Title]:
    items = find(files, *_ITEMS)
    if items is None:
        return iter(())
    report.bytes_total += items.size
    return parsed(items, report, partial(_title, prefix=prefix))


def _title(line: str, prefix: str) -> Title:
    return described_title(_record(line), prefix)
