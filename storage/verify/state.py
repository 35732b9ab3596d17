"""What a check has seen so far, in a file: it holds millions of keys, and a check that was cut off goes on with it.

SQLite, without fsync: a file that was lost or damaged only means that the check begins anew.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from domain.errors import InvalidInput
from storage.verify.fault import Fault

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (digest INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS sessions (
    number INTEGER PRIMARY KEY, recorder TEXT, session TEXT, segments INTEGER, bytes INTEGER, done INTEGER DEFAULT 0,
    done_bytes INTEGER DEFAULT 0, UNIQUE (recorder, session));
CREATE TABLE IF NOT EXISTS faults (fault TEXT, place TEXT, detail TEXT, recorder TEXT, UNIQUE (fault, place));
"""


class Session(NamedTuple):
    """A session to be checked, and how many of its segments have been."""

    number: int
    recorder_id: str
    session_id: str
    segments: int
    bytes: int
    done: int
    done_bytes: int


class State:
    """One check's memory.

    Args:
        path: Of the file; in memory where None.
        scope: What is checked, in words.
        resume: Go on where a check of the same scope was cut off; begin anew where there is none.

    Raises:
        InvalidInput: The file cannot be used.
    """

    def __init__(self, path: Path | None, scope: str, *, resume: bool) -> None:
        self._path = path
        if path is not None and not resume:
            path.unlink(missing_ok=True)
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._open(":memory:" if path is None else str(path), scope)
        except (sqlite3.Error, OSError) as error:
            msg = f"state: {path}: {error}; delete it to begin anew"
            raise InvalidInput(msg, "state") from error

    def _open(self, name: str, scope: str) -> None:
        self._database = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _SCHEMA)
        if self._fact("scope") not in {None, scope.encode()}:
            for table in ("facts", "keys", "sessions", "faults"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand above
        self._database.execute("INSERT OR IGNORE INTO facts VALUES ('scope', ?), ('salt', ?)", (scope, os.urandom(16)))
        self._salt = self._fact("salt") or b""

    # Survey

    def begin_survey(self) -> None:
        """Forget what the last survey counted, and keep what was checked."""
        self._database.execute("UPDATE sessions SET segments = 0, bytes = 0")

    def add(self, segments: Iterable[tuple[str, str, str, int]]) -> None:
        """Note objects: key, recorder, session, bytes."""
        rows = list(segments)
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO keys VALUES (?)", [(self._digest(row[0]),) for row in rows])
        self._database.executemany(
            "INSERT INTO sessions (recorder, session, segments, bytes) VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE"
            " SET segments = segments + 1, bytes = bytes + excluded.bytes",
            [(recorder, session, size) for _, recorder, session, size in rows],
        )
        self._database.execute("COMMIT")

    def knows(self, key: str) -> bool:
        """Tell whether an object of this key was noted."""
        return (
            self._database.execute("SELECT 1 FROM keys WHERE digest = ?", (self._digest(key),)).fetchone() is not None
        )

    def totals(self) -> tuple[int, int, int, int]:
        """Return the number of segments and bytes to be checked, and of those that have been."""
        asked = "SELECT total(segments), total(bytes), total(done), total(done_bytes) FROM sessions"
        segments, size, done, done_size = self._database.execute(asked).fetchone()
        return int(segments), int(size), int(done), int(done_size)

    # Sessions

    def unfinished(self) -> Iterator[Session]:
        """Return the sessions that are not checked whole, in the order in which they were first stored."""
        number = 0
        asked = "SELECT * FROM sessions WHERE number > ? AND done < segments ORDER BY number LIMIT 1"
        while (row := self._database.execute(asked, (number,)).fetchone()) is not None:
            yield Session(*row)
            number = row[0]

    def checked(self, number: int, done: int, size: int, faults: Iterable[Fault]) -> None:
        """Note how many segments of a session have been checked, how many bytes more, and what was found."""
        self._database.execute("BEGIN")
        self._database.execute(
            "UPDATE sessions SET done = ?, done_bytes = done_bytes + ? WHERE number = ?", (done, size, number)
        )
        self._database.executemany(
            "INSERT OR IGNORE INTO faults VALUES (?, ?, ?, ?)",
            [(one.fault, one.where, one.detail, one.recorder_id) for one in faults],
        )
        self._database.execute("COMMIT")

    def faults(self) -> list[Fault]:
        """Return what was found before."""
        return [Fault(*row) for row in self._database.execute("SELECT * FROM faults ORDER BY rowid")]

    def close(self, *, is_done: bool) -> None:
        """Let go of the file; a check that came to its end leaves none."""
        self._database.close()
        if is_done and self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _digest(self, key: str) -> int:
        """Eight bytes, salted so that nobody can make a key that passes for another."""
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, key=self._salt).digest(), "big", signed=True)

    def _fact(self, name: str) -> bytes | None:
        row = self._database.execute("SELECT CAST(value AS BLOB) FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])
