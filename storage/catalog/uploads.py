"""The part of the catalogue that knows of files delivered later."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.clock import Instant
from storage.catalog.catalog import Catalog
from storage.catalog.paging import Order
from storage.catalog.rows import Page, UploadRow
from storage.catalog.tables import segments, uploads

_IN_TIME = Order((uploads.c.from_at, uploads.c.key))
_COLUMNS = tuple(column.label(column.key) for column in uploads.columns)


class Uploads:
    """Asynchronous face of the table; every method may raise `CatalogUnavailable`, and may then be called again."""

    def __init__(self, catalog: Catalog) -> None:
        self._database = catalog.database
        self._insert: Any = sqlite.insert if self._database.is_sqlite else postgresql.insert

    async def add(self, row: UploadRow) -> UploadRow:
        """Remember one; of the same object said twice, what was said first is returned and stays."""

        def add(connection: Connection) -> UploadRow:
            connection.execute(self._insert(uploads).values(**msgspec.structs.asdict(row)).on_conflict_do_nothing())
            return _rows(connection, select(*_COLUMNS).where(uploads.c.key == row.key))[0]

        return await self._database.write(add)

    async def known(self, recorder_id: str, sha256: str) -> UploadRow | None:
        """Return the file of a recorder that has this hash."""
        query = select(*_COLUMNS).where(uploads.c.recorder_id == recorder_id, uploads.c.sha256 == sha256)
        found = await self._all(query.limit(1))
        return found[0] if found else None

    async def page(
        self,
        *,
        recorder_id: str | None = None,
        session_id: str | None = None,
        from_at: Instant | None = None,
        to_at: Instant | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[UploadRow]:
        """List files in order of capture; with times, those that overlap `from_at` ≤ t < `to_at`.

        Those that were deleted at the end of their time are left out.
        """
        table = uploads.c
        query = select(*_COLUMNS).where(table.deleted_at.is_(None))
        wanted = (
            None if recorder_id is None else table.recorder_id == recorder_id,
            None if session_id is None else table.session_id == session_id,
            None if from_at is None else table.to_at > from_at,
            None if to_at is None else table.from_at < to_at,
        )
        query = query.where(*(one for one in wanted if one is not None))
        paged = _IN_TIME.page(query, cursor, limit)
        rows = await self._database.read(lambda connection: connection.execute(paged).all())
        return Page([UploadRow(**row._mapping) for row in rows[:limit]], _IN_TIME.cursor(rows, limit))

    async def get(self, key: str) -> UploadRow | None:
        """Return one file, deleted or not."""
        found = await self._all(select(*_COLUMNS).where(uploads.c.key == key))
        return found[0] if found else None

    async def overlap_ms(self, recorder_id: str, start: Instant, end: Instant, *, but: str = "") -> int:
        """Return how much of a span of capture is in the store already, leaving out the object `but`."""
        spans: list[tuple[int, int]] = []

        def read(connection: Connection) -> None:
            for table in (segments, uploads):
                query = select(table.c.from_at, table.c.to_at).where(
                    table.c.recorder_id == recorder_id,
                    table.c.to_at > start,
                    table.c.from_at < end,
                    table.c.key != but,
                    table.c.deleted_at.is_(None),
                )
                spans.extend((max(row[0], start), min(row[1], end)) for row in connection.execute(query))

        await self._database.read(read)
        total, reached = 0, int(start)
        for first, last in sorted(spans):
            total += max(0, last - max(first, reached))
            reached = max(reached, last)
        return total

    async def _all(self, query: Select[Any]) -> list[UploadRow]:
        return await self._database.read(lambda connection: _rows(connection, query))


def _rows(connection: Connection, query: Select[Any]) -> list[UploadRow]:
    return [UploadRow(**row._mapping) for row in connection.execute(query)]
