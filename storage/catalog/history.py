"""The part of the catalogue that knows what a recorder's day looked like: derived from the log, like the rest.

Readings of a device are kept ten minutes apart, an hour of them a row; stops, resumptions and explanations as they were
said. Both are written by whoever projects the log, as often as it likes: the same again changes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.clock import Instant
from storage.catalog.catalog import Catalog
from storage.catalog.tables import marks, readings

HOUR_MS = 3_600_000
KEEP_READINGS_MS = 90 * 24 * HOUR_MS
"""Readings older than the newest by more than this are deleted: they say how a device was, not what it recorded."""
MAX_MARKS = 5_000


class Reading(msgspec.Struct, array_like=True):
    """How a device was in a slot of time, as it last said; of its radio link the worst.

    Attributes:
        at: Start of the slot, ms.
        battery: Charge, 0 to 1.
        charging: On mains or dock.
        space: Free part of its card, 0 to 1.
        signal_dbm: Radio link.
        offset_ms: Device clock − ours.
    """

    at: int
    battery: float | None = None
    charging: bool | None = None
    space: float | None = None
    signal_dbm: float | None = None
    offset_ms: int | None = None


class ReadingsRow(msgspec.Struct, frozen=True, kw_only=True):
    """An hour of readings.

    Attributes:
        recorder_id: Whose.
        hour_at: Start of the hour.
        readings: In order.
    """

    recorder_id: str
    hour_at: Instant
    readings: list[Reading]


class MarkRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stop, a resumption or an explanation.

    Attributes:
        id: Of the statement: a hash of whose it is and what it says.
        recorder_id: Whose.
        session_id: Of which session.
        at: The moment it is about.
        kind: `stop`, `resume` or `explanation`.
        body: The event, in its wire form.
    """

    id: str
    recorder_id: str
    session_id: str
    at: Instant
    kind: str
    body: str


class History:
    """Asynchronous face of the tables; every method may raise `CatalogUnavailable`, and may then be called again."""

    def __init__(self, catalog: Catalog) -> None:
        self._database = catalog.database
        self._insert: Any = sqlite.insert if self._database.is_sqlite else postgresql.insert

    async def keep_readings(self, *rows: ReadingsRow) -> None:
        """Write hours; an hour written again is replaced. Deletes what is too old."""

        def write(connection: Connection) -> None:
            for row in rows:
                body = msgspec.json.encode(row.readings).decode()
                values = {"recorder_id": row.recorder_id, "hour_at": row.hour_at, "body": body}
                insert = self._insert(readings).values(values)
                key = [readings.c.recorder_id, readings.c.hour_at]
                connection.execute(insert.on_conflict_do_update(index_elements=key, set_={readings.c.body: body}))
            oldest = max(row.hour_at for row in rows).plus(-KEEP_READINGS_MS)
            connection.execute(delete(readings).where(readings.c.hour_at < oldest))

        await self._database.write(write)

    async def keep_marks(self, *rows: MarkRow) -> None:
        """Write marks; one that is there stays."""

        def write(connection: Connection) -> None:
            for row in rows:
                connection.execute(self._insert(marks).values(**msgspec.structs.asdict(row)).on_conflict_do_nothing())

        await self._database.write(write)

    async def readings(self, recorder_id: str, from_at: Instant, to_at: Instant) -> list[Reading]:
        """Return the readings of a span, in order."""
        query = (
            select(readings.c.body)
            .where(
                readings.c.recorder_id == recorder_id,
                readings.c.hour_at > from_at.plus(-HOUR_MS),
                readings.c.hour_at < to_at,
            )
            .order_by(readings.c.hour_at)
        )
        bodies = await self._database.read(lambda connection: connection.execute(query).scalars().all())
        found = [one for body in bodies for one in msgspec.json.decode(body, type=list[Reading])]
        return [one for one in found if from_at <= one.at < to_at]

    async def marks(
        self,
        recorder_id: str,
        *,
        session_id: str | None = None,
        from_at: Instant | None = None,
        to_at: Instant | None = None,
    ) -> list[MarkRow]:
        """Return the marks of a recorder, in order, at most `MAX_MARKS`; of a session, or of a span."""
        query = select(*(column.label(column.key) for column in marks.columns)).where(
            marks.c.recorder_id == recorder_id
        )
        wanted = (
            None if session_id is None else marks.c.session_id == session_id,
            None if from_at is None else marks.c.at >= from_at,
            None if to_at is None else marks.c.at < to_at,
        )
        query = query.where(*(one for one in wanted if one is not None))
        query = query.order_by(marks.c.at, marks.c.id).limit(MAX_MARKS)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [MarkRow(**row._mapping) for row in rows]
