"""The catalogue, made anew from objects and ledger alone.

Of each table that can be known from there:

- **segments, uploads**: the row from its entry, its lock from the store, its end from the receipt of its deletion.
  Segments count as announced, because the store worker has moved on from most of them. Where the last life died between
  steps 6 and 7 of docs/design/storage.md, one was not: at most the last of a recorder, so those are told to the log
  again (`newest`).
- **decisions, holds, releases**: from their entries, as `storage.retention` reads them.

- **sessions**, as far as the log no longer has them: from their first captured moment to their last.

Recorders, newer sessions, findings, readings and marks are projections of the log; expiries are made by the next look
at what is over, and begin their time on the list anew; places say how far a reader is, and begin at 0.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, false, func, insert, select, union_all

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidInput
from storage.catalog.catalog import Catalog
from storage.catalog.register import Register
from storage.catalog.rows import ObjectRow, ReleaseRow, SegmentRow, UploadRow
from storage.catalog.tables import segments, sessions, uploads
from storage.catalog.uploads import Uploads
from storage.ledger import delivery, segment
from storage.ledger.entry import Entry, decode
from storage.ledger.footage import is_stored
from storage.ledger.ledger import Ledger
from storage.objects.port import ObjectStore
from storage.retention import holds
from storage.retention.entries import decision_of, hold_of, release_of

R = TypeVar("R", bound=ObjectRow)

ROWS_AT_ONCE = 500
MAX_ABSENT = 10_000


class Rebuilt(msgspec.Struct, kw_only=True):
    """What was made.

    Attributes:
        segments: Rows of segments.
        uploads: Rows of files that were delivered later; stored, as far as the ledger tells, when they were delivered.
        deleted: Objects that were deleted at the end of their time.
        sessions: Sessions that the log no longer has.
        decisions: Decisions about classes.
        holds: Holds, lifted or not; one that was said again counts again.
        releases: Holds that were lifted.
        newest: The last segment of each recorder, whose announcement is to be repeated.
        absent: Keys that the store does not have, and that no receipt says were deleted; at most `MAX_ABSENT`.
    """

    segments: int = 0
    uploads: int = 0
    deleted: int = 0
    sessions: int = 0
    decisions: int = 0
    holds: int = 0
    releases: int = 0
    newest: dict[str, SegmentRow] = {}
    absent: list[str] = []


async def rebuild(catalog: Catalog, store: ObjectStore, ledger: Ledger, log_since: Instant) -> Rebuilt:
    """Fill an empty catalogue.

    Args:
        catalog: To be filled.
        store: The evidence store.
        ledger: The custody ledger.
        log_since: From when on the log has everything.

    Raises:
        InvalidInput: It is not empty.
        IntegrityError: A line of the ledger cannot be read.
        Unavailable: A part is away; begin again with an empty catalogue.
    """
    if await catalog.database.read(lambda connection: connection.execute(select(segments.c.key).limit(1)).first()):
        msg = "catalog: has segments already; name an empty database"
        raise InvalidInput(msg, "catalog")
    work = _Rebuild(catalog, store, ledger)
    await work.run()
    work.made.sessions = await catalog.database.write(lambda connection: _sessions(connection, log_since))
    return work.made


def _sessions(connection: Connection, before: Instant) -> int:
    """Make rows of sessions whose last footage is older than what the log has."""
    kinds = (
        select(table.c.recorder_id, table.c.session_id, table.c.from_at, table.c.to_at) for table in (segments, uploads)
    )
    of, to = union_all(*kinds).subquery().c, sessions.c
    begin, end = func.min(of.from_at), func.max(of.to_at)
    old = select(of.recorder_id, of.session_id, begin, false(), false(), end, end)
    old = old.group_by(of.recorder_id, of.session_id).having(end < before)
    names = [to.recorder_id, to.session_id, to.opened_at, to.unbroken, to.remote, to.ended_at, to.completed_at]
    return connection.execute(insert(sessions).from_select(names, old)).rowcount


class _Rebuild:
    def __init__(self, catalog: Catalog, store: ObjectStore, ledger: Ledger) -> None:
        self.made = Rebuilt()
        self._catalog = catalog
        self._register = Register(catalog)
        self._uploads = Uploads(catalog)
        self._store = store
        self._ledger = ledger
        self._waiting: list[SegmentRow] = []

    async def run(self) -> None:
        async for _, line in self._ledger.read():
            await self._take(decode(line))
            if len(self._waiting) == ROWS_AT_ONCE:
                await self._write()
        await self._write()

    async def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "segment":
                self._waiting.append(segment.row_of(entry))
            case "class":
                await self._register.add_decision(decision_of(entry))
                self.made.decisions += 1
            case "hold":
                await self._register.set_hold(hold_of(entry))
                self.made.holds += 1
            case "release":
                await self._release(entry)
            case "backfill" if is_stored(entry):
                await self._write()  # the segments before it, which it may overlap
                await self._delivered(delivery.row_of(entry))
            case "deletion" if entry.body.get("stage") == "done":
                await self._write()  # the row of what was deleted may still be waiting
                await self._deleted(str(entry.body["key"]), entry.at)

    async def _release(self, entry: Entry) -> None:
        event = release_of(entry)
        known = await self._register.holds(event.recorder_id, released=True)
        for one in holds.lifted(event, known):
            await self._register.release(ReleaseRow(hold_id=one, at=entry.at, by=event.by, reason=event.reason))
            self.made.releases += 1

    async def _delivered(self, row: UploadRow) -> None:
        overlap_ms = await self._uploads.overlap_ms(row.recorder_id, row.from_at, row.to_at, but=row.key)
        await self._uploads.add(msgspec.structs.replace(await self._as_stored(row), overlap_ms=overlap_ms))
        self.made.uploads += 1

    async def _deleted(self, key: str, at: Instant) -> None:
        await self._register.deleted(key, at)
        self.made.deleted += 1
        if key in self.made.absent:
            self.made.absent.remove(key)

    async def _write(self) -> None:
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        known = await asyncio.gather(*map(self._as_stored, rows))

        def write(connection: Connection) -> None:
            connection.execute(insert(segments), [{**msgspec.structs.asdict(row), "announced": True} for row in known])

        await self._catalog.database.write(write)
        self.made.segments += len(known)
        self.made.newest |= {row.recorder_id: row for row in known}

    async def _as_stored(self, row: R) -> R:
        """Take the lock from the store, which lengthens it without a word to the ledger."""
        try:
            head = await self._store.head(row.key, row.version_id)
        except IntegrityError:
            head = None
        if head is None:
            if len(self.made.absent) < MAX_ABSENT:
                self.made.absent.append(row.key)
            return row
        return msgspec.structs.replace(row, retain_until=head.retain_until or row.retain_until)
