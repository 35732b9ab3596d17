"""The part of the catalogue that knows of files delivered later."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.clock import Instant
from storage.catalog.catalog import Catalog
from storage.catalog.rows import UploadRow
from storage.catalog.tables import segments, uploads

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

    async def of(self, recorder_id: str, session_id: str | None = None, *, limit: int = 1000) -> list[UploadRow]:
        """Return a recorder's files in order of capture."""
        query = select(*_COLUMNS).where(uploads.c.recorder_id == recorder_id)
        if session_id is not None:
            query = query.where(uploads.c.session_id == session_id)
        return await self._all(query.order_by(uploads.c.from_at, uploads.c.key).limit(limit))

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
