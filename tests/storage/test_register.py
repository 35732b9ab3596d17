"""Classes, holds and expiry lists in the catalogue, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant
from storage.catalog.catalog import Catalog
from storage.catalog.register import Register
from storage.catalog.rows import DecisionRow, ExpiryRow, HoldRow, ObjectRow, ReleaseRow, SegmentRow

T0 = Instant.parse("2026-05-04T08:00:00+08:00")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalog]:
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/catalog.db"
    else:
        address = request.getfixturevalue("postgres").create_database(f"register_{uuid.uuid4().hex}")
    opened = await Catalog.connect(address)
    yield opened
    await opened.close()


@pytest.fixture
def register(catalog: Catalog) -> Register:
    return Register(catalog)


def segment(number: int, lock_ms: int = 0) -> SegmentRow:
    return SegmentRow(
        key=f"segments/cam-1/{number:04}.mp4",
        recorder_id="cam-1",
        session_id="s1",
        feed_id="f1",
        policy="wucheng",
        from_at=T0.plus(number * 60_000),
        to_at=T0.plus((number + 1) * 60_000),
        bytes=1000,
        sha256=f"{number:064x}",
        version_id="v",
        codec="h264",
        first_seq=number,
        last_seq=number,
        fragments=1,
        retain_until=T0.plus(lock_ms),
        stored_at=T0,
    )


def hold(number: int, **more: object) -> HoldRow:
    row = HoldRow(
        id=f"{number:032x}",
        recorder_id="cam-1",
        session_id="s1",
        origin="person",
        by="李四",
        reason="复核",
        at=T0.plus(number),
    )
    return msgspec.structs.replace(row, **more)


def expiry(key: str, **more: object) -> ExpiryRow:
    row = ExpiryRow(
        key=key,
        recorder_id="cam-1",
        session_id="s1",
        state="review",
        retention_class="ordinary",
        due_at=T0,
        listed_at=T0.plus(5),
    )
    return msgspec.structs.replace(row, **more)


async def test_decisions_are_kept_in_order_and_once(register: Register) -> None:
    rows = [
        DecisionRow(
            id=f"{number:032x}",
            recorder_id="cam-1",
            session_id="s1",
            at=T0.plus(at),
            retention_class="evidence",
            by="李四",
            reason="证据",
            case="7号",
            keep_until=T0.plus(10**12),
        )
        for number, at in ((1, 30), (2, 10), (3, 20))
    ]
    for row in (*rows, *rows):
        await register.add_decision(row)
    assert await register.decisions("cam-1", "s1") == [rows[1], rows[2], rows[0]]
    assert await register.decisions("cam-1", "s2") == []


async def test_a_hold_stands_until_it_is_released(register: Register) -> None:
    first, second = hold(1), hold(2, key="segments/a", session_id=None, from_at=T0, to_at=T0.plus(9), ref="x")
    await register.set_hold(first)
    await register.set_hold(second)
    assert await register.holds("cam-1") == [first, second]
    await register.release(ReleaseRow(hold_id=first.id, at=T0.plus(9), by="王五", reason="无异议"))
    await register.set_hold(first)
    assert await register.holds("cam-1") == [second]
    assert await register.holds("cam-1", released=True) == [first, second]
    assert await register.hold(first.id) == first
    assert await register.hold("none") is None


async def test_a_release_may_come_before_its_hold(register: Register) -> None:
    await register.release(ReleaseRow(hold_id=hold(1).id, at=T0, by="王五", reason="无异议"))
    await register.set_hold(hold(1))
    assert await register.holds("cam-1") == []


async def test_an_older_statement_of_a_hold_changes_nothing(register: Register) -> None:
    newer = hold(1, at=T0.plus(20), to_at=T0.plus(99))
    for row in (hold(1, at=T0.plus(10)), newer, hold(1, at=T0.plus(10))):
        await register.set_hold(row)
    assert await register.holds("cam-1") == [newer]


async def test_what_lapses_is_listed_in_pages_and_a_lock_only_grows(catalog: Catalog, register: Register) -> None:
    rows = [segment(number, lock_ms=lock) for number, lock in enumerate((30, 10, 10, 20, 99))]
    for row in rows:
        await catalog.add_segment(row)
    wanted = [rows[1], rows[2], rows[3], rows[0]]
    found: list[ObjectRow] = []
    while some := await register.lapsing(T0.plus(50), found[-1] if found else None, limit=1):
        found += some
    assert found == wanted
    await register.extended(rows[0].key, T0.plus(77))
    await register.extended(rows[1].key, T0.plus(1))
    known = await catalog.get_segment(rows[1].key)
    assert known == rows[1]
    assert await register.lapsing(T0.plus(50)) == wanted[:3]


async def test_what_was_deleted_is_listed_nowhere_and_its_fragments_still_count(
    catalog: Catalog, register: Register
) -> None:
    for number in (1, 2):
        await catalog.add_segment(segment(number))
        await catalog.announced(segment(number).key)
    await register.set_expiry(expiry(segment(1).key, state="deleting"))
    await register.deleted(segment(1).key, T0.plus(7))
    await register.deleted(segment(1).key, T0.plus(8))
    assert (await catalog.list_segments()).items == [segment(2)]
    gone = await catalog.get_segment(segment(1).key)
    assert gone is not None
    assert gone.deleted_at == T0.plus(7)
    assert await register.lapsing(T0.plus(1)) == [segment(2)]
    assert await catalog.stored_ranges("cam-1", "f1") == [(1, 1), (2, 2)]
    await register.withdraw(segment(1).key)
    await register.set_expiry(expiry(segment(1).key))
    left = await register.expiry(segment(1).key)
    assert left is not None
    assert left.state == "deleted"


async def test_lists_of_what_has_come_to_its_end(register: Register) -> None:
    rows = [expiry(f"segments/{number}", listed_at=T0.plus(number)) for number in range(5)]
    for row in rows:
        await register.set_expiry(row)
    await register.set_expiry(expiry("segments/9", state="listed", session_id="s2"))
    page = await register.list_expiries("review", limit=2)
    assert page.items == rows[:2]
    assert (await register.list_expiries("review", cursor=page.cursor)).items == rows[2:]
    assert [row.key for row in (await register.list_expiries(session_id="s2")).items] == ["segments/9"]
    assert (await register.list_expiries(recorder_id="other")).items == []
    kept = expiry("segments/0", state="kept", by="李四", reason="有价值", again_at=T0.plus(10**9))
    await register.set_expiry(kept)
    assert await register.expiry("segments/0") == kept
    await register.withdraw("segments/1")
    assert await register.expiry("segments/1") is None
    assert await register.count_expiries() == {"review": 3, "kept": 1, "listed": 1}


async def test_a_reader_never_moves_back(register: Register) -> None:
    assert await register.place("ledger") == 0
    for position in (5, 3, 9):
        await register.set_place("ledger", position)
    assert await register.place("ledger") == 9
