"""The catalogue, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from domain.clock import Instant
from domain.errors import CatalogUnavailable, IntegrityError, InvalidInput, InvalidSettings
from domain.findings import Finding, Message, Status
from domain.ids import finding_id
from storage.catalog.catalog import CATALOGUE, Catalog
from storage.catalog.rows import RecorderRow, SegmentRow, SessionRow
from storage.catalog.tables import metadata
from storage.database import Database

T0 = Instant.parse("2026-05-04T08:00:00+08:00")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/catalog.db"
    url: str = request.getfixturevalue("postgres").create_database(f"catalog_{uuid.uuid4().hex}")
    return url


@pytest.fixture
async def catalog(address: str) -> AsyncIterator[Catalog]:
    opened = await Catalog.connect(address)
    yield opened
    await opened.close()


def recorder(name: str = "cam-1", at: Instant = T0, **more: object) -> RecorderRow:
    row = RecorderRow(recorder_id=name, kind="premises_camera", policy="wucheng", registered_at=at)
    return msgspec.structs.replace(row, **more)


def segment(number: int, recorder_id: str = "cam-1", **more: object) -> SegmentRow:
    row = SegmentRow(
        key=f"segments/{recorder_id}/{number:04}.mp4",
        recorder_id=recorder_id,
        session_id="s1",
        feed_id="f1",
        policy="wucheng",
        from_at=T0.plus(number * 60_000),
        to_at=T0.plus((number + 1) * 60_000),
        bytes=1000,
        sha256=f"{number:064x}",
        version_id="v",
        codec="h264",
        first_seq=number * 10,
        last_seq=number * 10 + 9,
        fragments=10,
        retain_until=T0.plus(10**10),
        stored_at=T0,
    )
    return msgspec.structs.replace(row, **more)


def finding(status: Status, detected_ms: int, began_ms: int = 0, recorder_id: str = "cam-1") -> Finding:
    began = T0.plus(began_ms)
    return Finding(
        id=finding_id("recording.gap", recorder_id, "s1", "", began),
        kind="recording.gap",
        status=status,
        severity="warning",
        recorder_id=recorder_id,
        session_id="s1",
        began_at=began,
        detected_at=T0.plus(detected_ms),
        evidence={"seconds": 3.5},
        clauses=["W-28"],
        message=Message(key="gap", params={}),
    )


async def test_migrations_make_what_the_tables_say(catalog: Catalog, address: str) -> None:
    database = Database(address, CATALOGUE)
    with database.writer.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    await database.close()


async def test_several_processes_may_open_a_new_database_at_once(address: str) -> None:
    opened = await asyncio.gather(*(Catalog.connect(address) for _ in range(4)))
    await asyncio.gather(*(catalog.ping() for catalog in opened))
    await asyncio.gather(*(catalog.close() for catalog in opened))


async def test_an_older_registration_changes_nothing_but_when_it_was_heard(catalog: Catalog) -> None:
    await catalog.upsert_recorder(recorder(site_id="new", at=T0.plus(5), last_seen_at=T0))
    await catalog.upsert_recorder(recorder(site_id="old", at=T0, last_seen_at=T0.plus(9)))
    assert await catalog.get_recorder("cam-1") == recorder(site_id="new", at=T0.plus(5), last_seen_at=T0.plus(9))


async def test_last_heard_never_moves_back(catalog: Catalog) -> None:
    await catalog.upsert_recorder(recorder())
    await catalog.seen("cam-1", T0.plus(100), T0.plus(90))
    await catalog.seen("cam-1", T0.plus(50), T0.plus(40))
    await catalog.seen("cam-1", T0.plus(110))
    await catalog.upsert_recorder(recorder())
    known = await catalog.get_recorder("cam-1")
    assert known is not None
    assert (known.last_seen_at, known.last_media_at) == (T0.plus(110), T0.plus(90))


async def test_a_session_repeated_stays_ended(catalog: Catalog) -> None:
    opened = SessionRow(recorder_id="cam-1", session_id="s1", opened_at=T0, act="inspection", unbroken=True)
    await catalog.end_session("cam-1", "s1", ended_at=T0.plus(20), completed_at=T0.plus(10))
    await catalog.upsert_session(opened)
    await catalog.upsert_session(opened)
    ended = msgspec.structs.replace(opened, ended_at=T0.plus(20), completed_at=T0.plus(10))
    assert await catalog.get_session("cam-1", "s1") == ended
    assert (await catalog.list_sessions(open_only=True)).items == []
    assert (await catalog.list_sessions(recorder_id="cam-1")).items == [ended]


async def test_a_finding_is_its_newest_statement_in_whatever_order_they_come(catalog: Catalog) -> None:
    opened, updated, closed = finding("opened", 10), finding("updated", 20), finding("closed", 20)
    for statement in (closed, opened, updated, closed, opened):
        await catalog.upsert_finding(statement)
    assert (await catalog.list_findings()).items == [closed]
    assert (await catalog.list_findings(open_only=True)).items == []
    await catalog.upsert_finding(finding("opened", 30, began_ms=25), finding("opened", 30, began_ms=26))
    assert [f.began_at for f in (await catalog.list_findings(open_only=True)).items] == [T0.plus(26), T0.plus(25)]
    assert await catalog.count_open_findings() == {("recording.gap", "warning"): 2}
    assert (await catalog.list_findings(recorder_id="other")).items == []


async def test_a_segment_is_one_row_however_often_it_is_added(catalog: Catalog) -> None:
    assert await catalog.add_segment(segment(1))
    assert not await catalog.add_segment(segment(1))
    with pytest.raises(IntegrityError, match=segment(1).key):
        await catalog.add_segment(segment(1, sha256="f" * 64))
    assert (await catalog.list_segments()).items == [segment(1)]
    assert await catalog.get_segment(segment(1).key) == segment(1)


async def test_segments_that_overlap_a_span(catalog: Catalog) -> None:
    for number in (3, 1, 2, 0):
        await catalog.add_segment(segment(number))
        await catalog.add_segment(segment(number, "cam-2"))
    span = await catalog.list_segments(recorder_id="cam-1", from_at=T0.plus(60_000), to_at=T0.plus(120_001))
    assert span.items == [segment(1), segment(2)]
    assert await catalog.stored_ranges("cam-1", "f1") == []
    for number in range(4):
        await catalog.announced(segment(number).key)
    assert await catalog.stored_ranges("cam-1", "f1") == [(0, 9), (10, 19), (20, 29), (30, 39)]
    assert await catalog.stored_ranges("cam-1", "f2") == []


async def test_pages_neither_skip_nor_repeat_while_rows_are_added(catalog: Catalog) -> None:
    for number in range(0, 10, 2):
        await catalog.add_segment(segment(number))
    first = await catalog.list_segments(limit=2)
    assert [s.first_seq for s in first.items] == [0, 20]
    await catalog.add_segment(segment(1))
    second = await catalog.list_segments(limit=2, cursor=first.cursor)
    assert [s.first_seq for s in second.items] == [40, 60]
    third = await catalog.list_segments(limit=2, cursor=second.cursor)
    assert [s.first_seq for s in third.items] == [80]
    assert third.cursor is None


async def test_newest_first_pages(catalog: Catalog) -> None:
    for number in range(5):
        await catalog.upsert_session(
            SessionRow(recorder_id="cam-1", session_id=f"s{number}", opened_at=T0.plus(number // 2))
        )
    seen, cursor = [], None
    while True:
        page = await catalog.list_sessions(limit=2, cursor=cursor)
        seen += [row.session_id for row in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ["s4", "s3", "s2", "s1", "s0"]


@pytest.mark.parametrize("cursor", ["x", "!!", "WyJhIl0=", "W10=", "\n"])
async def test_a_foreign_cursor_is_the_callers_mistake(catalog: Catalog, cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await catalog.list_segments(cursor=cursor)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("address", ["mysql://x/y", "sqlite://", "nonsense", "sqlite:///:memory:"])
async def test_addresses_of_no_use(address: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        await Catalog.connect(address)
    assert caught.value.field == "catalog"


async def test_a_database_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    await (await Catalog.connect(f"sqlite:///{path}")).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(CatalogUnavailable, match="9999"):
        await Catalog.connect(f"sqlite:///{path}")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(CatalogUnavailable, match="not a database"):
        await Catalog.connect(f"sqlite:///{path}")


async def test_what_sqlite_promises(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/catalog.db", CATALOGUE)
    with database.writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    await database.close()
