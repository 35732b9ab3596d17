"""The ledger, on SQLite and PostgreSQL alike: it only grows, without holes, whoever appends and whatever dies."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidInput, InvalidSettings, LedgerUnavailable
from storage.catalog.catalog import Catalog
from storage.database import Database
from storage.ledger.entry import Entry
from storage.ledger.ledger import LEDGER, READ_AT_ONCE, Ledger
from storage.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash, verify_consistency, verify_inclusion
from storage.ledger.statements import Checkpoint, Delivery
from storage.ledger.tables import metadata
from tests.services.postgres import PostgresServer
from tests.storage.ledger_child import entry

ROOT = Path(__file__).resolve().parents[2]
T0 = Instant.parse("2026-05-04T08:00:00+08:00")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/ledger.db"
    url: str = request.getfixturevalue("postgres").create_database(f"ledger_{uuid.uuid4().hex}")
    return url


@pytest.fixture
async def ledger(address: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.connect(address)
    yield opened
    await opened.close()


async def lines(ledger: Ledger, start: int = 0, end: int | None = None) -> list[bytes]:
    found = [one async for one in ledger.read(start, end)]
    assert [index for index, _ in found] == list(range(start, start + len(found)))
    return [line for _, line in found]


async def whole_root(ledger: Ledger) -> bytes:
    frontier = Frontier()
    for line in await lines(ledger):
        frontier.add(leaf_hash(line))
    return frontier.root()


def entries(count: int, name: str = "cam-1", begin: int = 0) -> list[Entry]:
    return [entry(name, number) for number in range(begin, begin + count)]


async def test_migrations_make_what_the_tables_say(ledger: Ledger, address: str) -> None:
    database = Database(address, LEDGER)

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"version_table": "alembic_version_ledger"})
        return list(compare_metadata(context, metadata))

    assert await database.read(compare) == []
    await database.close()


async def test_a_ledger_and_a_catalogue_may_share_a_postgresql(postgres: PostgresServer) -> None:
    address = postgres.create_database(f"shared_{uuid.uuid4().hex}")
    catalog, ledger = await Catalog.connect(address), await Ledger.connect(address)
    assert await ledger.append(entries(2)) == [0, 1]
    await ledger.close()
    await catalog.close()
    again = await Ledger.connect(address)
    assert await again.size() == 2
    await again.close()


async def test_an_empty_ledger(ledger: Ledger) -> None:
    assert await ledger.size() == 0
    assert await ledger.root() == EMPTY_ROOT
    assert await lines(ledger) == []
    assert await ledger.append([]) == []
    assert await ledger.consistency(0, 0) == []
    assert await ledger.latest_checkpoint() is None


async def test_what_is_appended_is_read_and_found(ledger: Ledger) -> None:
    given = entries(READ_AT_ONCE + 7)
    assert await ledger.append(given) == list(range(len(given)))
    assert await ledger.size() == len(given)
    assert await lines(ledger) == [one.line() for one in given]
    assert await lines(ledger, 3, 5) == [one.line() for one in given[3:5]]
    assert await ledger.find(given[99].id) == 99
    assert await ledger.find("0" * 32) is None


async def test_what_is_known_keeps_its_index(ledger: Ledger) -> None:
    given = entries(6)
    assert await ledger.append(given[:4]) == [0, 1, 2, 3]
    assert await ledger.append([given[4], given[1], given[4], given[5], given[0]]) == [4, 1, 4, 5, 0]
    assert await lines(ledger) == [one.line() for one in given]


async def test_the_entries_of_a_session(ledger: Ledger) -> None:
    def about(session_id: str | None, number: int) -> Entry:
        return Entry(kind="hold", at=T0, body={"n": number}, recorder_id="cam-1", session_id=session_id)

    mixed = [about("s1", 0), about("s2", 1), about(None, 2), about("s1", 3), entry("cam-2", 4)]
    await ledger.append(mixed)
    assert await ledger.of_session("cam-1", "s1") == [(0, mixed[0].line()), (3, mixed[3].line())]
    assert await ledger.of_session("cam-1", None) == [(2, mixed[2].line())]
    assert await ledger.of_session("cam-9", "s1") == []


async def test_the_entries_of_some_kinds(ledger: Ledger) -> None:
    given = [Entry(kind=kind, at=T0, body={"n": n}) for n, kind in enumerate(("act", "gap", "access", "act", "hold"))]
    await ledger.append(given)
    assert await ledger.of_kinds(["act", "access"]) == [(n, given[n].line()) for n in (0, 2, 3)]
    assert await ledger.of_kinds(["act", "access"], start=1, limit=1) == [(2, given[2].line())]
    assert await ledger.of_kinds(["export"]) == []


async def test_one_bad_entry_keeps_all_of_its_call_out(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="kind"):
        await ledger.append([*entries(2), Entry(kind="opinion", at=T0, body={})])
    assert await ledger.size() == 0


async def test_every_proof_from_the_stored_nodes(ledger: Ledger) -> None:
    given = [one.line() for one in entries(70)]
    roots = [await ledger.root()]
    for number, one in enumerate(entries(70)):
        await ledger.append([one])
        roots.append(await ledger.root())
        assert await ledger.root(number) == roots[number]
    for size in (1, 2, 3, 31, 64, 65, 70):
        for index in range(size):
            proof = await ledger.inclusion(index, size)
            assert verify_inclusion(leaf_hash(given[index]), index, size, proof, roots[size])
        for first in range(size + 1):
            proof = await ledger.consistency(first, size)
            assert verify_consistency(first, size, proof, roots[first], roots[size])
    assert roots[70] == await whole_root(ledger)


async def test_what_is_not_there_cannot_be_proved(ledger: Ledger) -> None:
    await ledger.append(entries(5))
    for bad in (ledger.root(6), ledger.inclusion(5, 5), ledger.inclusion(0, 6), ledger.consistency(3, 6)):
        with pytest.raises(InvalidInput):
            await bad


async def test_many_at_once_share_commits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    write = ledger._write

    async def counted(work: Callable[[Connection], Any]) -> Any:
        nonlocal commits
        commits += 1
        return await write(work)

    monkeypatch.setattr(ledger, "_write", counted)
    found = await asyncio.gather(*(ledger.append([one, one]) for one in entries(300)))
    assert sorted(index for index, _ in found) == list(range(300))
    assert all(first == second for first, second in found)
    assert commits <= 4
    assert await ledger.root() == await whole_root(ledger)


async def test_a_caller_that_goes_away_harms_nobody(ledger: Ledger) -> None:
    given = entries(3)
    calls = [asyncio.create_task(ledger.append([one])) for one in given]
    await asyncio.sleep(0)
    calls[1].cancel()
    assert await calls[0] == [0]
    assert (await calls[2])[0] in {1, 2}
    assert await ledger.append([given[1]]) in ([1], [2])
    assert await ledger.size() == 3


async def test_two_processes_append_at_once(ledger: Ledger, address: str) -> None:
    children = {name: child(address, name, 120, 7) for name in ("one", "two")}
    for number in range(20):
        await ledger.append([entry("three", number)])
    acknowledged = {name: await asyncio.to_thread(answers, one) for name, one in children.items()}
    found = await lines(ledger)
    assert len(found) == 260
    for name, said in acknowledged.items():
        assert [number for number, _ in said] == list(range(120))
        assert all(found[index] == entry(name, number).line() for number, index in said)
    assert await ledger.root() == await whole_root(ledger)


async def test_processes_that_are_killed_leave_no_hole(address: str) -> None:
    for _ in range(5):
        one = child(address, "killed", 100_000, 3)
        assert one.stdout is not None
        for _ in range(6):
            await asyncio.to_thread(one.stdout.readline)
        one.send_signal(signal.SIGKILL)
        said = await asyncio.to_thread(answers, one, killed=True)
        ledger = await Ledger.connect(address)
        found = await lines(ledger)
        assert all(found[index] == entry("killed", number).line() for number, index in said)
        assert await ledger.root() == await whole_root(ledger)
        await ledger.append([entry("after", len(found))])
        assert await ledger.root() == await whole_root(ledger)
        await ledger.close()


async def test_a_commit_that_fails_leaves_no_trace_and_can_be_repeated(ledger: Ledger) -> None:
    await ledger.append(entries(5))
    engine = ledger._database.writer

    def fail(_connection: Connection) -> None:
        event.remove(engine, "commit", fail)
        raise sqlite3_error()

    event.listen(engine, "commit", fail)
    failed = await asyncio.gather(*(ledger.append([one]) for one in entries(9)[5:]), return_exceptions=True)
    assert {type(one) for one in failed} == {LedgerUnavailable}
    assert await ledger.size() == 5
    assert await ledger.append(entries(9)) == list(range(9))
    assert await ledger.root() == await whole_root(ledger)


def sqlite3_error() -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))


async def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """The file may not grow beyond a limit: SQLite's write fails in the middle of a transaction, for real."""
    address = f"sqlite:///{tmp_path}/ledger.db"
    ledger = await Ledger.connect(address)
    await ledger.append(entries(10))
    path = tmp_path / "ledger.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4096, hard))
        with pytest.raises(LedgerUnavailable):
            await ledger.append(entries(500, begin=10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert await ledger.size() == 10
    assert await ledger.append(entries(510)) == list(range(510))
    assert await ledger.root() == await whole_root(ledger)
    await ledger.close()


async def test_nothing_is_appended_to_an_end_that_was_changed(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/ledger.db"
    ledger = await Ledger.connect(address)
    await ledger.append(entries(200))
    await ledger.close()
    change(
        tmp_path / "ledger.db",
        'UPDATE ledger_entries SET line = CAST(CAST(line AS TEXT) || " " AS BLOB) WHERE "index" = 180',
    )
    ledger = await Ledger.connect(address)
    with pytest.raises(IntegrityError, match="entry 180 is not what was written"):
        await ledger.append(entries(1, begin=200))
    assert await ledger.size() == 200
    await ledger.close()


@pytest.mark.parametrize("index", [0, 7, 100])
async def test_an_entry_that_is_missing_is_named(tmp_path: Path, index: int) -> None:
    address = f"sqlite:///{tmp_path}/ledger.db"
    ledger = await Ledger.connect(address)
    await ledger.append(entries(200))
    change(tmp_path / "ledger.db", f'DELETE FROM ledger_entries WHERE "index" = {index}')
    with pytest.raises(IntegrityError, match=f"entry {index} is missing"):
        await lines(ledger)
    await ledger.close()


async def test_the_first_checkpoint_of_a_size_stands(ledger: Ledger) -> None:
    first = Checkpoint(3, T0, "one")
    assert await ledger.add_checkpoint(first) == first
    assert await ledger.add_checkpoint(Checkpoint(3, T0.plus(1), "two")) == first
    await ledger.add_checkpoint(Checkpoint(9, T0, "nine"))
    await ledger.set_timestamp(9, b"token")
    latest = await ledger.latest_checkpoint()
    assert latest == Checkpoint(9, T0, "nine", b"token")
    assert [one.size async for one in ledger.checkpoints(4)] == [9]
    assert [one.note async for one in ledger.checkpoints()] == ["one", "nine"]
    assert await ledger.checkpoints_after(3) == 1


async def test_a_delivery_never_moves_back(ledger: Ledger) -> None:
    for size in (3, 9, 4):
        await ledger.set_delivery(Delivery("log", size, T0.plus(size), f"r{size}"))
    await ledger.set_delivery(Delivery("file:x", 1, T0, ""))
    assert await ledger.deliveries() == [Delivery("file:x", 1, T0, ""), Delivery("log", 9, T0.plus(9), "r9")]


async def test_what_sqlite_promises(tmp_path: Path) -> None:
    ledger = await Ledger.connect(f"sqlite:///{tmp_path}/ledger.db")
    with ledger._database.writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "truncate"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    await ledger.close()


async def test_addresses_that_cannot_be() -> None:
    for bad in ("nothing", "mysql://x/y", "sqlite://"):
        with pytest.raises(InvalidSettings, match="ledger"):
            await Ledger.connect(bad)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def child(address: str, name: str, count: int, group: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.storage.ledger_child", address, name, str(count), str(group)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def answers(one: subprocess.Popen[str], *, killed: bool = False) -> list[tuple[int, int]]:
    """What it said until its end: number and index of what was acknowledged."""
    said, _ = one.communicate(timeout=60)
    assert one.returncode == (-signal.SIGKILL if killed else 0)
    whole = said if said.endswith("\n") else said.rpartition("\n")[0]
    return [(int(number), int(index)) for number, index in (line.split() for line in whole.splitlines())]
