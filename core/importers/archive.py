"""Reading the files of a data set as lines, wherever they lie: a folder, a zip, gzip-compressed or plain.

Nothing is unpacked to disk and never more than a line is held.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar, cast

from core.errors import InvalidInput
from core.importers.report import Report, RowRejected

T = TypeVar("T")

MAX_LINE_BYTES = 1 << 20  # a longer line is no row of any data set, and would not fit bounded memory


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a data set. `size` is its uncompressed size in bytes."""

    name: str
    size: int
    source: Path
    inside: str | None = None  # name inside the zip `source`

    @property
    def base(self) -> str:
        """File name without folders and without .gz."""
        return self.name.rsplit("/", 1)[-1].removesuffix(".gz")


def members(path: Path) -> list[Member]:
    """Every file of a folder, a zip or a single file, the least deeply nested first. Raises InvalidInput."""
    if path.is_dir():
        found = [_file(entry, str(entry.relative_to(path))) for entry in sorted(path.rglob("*")) if entry.is_file()]
    elif not path.is_file():
        raise InvalidInput(f"{path} is neither a file nor a folder")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        found = [Member(info.filename, info.file_size, path, info.filename) for info in infos]
    else:
        found = [_file(path, path.name)]
    found = [member for member in found if not member.name.startswith(("__MACOSX", "."))]
    return sorted(found, key=lambda member: (member.name.count("/"), member.name))


def find(among: list[Member], *names: str) -> Member | None:
    """The first member with one of these base names; an earlier name wins over an earlier member."""
    for name in names:
        for member in among:
            if member.base == name:
                return member
    return None


def lines(member: Member, report: Report) -> Iterator[tuple[int, str]]:
    """(line number, text without its end) of a file; read bytes are added to the report.

    UTF-8, or Latin-1 for a line that is not: old MovieLens releases are Latin-1. Raises InvalidInput for an archive
    that is damaged.
    """
    try:
        with _open(member) as stream:
            number = 0
            while raw := stream.readline(MAX_LINE_BYTES):
                number += 1
                report.bytes_read += len(raw)
                yield number, _text(raw, first=number == 1)
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{member.name} cannot be read: {error}") from error


def parsed(member: Member, report: Report, parse: Callable[[str], T], header: bool = False) -> Iterator[T]:
    """What `parse` makes of each line; a line that it refuses is counted in the report, empty ones are passed over."""
    for number, line in lines(member, report):
        if not line or (number == 1 and header):
            continue
        try:
            if "\0" in line:
                raise RowRejected("holds a NUL character")
            value = parse(line)
        except (RowRejected, InvalidInput, csv.Error) as error:
            report.reject(str(error), member.base, number, line)
        else:
            yield value


def _text(raw: bytes, first: bool) -> str:
    raw = raw.removeprefix(b"\xef\xbb\xbf") if first else raw
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return raw.decode("latin-1").rstrip("\r\n")


def _file(path: Path, name: str) -> Member:
    size = path.stat().st_size
    if path.suffix == ".gz" and size >= 4:
        with path.open("rb") as stream:
            stream.seek(-4, 2)
            size = int.from_bytes(stream.read(4), "little")  # RFC 1952: size modulo 2^32, only for the progress bar
    return Member(name, size, path)


@contextmanager
def _open(member: Member) -> Iterator[IO[bytes]]:
    if member.inside is None:
        with gzip.open(member.source) if member.source.suffix == ".gz" else member.source.open("rb") as stream:
            yield cast(IO[bytes], stream)
        return
    with zipfile.ZipFile(member.source) as archive, archive.open(member.inside) as stream:
        if member.inside.endswith(".gz"):
            with gzip.open(stream) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield stream
