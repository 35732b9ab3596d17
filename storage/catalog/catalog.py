"""The catalogue as the rest of Liuhen sees it.

Every write may be repeated and may come late: the same row again changes nothing, an older statement never replaces
a newer one. So a projection may read its topic again from any offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.clock import Instant
from domain.errors import CatalogUnavailable, IntegrityError
from domain.findings import Finding
from domain.wire import decode_finding, encode
from storage.catalog.paging import Order
from storage.catalog.rows import Page, RecorderRow, SegmentRow, SessionRow
from storage.catalog.tables import findings, metadata, recorders, segments, sessions
from storage.database import Database, Use
from storage.migrate import migrate

T = TypeVar("T")

CATALOGUE = Use("catalogue", "catalog", CatalogUnavailable, journal="WAL")

_STAGES = {"opened": 0, "updated": 1, "closed": 2}

_BY_RECORDER = Order((recorders.c.recorder_id,))
_NEWEST_SESSION = Order((sessions.c.opened_at, sessions.c.recorder_id, sessions.c.session_id), descending=True)
_NEWEST_FINDING = Order((findings.c.began_at, findings.c.id), descending=True)
_IN_TIME = Order((segments.c.from_at, segments.c.key))


class Catalog:
    """Asynchronous face of the database; every method may raise `CatalogUnavailable`, and may then be called again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert

    @property
    def database(self) -> Database:
        """What `storage.catalog.register` keeps its tables in."""
        return self._database

    @classmethod
    async def connect(cls, address: str) -> Self:
        """Open `sqlite:///FILE` or `postgresql+psycopg://…` and bring its schema up to date.

        Raises:
            InvalidSettings: The address is of no known kind.
            CatalogUnavailable: No answer, or made by a newer program.
        """
        database = Database(address, CATALOGUE)
        try:
            await asyncio.to_thread(migrate, database, metadata)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    @classmethod
    def reading(cls, address: str) -> Self:
        """Open a catalogue that another process keeps, to read it: nothing connects for writing before a write.

        Raises:
            InvalidSettings: The address is of no known kind.
            CatalogUnavailable: There is no such file.
        """
        database = Database(address, CATALOGUE)
        if database.is_sqlite and not Path(database.url.database or "").is_file():
            msg = f"catalogue: there is no {database.url.database}"
            raise CatalogUnavailable(msg)
        return cls(database)

    async def close(self) -> None:
        """Finish what is running and disconnect."""
        await self._database.close()

    async def ping(self) -> None:
        """Ask the database for a sign of life."""
        await self._database.read(lambda connection: connection.execute(select(1)).scalar_one())

    # Recorders

    async def upsert_recorder(self, *rows: RecorderRow) -> None:
        """Remember registrations; one older than what is known changes nothing but when it was last heard."""
        await self._write([self._recorder(row) for row in rows])

    async def seen(self, recorder_id: str, at: Instant, media_at: Instant | None = None) -> None:
        """Note that a recorder was heard at `at`, with media captured until `media_at`; never moves back.

        A recorder that is not registered is passed over.
        """
        table = recorders.c
        values = {"last_seen_at": _later(table.last_seen_at, at)}
        if media_at is not None:
            values["last_media_at"] = _later(table.last_media_at, media_at)
        await self._write([recorders.update().where(table.recorder_id == recorder_id).values(values)])

    async def list_recorders(self, *, cursor: str | None = None, limit: int = 100) -> Page[RecorderRow]:
        """List recorders by id."""
        return await self._page(_select(recorders), _BY_RECORDER, RecorderRow, cursor, limit)

    async def get_recorder(self, recorder_id: str) -> RecorderRow | None:
        """Return one recorder."""
        query = _select(recorders).where(recorders.c.recorder_id == recorder_id)
        return await self._first(query, RecorderRow)

    # Sessions

    async def upsert_session(self, *rows: SessionRow) -> None:
        """Remember opened sessions; an end that is already known stays."""
        await self._write([self._opened(row) for row in rows])

    async def end_session(self, recorder_id: str, session_id: str, *, ended_at: Instant, completed_at: Instant) -> None:
        """Note a session's end; it need not be known before."""
        row = SessionRow(
            recorder_id=recorder_id,
            session_id=session_id,
            opened_at=completed_at,
            ended_at=ended_at,
            completed_at=completed_at,
        )
        statement = self._insert(sessions).values(**msgspec.structs.asdict(row))
        new = statement.excluded
        changes = {"ended_at": new.ended_at, "completed_at": new.completed_at}
        await self._write([statement.on_conflict_do_update(index_elements=_pk(sessions), set_=_set(sessions, changes))])

    async def list_sessions(
        self,
        *,
        recorder_id: str | None = None,
        recorder_ids: Sequence[str] | None = None,
        open_only: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[SessionRow]:
        """List sessions, newest first; of these recorders, where they are given."""
        query = _where(
            _select(sessions),
            None if recorder_ids is None else sessions.c.recorder_id.in_(recorder_ids),
            None if recorder_id is None else sessions.c.recorder_id == recorder_id,
            sessions.c.ended_at.is_(None) if open_only else None,
        )
        return await self._page(query, _NEWEST_SESSION, SessionRow, cursor, limit)

    async def get_session(self, recorder_id: str, session_id: str) -> SessionRow | None:
        """Return one session."""
        key = and_(sessions.c.recorder_id == recorder_id, sessions.c.session_id == session_id)
        return await self._first(_select(sessions).where(key), SessionRow)

    # Findings

    async def upsert_finding(self, *statements: Finding) -> None:
        """Keep the newest statement under each id: the later `detected_at`, then opened < updated < closed."""
        await self._write([self._finding(finding) for finding in statements])

    async def list_findings(
        self,
        *,
        open_only: bool = False,
        recorder_id: str | None = None,
        recorder_ids: Sequence[str] | None = None,
        session_id: str | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Finding]:
        """List the state of findings, those that began last first; of these recorders, where they are given."""
        table = findings.c
        query = _where(
            _select(findings),
            None if recorder_ids is None else table.recorder_id.in_(recorder_ids),
            table.status != "closed" if open_only else None,
            None if recorder_id is None else table.recorder_id == recorder_id,
            None if session_id is None else table.session_id == session_id,
            None if kind is None else table.kind == kind,
        )
        rows = await self._database.read(_rows(_NEWEST_FINDING.page(query, cursor, limit)))
        return Page([decode_finding(row.body) for row in rows[:limit]], _NEWEST_FINDING.cursor(rows, limit))

    async def count_open_findings(self) -> dict[tuple[str, str], int]:
        """Count open findings by kind and severity."""
        table = findings.c
        query = (
            select(table.kind, table.severity, func.count())
            .where(table.status != "closed")
            .group_by(table.kind, table.severity)
        )
        return {(row[0], row[1]): row[2] for row in await self._database.read(_rows(query))}

    # Segments

    async def add_segment(self, row: SegmentRow) -> bool:
        """Remember a stored object.

        Returns:
            True where it is new, False where the same row stood there already.

        Raises:
            IntegrityError: The key stands there with other bytes.
        """

        def add(connection: Connection) -> bool:
            insert = (
                self._insert(segments).values(**msgspec.structs.asdict(row), announced=False).on_conflict_do_nothing()
            )
            if connection.execute(insert.returning(segments.c.key)).first() is not None:
                return True
            query = select(segments.c.sha256).where(segments.c.key == row.key)
            known: str = connection.execute(query).scalar_one()
            if known != row.sha256:
                msg = f"{row.key}: the catalogue has it with SHA-256 {known}, not {row.sha256}"
                raise IntegrityError(msg)
            return False

        return await self._database.write(add)

    async def announced(self, key: str) -> None:
        """Note that the log has been told of a segment: it need never be gathered again."""
        await self._write([segments.update().where(segments.c.key == key).values(announced=True)])

    async def list_segments(
        self,
        *,
        recorder_id: str | None = None,
        session_id: str | None = None,
        from_at: Instant | None = None,
        to_at: Instant | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[SegmentRow]:
        """List segments in order of capture; with times, those that overlap `from_at` ≤ t < `to_at`.

        Those that were deleted at the end of their time are left out.
        """
        table = segments.c
        query = _where(
            _select(segments).where(table.deleted_at.is_(None)),
            None if recorder_id is None else table.recorder_id == recorder_id,
            None if session_id is None else table.session_id == session_id,
            None if from_at is None else table.to_at > from_at,
            None if to_at is None else table.from_at < to_at,
        )
        return await self._page(query, _IN_TIME, SegmentRow, cursor, limit)

    async def get_segment(self, key: str) -> SegmentRow | None:
        """Return one segment."""
        return await self._first(_select(segments).where(segments.c.key == key), SegmentRow)

    async def stored_ranges(self, recorder_id: str, feed_id: str) -> list[tuple[int, int]]:
        """Return which fragments of a feed are stored and announced: first and last `seq` of each segment, in order."""
        table = segments.c
        query = (
            select(table.first_seq, table.last_seq)
            .where(table.recorder_id == recorder_id, table.feed_id == feed_id, table.announced)
            .order_by(table.first_seq)
        )
        return [(row[0], row[1]) for row in await self._database.read(_rows(query))]

    # How

    async def _write(self, statements: Sequence[Any]) -> None:
        def run(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        if statements:
            await self._database.write(run)

    async def _first(self, query: Select[Any], kind: type[T]) -> T | None:
        rows = await self._database.read(_rows(query))
        return kind(**rows[0]._mapping) if rows else None

    async def _page(self, query: Select[Any], order: Order, kind: type[T], cursor: str | None, limit: int) -> Page[T]:
        rows = await self._database.read(_rows(order.page(query, cursor, limit)))
        return Page([kind(**row._mapping) for row in rows[:limit]], order.cursor(rows, limit))

    def _recorder(self, row: RecorderRow) -> Any:
        statement = self._insert(recorders).values(**msgspec.structs.asdict(row))
        new, old = statement.excluded, recorders.c
        newer = new.registered_at >= old.registered_at
        described = ("kind", "policy", "registered_at", "state", "site_id", "name", "expects_audio", "continuous")
        changes: dict[str, Any] = {name: case((newer, new[name]), else_=old[name]) for name in described}
        for name in ("last_seen_at", "last_media_at"):
            changes[name] = _later(old[name], new[name])
        return statement.on_conflict_do_update(index_elements=_pk(recorders), set_=_set(recorders, changes))

    def _opened(self, row: SessionRow) -> Any:
        statement = self._insert(sessions).values(**msgspec.structs.asdict(row))
        new, old = statement.excluded, sessions.c
        changes: dict[str, Any] = {name: new[name] for name in ("opened_at", "act", "unbroken", "remote")}
        for name in ("ended_at", "completed_at"):
            changes[name] = func.coalesce(new[name], old[name])
        return statement.on_conflict_do_update(index_elements=_pk(sessions), set_=_set(sessions, changes))

    def _finding(self, finding: Finding) -> Any:
        values = {
            "id": finding.id,
            "kind": finding.kind,
            "status": finding.status,
            "severity": finding.severity,
            "recorder_id": finding.recorder_id,
            "session_id": finding.session_id,
            "began_at": finding.began_at,
            "detected_at": finding.detected_at,
            "stage": _STAGES[finding.status],
            "body": encode(finding).decode(),
        }
        statement = self._insert(findings).values(**values)
        new, old = statement.excluded, findings.c
        newer = or_(
            new.detected_at > old.detected_at,
            and_(new.detected_at == old.detected_at, new.stage >= old.stage),
        )
        changes = {name: new[name] for name in values if name != "id"}
        return statement.on_conflict_do_update(index_elements=_pk(findings), set_=_set(findings, changes), where=newer)


def _select(table: Table) -> Select[Any]:
    """Every column that the rows have, under its attribute's name."""
    return select(*(column.label(column.key) for column in table.columns if column.key != "announced"))


def _rows(query: Select[Any]) -> Callable[[Connection], Sequence[Any]]:
    return lambda connection: connection.execute(query).all()


def _where(query: Select[Any], *conditions: ColumnElement[bool] | None) -> Select[Any]:
    return query.where(*(condition for condition in conditions if condition is not None))


def _later(known: Any, new: Any) -> ColumnElement[Any]:
    """The later of two times, either of which may be NULL."""
    return case((known.is_(None), new), (new <= known, known), else_=func.coalesce(new, known))


def _pk(table: Table) -> list[str]:
    return [column.name for column in table.primary_key.columns]


def _set(table: Table, changes: dict[str, Any]) -> dict[Any, Any]:
    return {table.c[key]: value for key, value in changes.items()}
