"""The broker's durable part: topics, subscriptions and undelivered messages in one SQLite file.

One thread owns the connection and commits whatever has gathered meanwhile in one transaction (group commit), so a
publish costs a share of a commit. WAL with synchronous=NORMAL: a killed broker loses nothing that was committed; only a
power cut can lose the last moments.
"""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import StoreUnavailable

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, config BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscriptions (number INTEGER PRIMARY KEY, config BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS undelivered (
    subscription INTEGER NOT NULL, message INTEGER NOT NULL, ordering_key TEXT NOT NULL, failures INTEGER NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (subscription, message)
);
"""


class Undelivered(NamedTuple):
    """One message of one subscription. payload: a serialised PubsubMessage."""

    subscription: int
    message: int
    ordering_key: str
    failures: int
    payload: bytes


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    committed: Callable[[], None] | None
    result: "Future[Any]"


class Journal:
    """Runs jobs in order, several to a transaction. Raises sqlite3.OperationalError: another broker has the file."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
        for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.executescript(SCHEMA)
        self._jobs: list[_Job] = []
        self._arrived = threading.Condition()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="journal")
        self._writer.start()

    def submit(
        self, work: Callable[[sqlite3.Connection], Any], committed: Callable[[], None] | None = None
    ) -> "Future[Any]":
        """Run `work(connection)`; after the commit call `committed()`, in the order of submission, and give the result.

        The future raises StoreUnavailable when the transaction failed (a full disk); then nothing of it was done.
        """
        job = _Job(work, committed, Future())
        with self._arrived:
            self._jobs.append(job)
            self._arrived.notify()
        return job.result

    def execute(self, statement: str, *values: object) -> "Future[Any]":
        """One statement; the result is all its rows."""
        return self.submit(lambda db: db.execute(statement, values).fetchall())

    def close(self) -> None:
        """Commit what is waiting and close the file."""
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        self._writer.join()
        self._db.close()

    def _write(self) -> None:
        while True:
            with self._arrived:
                while not self._jobs and not self._closed:
                    self._arrived.wait()
                jobs, self._jobs = self._jobs, []
            if not jobs:
                return
            self._commit(jobs)

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            self._db.execute("BEGIN")
            results = [job.work(self._db) for job in jobs]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for job in jobs:
                job.result.set_exception(StoreUnavailable("the broker's journal", error))
            return
        for job, result in zip(jobs, results, strict=True):
            if job.committed is not None:
                job.committed()
            job.result.set_result(result)


def insert_undelivered(db: sqlite3.Connection, rows: list[Undelivered]) -> None:
    """Add messages, each once per subscription that shall have it."""
    db.executemany("INSERT INTO undelivered VALUES (?, ?, ?, ?, ?)", rows)


def delete_undelivered(db: sqlite3.Connection, subscription: int, messages: list[int]) -> None:
    """Forget messages that were acknowledged or dead-lettered."""
    db.executemany(
        "DELETE FROM undelivered WHERE subscription = ? AND message = ?",
        [(subscription, message) for message in messages],
    )
