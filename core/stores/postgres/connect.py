"""Connections to PostgreSQL: plain locally, through the Cloud SQL connector in the cloud, the same driver for both.

The pool is our own because a request must learn within milliseconds that the server is gone, and the first request
after a restart must succeed. psycopg_pool reconnects in background threads with growing delays and lets callers wait
for them: with a dead server a request takes its whole timeout, and threads are throttled between requests on Cloud Run.
Here the caller that needs a connection opens it, and it is kept for the next one.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import psycopg

from core.config import StoreSettings
from core.errors import ConfigurationError, Declined, InvalidInput, StoreSilent, StoreUnavailable
from core.stores.deadline import remaining_s

STORE = "cold_store"  # the name in StoreUnavailable and in `degraded`
SHORTEST_WAIT_S = 0.02  # an answer that is on its way is still taken when the request's time is nearly up
PING_AFTER_S = 30.0  # a connection idle for longer is tried before it is used
CLIENT_GRACE_S = (
    1.0  # the server cancels a slow statement first; after this the client stops waiting for a frozen server
)

Connection = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")
# The server is there: somebody holds the row, or this is the standby that is about to take over.
DECLINED = (
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ReadOnlySqlTransaction,
)

# How long the call under way waits for the server, where that is less than its connection allows (`run`).
_within_s: ContextVar[float] = ContextVar("within_s", default=math.inf)


class NoAnswer(psycopg.OperationalError):
    """The server accepted a statement and then said nothing for longer than its own statement timeout."""


class ConnectionLost(psycopg.OperationalError):
    """The connection broke while it was used."""


def connect(stores: StoreSettings, timeout_s: float | None) -> Connection:
    """A new autocommit connection whose statements end within `timeout_s` (None: without limit).

    Raises a psycopg error, OSError or StoreUnavailable when there is no server.
    """
    limit_ms = 0 if timeout_s is None else round(timeout_s * 1000)
    arguments: dict[str, Any] = {
        "autocommit": True,
        "application_name": "sona",
        # An instance frozen in the middle of a transaction must not hold a user's row lock for ever.
        "options": f"-c statement_timeout={limit_ms} -c idle_in_transaction_session_timeout={2 * limit_ms}",
    }
    if stores.sql_instance:
        connection = _connect_cloud_sql(stores, arguments)
    elif stores.sql_dsn:
        connection = psycopg.connect(stores.sql_dsn, connect_timeout=_connecting_s(stores), **arguments)
    else:
        raise ConfigurationError("set SONA_STORES_SQL_DSN or SONA_STORES_SQL_INSTANCE")
    if timeout_s is not None:
        _bound_waiting(connection, timeout_s + CLIENT_GRACE_S)
    return connection


def _connect_cloud_sql(stores: StoreSettings, arguments: dict[str, Any]) -> Connection:
    from aiohttp import ClientError
    from google.auth.exceptions import GoogleAuthError

    try:
        connection: Connection = _cloud_sql_connector(os.getpid()).connect(
            stores.sql_instance,
            "psycopg",
            user=stores.sql_user,
            db=stores.sql_database,
            timeout=_connecting_s(stores),
            **arguments,
        )
    except (ClientError, GoogleAuthError) as error:
        raise StoreUnavailable(STORE, type(error).__name__) from error
    return connection


def _connecting_s(stores: StoreSettings) -> int:
    """How long a connection may take, in the whole seconds that libpq counts in."""
    return max(1, math.ceil(min(stores.sql_connect_timeout_s, remaining_s())))


@cache
def _cloud_sql_connector(pid: int) -> Any:
    """One connector per process: its event loop thread does not survive a fork, hence the process id."""
    from google.cloud.sql.connector import Connector

    # Lazy: certificates are refreshed by the request that needs them, because background threads are throttled.
    return Connector(refresh_strategy="lazy", enable_iam_auth=True, ip_type="PRIVATE")


def _bound_waiting(connection: Connection, limit_s: float) -> None:
    """Let no wait for the server exceed `limit_s`: statement_timeout does not help when the server itself is frozen."""
    wait = connection.wait

    def bounded(gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        started, longest_s = time.monotonic(), max(min(limit_s, _within_s.get(), remaining_s()), SHORTEST_WAIT_S)
        try:
            return wait(gen, interval, longest_s if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if time.monotonic() - started < longest_s:
                raise
            connection.pgconn.finish()  # otherwise ending the transaction would wait once more
            raise NoAnswer(f"no answer within {longest_s:g} s") from error

    connection.wait = bounded  # type: ignore[method-assign]  # the connector chooses the class, so no subclass


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors as ours: what did not answer is StoreUnavailable, what can never be stored is InvalidInput."""
    try:
        yield
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise InvalidInput(f"the database cannot store this: {error}") from error
    except (NoAnswer, psycopg.errors.ConnectionTimeout) as error:
        raise StoreSilent(STORE, type(error).__name__) from error
    except DECLINED as error:
        raise Declined(STORE, type(error).__name__) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
        raise StoreUnavailable(STORE, type(error).__name__) from error  # no host names in an answer


class ConnectionPool:
    """At most `size` connections, last used first, shared by threads. Nothing happens in the background."""

    def __init__(
        self,
        open_connection: Callable[[float | None], Connection],
        size: int,
        timeout_s: float,
        prompt_s: float = math.inf,
    ) -> None:
        self._open = open_connection
        self._size = size
        self._timeout_s = timeout_s
        self._prompt_s = prompt_s
        self._places = threading.BoundedSemaphore(size)
        self._idle: deque[tuple[Connection, float]] = deque()
        self._pid = os.getpid()
        self._inherited: list[object] = []

    def run(self, work: Callable[[Connection], T], prompt: bool = False) -> T:
        """Return `work(connection)`; once more on a new connection if a kept one proves dead, so `work` is repeatable.

        prompt: a request waits for this, and can do without: give up after `prompt_s` a statement. Raises
        StoreUnavailable when the server does not answer or all connections stay busy; InvalidInput for data that
        PostgreSQL cannot hold.
        """
        if prompt:
            waiting = _within_s.set(self._prompt_s)
            try:
                return self.run(work)
            finally:
                _within_s.reset(waiting)
        with translated(), self._place():
            kept = self._take_idle()
            if kept is not None:
                with suppress(ConnectionLost):
                    return self._use(kept, work)
                self._drop_idle()  # a restarted server has forgotten them all
            return self._use(self._open(self._timeout_s), work)

    @contextmanager
    def unlimited(self) -> Iterator[Connection]:
        """A connection of its own without time limits, for long streams and migrations."""
        with translated():
            connection = self._open(None)
            try:
                yield connection
            finally:
                connection.close()

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens new ones."""
        self._drop_idle()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=max(0.0, min(self._timeout_s, _within_s.get(), remaining_s()))):
            raise StoreUnavailable(STORE, f"all {self._size} connections are busy")
        try:
            yield
        finally:
            self._places.release()

    def _use(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        try:
            return work(connection)
        except NoAnswer:
            raise
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if connection.broken:
                raise ConnectionLost(str(error)) from error
            raise
        finally:
            if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.close()
            else:
                self._idle.append((connection, time.monotonic()))

    def _take_idle(self) -> Connection | None:
        if self._pid != os.getpid():
            self._inherited.append(
                self._idle
            )  # closing the sockets of the process we were forked from ends its sessions
            self._idle, self._pid = deque(), os.getpid()
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return None
        if time.monotonic() - since > PING_AFTER_S:
            try:
                connection.execute("SELECT 1")
            except NoAnswer:
                raise
            except (psycopg.OperationalError, psycopg.InterfaceError):
                connection.close()
                self._drop_idle()
                return None
        return connection

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop()[0].close()


def pool(stores: StoreSettings) -> ConnectionPool:
    """The process's pool; nothing is opened before the first use."""
    return ConnectionPool(
        lambda timeout_s: connect(stores, timeout_s),
        stores.sql_pool_size,
        stores.sql_timeout_s,
        stores.sql_prompt_timeout_s,
    )
