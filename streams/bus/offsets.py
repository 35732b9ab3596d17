"""What the embedded log keeps in SQLite: numbers of partitions, and the offsets that groups have committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from domain.bus import TopicPartition
from domain.errors import BusUnavailable

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS offsets (
        consumer_group TEXT NOT NULL, topic TEXT NOT NULL, "partition" INTEGER NOT NULL, next_offset INTEGER NOT NULL,
        PRIMARY KEY (consumer_group, topic, "partition")) STRICT, WITHOUT ROWID""",
)
_COMMIT = """INSERT INTO offsets VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset"""

Commit = tuple[str, Mapping[TopicPartition, int]]


class OffsetStore:
    """One connection, used only through `executor`'s single thread; every transaction is synced before it returns."""

    def __init__(self, path: Path) -> None:
        self.executor = ThreadPoolExecutor(1, "liuhen-log-offsets")
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self, topics: Sequence[str], partitions: int) -> dict[str, int]:
        """Open the file, note topics that are new, and return the number of partitions of every topic.

        Raises:
            BusUnavailable: The file cannot be used.
        """
        try:
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            for statement in _SCHEMA:
                self._connection.execute(statement)
            rows = [(topic, partitions) for topic in topics]
            self._connection.executemany("INSERT INTO topics VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
            return dict(self._connection.execute("SELECT name, partitions FROM topics"))
        except sqlite3.Error as error:
            raise BusUnavailable(f"{self._path}: {error}") from error

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return what a group has committed.

        Raises:
            BusUnavailable: It cannot be read.
        """
        query = 'SELECT topic, "partition", next_offset FROM offsets WHERE consumer_group = ?'
        try:
            rows = self._open().execute(query, (group,)).fetchall()
        except sqlite3.Error as error:
            raise BusUnavailable(f"{self._path}: {error}") from error
        return {TopicPartition(topic, partition): offset for topic, partition, offset in rows}

    def commit(self, commits: Sequence[Commit]) -> None:
        """Store several groups' offsets in one transaction.

        Raises:
            BusUnavailable: Nothing was stored.
        """
        rows = [(group, at.topic, at.partition, next_) for group, offsets in commits for at, next_ in offsets.items()]
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(_COMMIT, rows)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise BusUnavailable(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the file; blocks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.executor.shutdown()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise BusUnavailable(f"{self._path}: closed")
        return self._connection
