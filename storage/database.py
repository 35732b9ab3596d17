"""Connections of the catalogue and of the ledger: off the event loop, in transactions, errors translated.

On SQLite there is one writing connection a process, on one thread; readers are `query_only`. `synchronous=FULL`: a row
that was acknowledged survives a power cut. The journal depends on who writes: SQLite 3.40 has a bug that can corrupt
a WAL file when several connections write and reset it, so WAL is for a database that one process writes. PostgreSQL
gets as many writers as readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from domain.errors import InvalidSettings, Unavailable
from storage.secrets import read_secret, split_secret_file

T = TypeVar("T")

READERS = 4
CONNECT_TIMEOUT_S = 10
"""How long a statement waits for a connection or a lock: longer than a checkpoint, shorter than a person's patience."""
STATEMENT_TIMEOUT_MS = 60_000


class Use(msgspec.Struct, frozen=True):
    """What a database is for.

    Attributes:
        name: In messages to people.
        setting: The setting that holds its address.
        unavailable: Raised when it does not answer.
        journal: SQLite's journal mode.
    """

    name: str
    setting: str
    unavailable: type[Unavailable]
    journal: str


class Database:
    """Runs functions of a `Connection` on worker threads, each in one transaction.

    Work waits in the executors' queues; callers await each piece, so what can wait is bounded by the callers.

    Args:
        address: `sqlite:///FILE`, or `postgresql+psycopg://user@host/database[?secret_file=FILE]` with the password in
            that file.
        use: What it is for.

    Raises:
        InvalidSettings: The address cannot be used, or the file not be read; names the setting.
    """

    def __init__(self, address: str, use: Use) -> None:
        self.use = use
        self.url = _parse(address, use)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        writers = 1 if self.is_sqlite else READERS
        self._writer = _sqlite_engine(self.url, use.journal) if self.is_sqlite else _engine(self.url)
        self._reader = _sqlite_engine(self.url, None) if self.is_sqlite else self._writer
        self._write_threads = ThreadPoolExecutor(writers, f"{use.setting}-write")
        self._read_threads = ThreadPoolExecutor(READERS, f"{use.setting}-read")

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run in a writing transaction; committed durably when this returns.

        Raises:
            Unavailable: Nothing was written, or it cannot be told.
        """
        return await asyncio.get_running_loop().run_in_executor(self._write_threads, self.run_now, self._writer, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run in a reading transaction.

        Raises:
            Unavailable: The database did not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self.run_now, self._reader, work)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the library's errors into `use.unavailable`; the text names no password."""
        try:
            yield
        except DBAPIError as error:
            msg = f"{self.use.name}: {type(error.orig).__name__}: {error.orig}"
            raise self.use.unavailable(msg) from error
        except SQLAlchemyError as error:
            msg = f"{self.use.name}: {type(error).__name__}: {error}"
            raise self.use.unavailable(msg) from error

    def run_now(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        """Run in one transaction on this thread."""
        with self.translated(), engine.begin() as connection:
            return work(connection)

    @property
    def writer(self) -> Engine:
        """The writing engine, for the migrations alone."""
        return self._writer

    async def forget(self) -> None:
        """Close the connections that nobody uses at the moment; the next work opens new ones."""
        await asyncio.to_thread(self._dispose)

    def _dispose(self) -> None:
        self._reader.dispose()
        self._writer.dispose()

    async def close(self) -> None:
        """Finish what is running and let go of every connection."""
        await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        self._write_threads.shutdown()
        self._read_threads.shutdown()
        self._dispose()


def _parse(address: str, use: Use) -> URL:
    setting = use.setting
    address, secret_file = split_secret_file(address)
    try:
        url = make_url(address)
    except ArgumentError as error:
        msg = f"{setting}: not a database address; use sqlite:///FILE or postgresql+psycopg://user@host/database"
        raise InvalidSettings(msg, setting) from error
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        msg = f"{setting}: {url.drivername!r} is not known; use sqlite or postgresql+psycopg"
        raise InvalidSettings(msg, setting)
    if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
        msg = f"{setting}: SQLite needs a file, as in sqlite:///data/{setting}.db"
        raise InvalidSettings(msg, setting)
    return _with_secret(url, secret_file, setting) if secret_file else url


def _with_secret(url: URL, secret_file: str, setting: str) -> URL:
    """Put the password in; SQLAlchemy keeps it out of what it prints of an address."""
    if url.get_backend_name() == "sqlite" or not url.username or url.password:
        msg = f"{setting}: secret_file is for an address like postgresql+psycopg://user@host/database, without password"
        raise InvalidSettings(msg, setting)
    return url.set(password=read_secret(secret_file, setting))


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


def _sqlite_engine(url: URL, journal: str | None) -> Engine:
    """Make an engine that writes with this journal, or one that only reads where it is None."""
    write = journal is not None
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
        # Text that a damaged page has made undecodable is read as other text, and found by whoever compares it.
        connection.text_factory = _text
        for pragma in _pragmas(journal):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _pragmas(journal: str | None) -> tuple[str, ...]:
    if journal is None:
        return ("query_only=ON",)
    return (f"journal_mode={journal}", "synchronous=FULL", "foreign_keys=ON")
