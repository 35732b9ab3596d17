"""Stored footage whichever way it came: segments of live feeds, and files that were delivered later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Table

from domain.clock import Instant
from storage.catalog.catalog import Catalog
from storage.catalog.paging import MAX_PAGE
from storage.catalog.rows import ObjectRow
from storage.catalog.tables import segments, uploads
from storage.catalog.uploads import Uploads
from storage.layout import UPLOADS

_PAGE = MAX_PAGE // 2


def table_of(key: str) -> Table:
    """Return the table that has the row of an object, which its key tells."""
    return uploads if key.startswith(f"{UPLOADS}/") else segments


class Objects:
    """Reads both tables; every method may raise `CatalogUnavailable`, and may then be called again."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._uploads = Uploads(catalog)

    async def get(self, key: str) -> ObjectRow | None:
        """Return one object, deleted or not."""
        if table_of(key) is uploads:
            return await self._uploads.get(key)
        return await self._catalog.get_segment(key)

    async def of(
        self,
        recorder_id: str,
        session_id: str | None = None,
        from_at: Instant | None = None,
        to_at: Instant | None = None,
    ) -> AsyncIterator[ObjectRow]:
        """Yield what a recorder has, each kind in order of capture; with times, what overlaps `from_at` ≤ t < `to_at`.

        Those that were deleted at the end of their time are left out.
        """
        wanted: dict[str, Any] = {
            "recorder_id": recorder_id,
            "session_id": session_id,
            "from_at": from_at,
            "to_at": to_at,
        }
        for listing in (self._catalog.list_segments, self._uploads.page):
            cursor: str | None = None
            while True:
                page = await listing(**wanted, cursor=cursor, limit=_PAGE)
                for row in page.items:
                    yield row
                if (cursor := page.cursor) is None:
                    break
