"""The custody ledger as the rest of Liuhen sees it.

Several processes may append to one ledger at once; it grows by whole transactions, one after another, so that a reader
never sees a hole. What the same process appends at the same moment is one transaction (group commit).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from domain.errors import IntegrityError, InvalidInput, LedgerUnavailable, Unavailable
from storage.database import Database, Use
from storage.ledger import statements
from storage.ledger.entry import Entry
from storage.ledger.merkle import Frontier, Range, consistency_ranges, inclusion_ranges, leaf_hash
from storage.ledger.statements import Checkpoint, Delivery, Line, Row
from storage.ledger.tables import metadata
from storage.migrate import migrate

T = TypeVar("T")

LEDGER = Use("ledger", "ledger", LedgerUnavailable, journal="TRUNCATE")
"""A rollback journal, not WAL: several processes write. TRUNCATE, not DELETE: with `synchronous=FULL` the emptied
journal is fsynced, where a deleted one might come back after a power cut and undo what was acknowledged."""

GROUP_ENTRIES = 512
READ_AT_ONCE = 500
TAIL = 64
"""Entries at the end that are checked before the first append and after one that failed."""


class _Waiting(NamedTuple):
    lines: list[Line]
    answer: asyncio.Future[list[int]]


class Ledger:
    """Asynchronous face of the ledger's database; any method may raise `LedgerUnavailable` and may be called again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []  # bounded by the callers, who each await their answer
        self._committer: asyncio.Task[None] | None = None
        self._is_trusted = False

    @classmethod
    async def connect(cls, address: str) -> Self:
        """Open `sqlite:///FILE` or `postgresql+psycopg://…` and bring its schema up to date.

        Raises:
            InvalidSettings: The address is of no known kind.
            LedgerUnavailable: No answer, or made by a newer program.
        """
        database = Database(address, LEDGER)
        try:
            await asyncio.to_thread(migrate, database, metadata, "ledger")
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Finish what is being appended and disconnect."""
        if self._committer is not None:
            await self._committer
        await self._database.close()

    # Entries

    async def append(self, entries: Sequence[Entry]) -> list[int]:
        """Add entries, all or none; durable when this returns.

        Returns:
            The index of each; of one that is known already, the index it has.

        Raises:
            InvalidInput: An entry that cannot be written; see `Entry.line`.
            LedgerUnavailable: Not written, or it cannot be told: append again.
            IntegrityError: The end of the ledger is not what was written there; nothing is appended to it.
        """
        lines = [Line.of(entry) for entry in entries]
        if not lines:
            return []
        waiting = _Waiting(lines, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit(), name="ledger")
        return await waiting.answer

    async def size(self) -> int:
        """Return the number of entries."""
        return await self._read(statements.size_of)

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[tuple[int, bytes]]:
        """Read index and line of entries `start` to `end` (exclusive; what there is now, where None), in order.

        Raises:
            IntegrityError: One of them is missing.
        """
        async for row in self.rows(start, end):
            yield row.index, row.line

    async def rows(self, start: int = 0, end: int | None = None) -> AsyncIterator[Row]:
        """Read entries as they stand in the database, with the nodes beside them."""
        end = await self.size() if end is None else end
        while start < end:
            found = await self._read(partial(statements.rows, start=start, end=end, limit=READ_AT_ONCE))
            for row in found:
                yield row
            start += len(found)

    async def find(self, entry_id: str) -> int | None:
        """Return the index of an entry, None where there is none."""
        return await self._read(partial(statements.index_of, entry_id=entry_id))

    async def count(self, kind: str, start: int = 0) -> int:
        """Return how many entries of a kind there are from `start` on."""
        return await self._read(partial(statements.count_of, kind=kind, start=start))

    async def of_kinds(
        self, kinds: Sequence[str], start: int = 0, limit: int = READ_AT_ONCE
    ) -> list[tuple[int, bytes]]:
        """Return index and line of up to `limit` entries of these kinds from `start` on, in order."""
        return await self._read(partial(statements.kind_lines, kinds=kinds, start=start, limit=limit))

    async def last_of_kinds(
        self, kinds: Sequence[str], before: int, limit: int = READ_AT_ONCE
    ) -> list[tuple[int, bytes]]:
        """Return index and line of up to `limit` entries of these kinds before an index, the newest first."""
        return await self._read(partial(statements.last_kind_lines, kinds=kinds, before=before, limit=limit))

    async def of_session(self, recorder_id: str, session_id: str | None) -> list[tuple[int, bytes]]:
        """Return index and line of every entry about a session, in order."""
        return await self._read(partial(statements.session_lines, recorder_id=recorder_id, session_id=session_id))

    async def recorders_of(self, session_id: str) -> list[str]:
        """Return the recorders that have stored footage under a session's id."""
        return await self._read(partial(statements.recorders_of, session_id=session_id))

    # The tree

    async def root(self, size: int | None = None) -> bytes:
        """Return the root of the tree (RFC 9162 §2.1.1) as it was at `size`; as it is, where None."""

        def find(connection: Connection) -> bytes:
            whole = statements.size_of(connection)
            _check_size(whole if size is None else size, whole)
            return statements.roots(connection, [Range(0, whole if size is None else size)])[0]

        return await self._read(find)

    async def frontier(self, size: int) -> Frontier:
        """Return the right edge of the tree as it was at `size`, to be grown by whoever reads what follows."""
        return await self._read(partial(statements.frontier_of, size=size))

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that entry `index` is in the tree of `size` (RFC 9162 §2.1.3).

        Raises:
            InvalidInput: There is no such entry, or no such tree yet.
        """
        return await self._proof(inclusion_ranges(index, size), size)

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the tree of `second` begins with that of `first` (RFC 9162 §2.1.4).

        Raises:
            InvalidInput: The first is larger, or there is no such tree yet.
        """
        return await self._proof(consistency_ranges(first, second), second)

    # Checkpoints and where they are

    async def add_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep a checkpoint; return the one that stands, which is the first that was made for its size."""
        return await self._write(partial(statements.add_checkpoint, checkpoint=checkpoint))

    async def checkpoints(self, size: int = 0) -> AsyncIterator[Checkpoint]:
        """Read the checkpoints of at least `size`, the smallest first."""
        while found := await self._read(partial(statements.checkpoints_from, size=size, limit=READ_AT_ONCE)):
            for one in found:
                yield one
            size = found[-1].size + 1

    async def checkpoints_after(self, size: int) -> int:
        """Return how many checkpoints are larger than `size`."""
        return await self._read(partial(statements.checkpoints_after, size=size))

    async def latest_checkpoint(self) -> Checkpoint | None:
        """Return the largest checkpoint, None where there is none."""
        return await self._read(statements.latest_checkpoint)

    async def set_timestamp(self, size: int, token: bytes) -> None:
        """Keep a timestamp beside its checkpoint."""
        await self._write(partial(statements.set_timestamp, size=size, token=token))

    async def deliveries(self) -> list[Delivery]:
        """Return how far each place has been served."""
        return await self._read(statements.all_deliveries)

    async def set_delivery(self, delivery: Delivery) -> None:
        """Note how far a place has been served; never moves back."""
        await self._write(partial(statements.set_delivery, delivery=delivery))

    # Inside

    async def _commit(self) -> None:
        """Commit what waits, group by group, until nothing does."""
        try:
            while self._waiting:
                await self._commit_group(self._take_group())
        finally:
            self._committer = None
            for left in self._waiting:  # only where the loop itself is being ended
                left.answer.cancel()

    def _take_group(self) -> list[_Waiting]:
        group = [self._waiting.pop(0)]
        entries = len(group[0].lines)
        while self._waiting and entries + len(self._waiting[0].lines) <= GROUP_ENTRIES:
            group.append(self._waiting.pop(0))
            entries += len(group[-1].lines)
        return group

    async def _commit_group(self, group: list[_Waiting]) -> None:
        try:
            await self._check_tail()
            lines = [line for one in group for line in one.lines]
            found = await self._write(partial(statements.append, lines=lines))
        except Exception as error:
            for one in group:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        for one in group:
            if not one.answer.done():
                one.answer.set_result(found[: len(one.lines)])
            del found[: len(one.lines)]

    async def _check_tail(self) -> None:
        """Before appending to what another life, or a commit that failed, has left: see that its end is whole."""
        if self._is_trusted:
            return
        await self._read(_check_tail)
        self._is_trusted = True

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._database.write(work)
        except Unavailable:
            # After an error of the disk the connection's pages may not be those on the disk: read them anew.
            self._is_trusted = False
            await self._database.forget()
            raise

    async def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._database.read(work)
        except (TypeError, ValueError) as error:
            msg = f"ledger: a value that was not written there: {error}"
            raise IntegrityError(msg) from error
        except LedgerUnavailable as error:
            if _is_damage(error):
                raise IntegrityError(str(error)) from error
            raise

    async def _proof(self, ranges: Sequence[Range], size: int) -> list[bytes]:
        def find(connection: Connection) -> list[bytes]:
            _check_size(size, statements.size_of(connection))
            return statements.roots(connection, ranges)

        return await self._read(find)


def _is_damage(error: LedgerUnavailable) -> bool:
    """Tell whether SQLite answered, and said that its file is not one that it has written."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and type(cause.orig) is sqlite3.DatabaseError


def _check_tail(connection: Connection) -> None:
    size = statements.size_of(connection)
    begin = max(0, size - TAIL)
    frontier = statements.frontier_of(connection, begin)
    for row in statements.rows(connection, begin, size, TAIL) if size else []:
        if b"".join(frontier.add(leaf_hash(row.line))) != row.nodes:
            msg = f"ledger: entry {row.index} is not what was written there"
            raise IntegrityError(msg)


def _check_size(size: int, whole: int) -> None:
    if not 0 <= size <= whole:
        msg = f"size: the ledger has {whole} entries, not {size}"
        raise InvalidInput(msg, "size")
