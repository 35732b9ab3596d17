"""Connections of the catalogue: one writer, a few readers, off the event loop, errors translated.

SQLite 3.40 has a bug that can corrupt a WAL file when several connections write and reset it, so there is exactly
one writing connection, on one thread; readers are `query_only`. `synchronous=FULL`: a row that was acknowledged
survives a power cut. PostgreSQL gets as many writers as readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from domain.errors import CatalogUnavailable, InvalidSettings

T = TypeVar("T")

READERS = 4
CONNECT_TIMEOUT_S = 10
"""How long a statement waits for a connection or a lock: longer than a checkpoint, shorter than a person's patience."""
STATEMENT_TIMEOUT_MS = 60_000


class Database:
    """Runs functions of a `Connection` on worker threads, each in one transaction.

    Work waits in the executors' queues; callers await each piece, so what can wait is bounded by the callers.
    """

    def __init__(self, address: str) -> None:
        self.url = _parse(address)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        writers = 1 if self.is_sqlite else READERS
        self._writer = _sqlite_engine(self.url, write=True) if self.is_sqlite else _engine(self.url)
        self._reader = _sqlite_engine(self.url, write=False) if self.is_sqlite else self._writer
        self._write_threads = ThreadPoolExecutor(writers, "catalog-write")
        self._read_threads = ThreadPoolExecutor(READERS, "catalog-read")

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run in a writing transaction; committed durably when this returns.

        Raises:
            CatalogUnavailable: Nothing was written, or it cannot be told.
        """
        return await asyncio.get_running_loop().run_in_executor(self._write_threads, self.run_now, self._writer, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run in a reading transaction.

        Raises:
            CatalogUnavailable: The database did not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self.run_now, self._reader, work)

    def run_now(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        """Run in one transaction on this thread."""
        with translated(), engine.begin() as connection:
            return work(connection)

    @property
    def writer(self) -> Engine:
        """The writing engine, for the migrations alone."""
        return self._writer

    async def close(self) -> None:
        """Finish what is running and let go of every connection."""
        await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        self._write_threads.shutdown()
        self._read_threads.shutdown()
        self._reader.dispose()
        self._writer.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into `CatalogUnavailable`; the text names no password."""
    try:
        yield
    except DBAPIError as error:
        msg = f"catalogue: {type(error.orig).__name__}: {error.orig}"
        raise CatalogUnavailable(msg) from error
    except SQLAlchemyError as error:
        msg = f"catalogue: {type(error).__name__}: {error}"
        raise CatalogUnavailable(msg) from error


def _parse(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError as error:
        msg = "catalog: not a database address; use sqlite:///FILE or postgresql+psycopg://user@host/database"
        raise InvalidSettings(msg, "catalog") from error
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        msg = f"catalog: {url.drivername!r} is not known; use sqlite or postgresql+psycopg"
        raise InvalidSettings(msg, "catalog")
    if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
        msg = "catalog: SQLite needs a file, as in sqlite:///data/catalog.db"
        raise InvalidSettings(msg, "catalog")
    return url


def _engine(url: URL) -> Engine:
    options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={STATEMENT_TIMEOUT_MS}"
    return create_engine(
        url,
        pool_size=2 * READERS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options},
    )


def _sqlite_engine(url: URL, *, write: bool) -> Engine:
    if write and url.database is not None:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=1 if write else READERS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={"timeout": CONNECT_TIMEOUT_S, "check_same_thread": False},
    )

    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes late and never before DDL; `begin` below takes its place.
        connection.isolation_level = None
        for pragma in _pragmas(write):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _pragmas(write: bool) -> tuple[str, ...]:
    return ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON") if write else ("query_only=ON",)
