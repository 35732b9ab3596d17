"""The part of the catalogue that says how long footage is kept: classes, holds, what has come to its end.

Everything here but the lists of what has come to its end follows from the custody ledger, and every write may be
repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.clock import Instant
from domain.events import HoldOrigin
from storage.catalog.catalog import Catalog
from storage.catalog.objects import table_of
from storage.catalog.paging import Order
from storage.catalog.rows import (
    DecisionRow,
    ExpiryRow,
    ExpiryState,
    HoldRow,
    ObjectRow,
    Page,
    ReleaseRow,
    SegmentRow,
    UploadRow,
)
from storage.catalog.tables import decisions, expiries, holds, places, releases, segments, uploads

T = TypeVar("T", bound=msgspec.Struct)

_NEWEST_HOLD = Order((holds.c.at, holds.c.id), descending=True)
_LISTED = Order((expiries.c.listed_at, expiries.c.key))


class Register:
    """Asynchronous face of those tables; every method may raise `CatalogUnavailable`, and may then be called again."""

    def __init__(self, catalog: Catalog) -> None:
        self._database = catalog.database
        self._insert: Any = sqlite.insert if self._database.is_sqlite else postgresql.insert

    # Classes

    async def add_decision(self, row: DecisionRow) -> None:
        """Remember a decision."""
        await self._write(self._insert(decisions).values(**msgspec.structs.asdict(row)).on_conflict_do_nothing())

    async def decisions(self, recorder_id: str, session_id: str) -> list[DecisionRow]:
        """Return what was decided about a session, the oldest first."""
        table = decisions.c
        query = select(decisions).where(table.recorder_id == recorder_id, table.session_id == session_id)
        return await self._all(query.order_by(table.at, table.id), DecisionRow)

    # Holds

    async def set_hold(self, row: HoldRow) -> None:
        """Remember a hold; of the same hold said twice, the newer statement counts."""
        statement = self._insert(holds).values(**msgspec.structs.asdict(row))
        changes = {holds.c[name]: statement.excluded[name] for name in row.__struct_fields__ if name != "id"}
        newer = statement.excluded.at >= holds.c.at
        await self._write(statement.on_conflict_do_update(index_elements=["id"], set_=changes, where=newer))

    async def release(self, row: ReleaseRow) -> None:
        """Remember that a hold was lifted; the first release counts. The hold need not be known yet."""
        await self._write(self._insert(releases).values(**msgspec.structs.asdict(row)).on_conflict_do_nothing())

    async def holds(self, recorder_id: str, *, released: bool = False) -> list[HoldRow]:
        """Return the holds on a recorder's footage that stand, or with `released` those lifted too; oldest first."""
        query = select(holds).where(holds.c.recorder_id == recorder_id).order_by(holds.c.at, holds.c.id)
        if not released:
            query = query.where(holds.c.id.not_in(select(releases.c.hold_id)))
        return await self._all(query, HoldRow)

    async def list_holds(
        self, *, origin: HoldOrigin | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HoldRow]:
        """List the holds that stand on any recorder's footage, those set last first."""
        query = select(holds).where(holds.c.id.not_in(select(releases.c.hold_id)))
        if origin is not None:
            query = query.where(holds.c.origin == origin)
        rows = await self._rows(_NEWEST_HOLD.page(query, cursor, limit))
        return Page([HoldRow(**row._mapping) for row in rows[:limit]], _NEWEST_HOLD.cursor(rows, limit))

    async def hold(self, hold_id: str) -> HoldRow | None:
        """Return a hold, lifted or not."""
        return await self._first(select(holds).where(holds.c.id == hold_id), HoldRow)

    # Locks

    async def lapsing(self, before: Instant, after: ObjectRow | None = None, limit: int = 500) -> list[ObjectRow]:
        """Return objects whose lock is over before a moment, the first to lapse first, following `after`."""
        found: list[ObjectRow] = []
        for table, kind in ((segments, SegmentRow), (uploads, UploadRow)):
            columns = [column for column in table.columns if column.key in kind.__struct_fields__]
            query = select(*columns).where(table.c.deleted_at.is_(None), table.c.retain_until < before)
            if after is not None:
                same = and_(table.c.retain_until == after.retain_until, table.c.key > after.key)
                query = query.where(or_(table.c.retain_until > after.retain_until, same))
            found += await self._all(query.order_by(table.c.retain_until, table.c.key).limit(limit), kind)
        return sorted(found, key=lambda row: (row.retain_until, row.key))[:limit]

    async def extended(self, key: str, retain_until: Instant) -> None:
        """Note a longer lock; a shorter one changes nothing."""
        table = table_of(key)
        where = (table.c.key == key, table.c.retain_until < retain_until)
        await self._write(table.update().where(*where).values(retain_until=retain_until))

    async def deleted(self, key: str, at: Instant) -> None:
        """Note that an object was deleted: its row stays, and is listed no more."""

        def write(connection: Connection) -> None:
            table = table_of(key)
            connection.execute(
                table.update().where(table.c.key == key, table.c.deleted_at.is_(None)).values(deleted_at=at)
            )
            connection.execute(expiries.update().where(expiries.c.key == key).values(state="deleted"))

        await self._database.write(write)

    # What has come to its end

    async def expiry(self, key: str) -> ExpiryRow | None:
        """Return where an object stands whose time is over, None where it is on no list."""
        return await self._first(select(expiries).where(expiries.c.key == key), ExpiryRow)

    async def expiries(self, keys: Sequence[str]) -> dict[str, ExpiryRow]:
        """Return where those of some objects stand that are on a list, by key."""
        found = await self._all(select(expiries).where(expiries.c.key.in_(keys)), ExpiryRow)
        return {row.key: row for row in found}

    async def set_expiry(self, row: ExpiryRow) -> None:
        """Put an object on a list, or change where it stands; one that is deleted stays deleted."""
        statement = self._insert(expiries).values(**msgspec.structs.asdict(row))
        changes = {expiries.c[name]: statement.excluded[name] for name in row.__struct_fields__ if name != "key"}
        await self._write(
            statement.on_conflict_do_update(
                index_elements=["object_key"], set_=changes, where=expiries.c.state != "deleted"
            )
        )

    async def withdraw(self, key: str) -> None:
        """Take an object from the list: it has not come to its end after all."""
        await self._write(expiries.delete().where(expiries.c.key == key, expiries.c.state != "deleted"))

    async def list_expiries(
        self,
        *states: ExpiryState,
        recorder_id: str | None = None,
        session_id: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[ExpiryRow]:
        """List what has come to its end, in these states or any, that listed first first."""
        query = select(expiries)
        if states:
            query = query.where(expiries.c.state.in_(states))
        if recorder_id is not None:
            query = query.where(expiries.c.recorder_id == recorder_id)
        if session_id is not None:
            query = query.where(expiries.c.session_id == session_id)
        rows = await self._rows(_LISTED.page(query, cursor, limit))
        return Page([ExpiryRow(**row._mapping) for row in rows[:limit]], _LISTED.cursor(rows, limit))

    async def count_expiries(self) -> dict[str, int]:
        """Count what has come to its end, by state."""
        query = select(expiries.c.state, func.count()).group_by(expiries.c.state)
        found = await self._database.read(lambda connection: connection.execute(query).all())
        return {row[0]: row[1] for row in found}

    # How far a reader is

    async def place(self, name: str) -> int:
        """Return how far a reader is, 0 at first."""
        query = select(places.c.position).where(places.c.name == name)
        found = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return 0 if found is None else int(found)

    async def set_place(self, name: str, position: int) -> None:
        """Note how far a reader is; never moves back."""
        statement = self._insert(places).values(name=name, position=position)
        further = statement.excluded.position > places.c.position
        changes = {"position": statement.excluded.position}
        await self._write(statement.on_conflict_do_update(index_elements=["name"], set_=changes, where=further))

    # How

    async def _write(self, statement: Any) -> None:
        await self._database.write(lambda connection: connection.execute(statement))

    async def _first(self, query: Any, kind: type[T]) -> T | None:
        found = await self._all(query, kind)
        return found[0] if found else None

    async def _all(self, query: Any, kind: type[T]) -> list[T]:
        return [kind(**row._mapping) for row in await self._rows(query)]

    async def _rows(self, query: Any) -> Sequence[Any]:
        labelled = query.with_only_columns(*(column.label(column.key) for column in query.selected_columns))
        found: Sequence[Any] = await self._database.read(lambda connection: connection.execute(labelled).all())
        return found
