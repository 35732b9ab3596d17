"""Whatever is done to a ledger afterwards is found by its check, against copies that its writer could not reach."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant, ManualClock
from domain.errors import IntegrityError, LedgerUnavailable
from domain.settings import Settings
from storage.ledger.check import Check, Fault
from storage.ledger.checkpoint import TreeHead
from storage.ledger.copies import Copier
from storage.ledger.entry import Entry
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.ledger.merkle import Frontier, leaf_hash
from storage.ledger.notary import Notary
from storage.ledger.places import Place, StorePlace
from storage.objects.connect import connect
from tests.storage.ledger_child import entry
from tests.storage.test_ledger import change
from tests.storage.test_ledger_checkpoint import KEY, ORIGIN

KEYS = Keys(KEY, [KEY.verifier])
T0 = Instant.parse("2026-05-04T08:00:00+08:00")
SIZES = (3, 11, 12, 40, 77)
FLIPS = 250
FILE_FLIPS = 120

_COLUMNS = [
    ("ledger_entries", "line"),
    ("ledger_entries", "nodes"),
    ("ledger_entries", "id"),
    ("ledger_entries", "kind"),
    ("ledger_entries", "recorder_id"),
    ("ledger_entries", "session_id"),
    ("ledger_checkpoints", "note"),
]


class House:
    """A ledger in a file, and two places outside."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.outside = folder / "outside"
        self.clock = ManualClock(T0)
        stores = [connect(Settings(store=f"file:{self.outside}/{name}")) for name in ("one", "two")]
        self.places: list[Place] = [
            StorePlace(f"file:{name}", store, 1_000, self.clock, owned=True)
            for name, store in zip(("one", "two"), stores, strict=True)
        ]

    async def open(self, path: Path | None = None) -> Ledger:
        return await Ledger.connect(f"sqlite:///{path or self.path}")

    async def grow(self, ledger: Ledger, size: int) -> None:
        begin = await ledger.size()
        await ledger.append([about(number) for number in range(begin, size)])

    async def sign(self, ledger: Ledger) -> None:
        self.clock.advance(60)
        await Notary(ledger, KEYS, self.clock).make()
        await Copier(ledger, self.places, self.clock).run()

    async def faults(self, ledger: Ledger, start: int = 0) -> list[Fault]:
        check = Check(ledger, KEYS.trusted, self.places, start=start)
        return [fault async for fault in check.run()]

    async def close(self) -> None:
        for place in self.places:
            await place.close()


def about(number: int) -> Entry:
    return msgspec.structs.replace(entry("cam-1", number), session_id=f"s{number % 5}")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    opened = House(tmp_path)
    ledger = await opened.open()
    for size in SIZES:
        await opened.grow(ledger, size)
        await opened.sign(ledger)
    await opened.grow(ledger, 80)
    await ledger.close()
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(house: House) -> AsyncIterator[Ledger]:
    opened = await house.open()
    yield opened
    await opened.close()


async def test_a_whole_ledger_has_no_faults(house: House, ledger: Ledger) -> None:
    check = Check(ledger, KEYS.trusted, house.places)
    assert [fault async for fault in check.run()] == []
    assert (check.size, check.newest) == (80, 77)
    for size in (0, *SIZES):
        assert await house.faults(ledger, size) == []


async def test_a_ledger_that_goes_on_growing_has_no_faults(tmp_path: Path) -> None:
    house = House(tmp_path)
    ledger = await house.open()
    pick = random.Random(5)
    for _ in range(60):
        await house.grow(ledger, await ledger.size() + pick.randrange(4))
        if pick.random() < 0.6:
            await house.sign(ledger)
        assert await house.faults(ledger) == []
    await ledger.close()
    await house.close()


async def test_every_flipped_bit_in_what_it_says_is_found(house: House, ledger: Ledger) -> None:
    pick = random.Random(1)
    with closing(sqlite3.connect(house.path)) as connection:
        for _ in range(FLIPS):
            table, column = pick.choice(_COLUMNS)
            rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            row, value = pick.choice(rows)
            changed = _flipped(value, pick)
            update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
            with connection:
                connection.execute(update, (changed, row))
            assert await house.faults(ledger), (table, column, row, changed)
            with connection:
                connection.execute(update, (value, row))
    assert await house.faults(ledger) == []


@pytest.mark.parametrize("column", ["size", "made_at_ms"])
async def test_every_flipped_bit_in_its_numbers_is_found(house: House, ledger: Ledger, column: str) -> None:
    with closing(sqlite3.connect(house.path)) as connection:
        for bit in range(0, 42, 3):
            ((kept, note),) = connection.execute(f"SELECT {column}, note FROM ledger_checkpoints WHERE size = 40")
            update = f"UPDATE ledger_checkpoints SET {column} = ? WHERE note = ?"
            with connection:
                connection.execute(update, (kept ^ 1 << bit, note))
            assert await house.faults(ledger), bit
            with connection:
                connection.execute(update, (kept, note))
    assert await house.faults(ledger) == []


async def test_every_flipped_bit_in_a_copy_outside_is_found(house: House, ledger: Ledger) -> None:
    pick = random.Random(2)
    copies = sorted(house.outside.glob("*/objects/ledger/checkpoints/*.txt"))
    assert len(copies) == 2 * len(SIZES)
    for _ in range(100):
        path = pick.choice(copies)
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(_flip(data, pick))
        assert await house.faults(ledger), path
        path.write_bytes(data)
    assert await house.faults(ledger) == []


async def test_a_flipped_bit_in_the_file_is_found_or_says_nothing(house: House, tmp_path: Path) -> None:
    """Anywhere in the database's file: it is found, or what the ledger says has not changed (free and unused bytes)."""
    pick = random.Random(3)
    whole = house.path.read_bytes()
    said = _dump(house.path)
    quiet = 0
    for number in range(FILE_FLIPS):
        path = tmp_path / f"flipped-{number}.db"
        path.write_bytes(_flip(whole, pick))
        if not await _found(house, path):
            assert _dump(path) == said, number
            quiet += 1
        path.unlink()
    assert quiet < FILE_FLIPS * 4 / 5


async def _found(house: House, path: Path) -> bool:
    try:
        ledger = await house.open(path)
    except (IntegrityError, LedgerUnavailable):
        return True
    try:
        return bool(await house.faults(ledger))
    except (IntegrityError, LedgerUnavailable):
        return True
    finally:
        await ledger.close()


def _dump(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        entries = connection.execute('SELECT * FROM ledger_entries ORDER BY "index"').fetchall()
        return entries + connection.execute("SELECT * FROM ledger_checkpoints ORDER BY size").fetchall()


def _flipped(value: str | bytes, pick: random.Random) -> str | bytes:
    return _flip(value.encode(), pick).decode("utf-8", "replace") if isinstance(value, str) else _flip(value, pick)


def _flip(value: bytes, pick: random.Random) -> bytes:
    data = bytearray(value)
    bit = pick.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ('DELETE FROM ledger_entries WHERE "index" >= 76', "signed for 77 entries, and the ledger has 76"),
        ('DELETE FROM ledger_entries WHERE "index" >= 12', "signed for 40 entries, and the ledger has 12"),
        ("DELETE FROM ledger_entries", "signed for 3 entries, and the ledger has 0"),
        ('DELETE FROM ledger_entries WHERE "index" = 30', "ledger: entry 30 is missing"),
        ('DELETE FROM ledger_entries WHERE "index" = 0', "entry 0 is missing"),
        ("DELETE FROM ledger_checkpoints WHERE size = 11", "checkpoint 11 in file:one: is not in the ledger"),
        ("DELETE FROM ledger_checkpoints", "checkpoint 77 in file:two: is not in the ledger"),
        ("UPDATE ledger_deliveries SET size = 900 WHERE place = 'file:one'", "no checkpoint goes so far"),
        ('UPDATE ledger_entries SET line = 7 WHERE "index" = 9', "entry 9 is not what was written"),
        ("UPDATE ledger_entries SET nodes = 'text' WHERE \"index\" = 9", "entry 9 is not what was written"),
    ],
)
async def test_what_is_taken_away_is_named(house: House, ledger: Ledger, statement: str, says: str) -> None:
    change(house.path, statement)
    assert any(says in str(fault) for fault in await house.faults(ledger))


async def test_two_entries_that_changed_places(house: House, ledger: Ledger) -> None:
    with closing(sqlite3.connect(house.path)) as connection, connection:
        connection.execute('UPDATE ledger_entries SET "index" = -1 WHERE "index" = 20')
        connection.execute('UPDATE ledger_entries SET "index" = 20 WHERE "index" = 24')
        connection.execute('UPDATE ledger_entries SET "index" = 24 WHERE "index" = -1')
    said = [str(fault) for fault in await house.faults(ledger)]
    assert any("has signed other entries than there are" in one for one in said)


async def test_an_entry_put_in_between(house: House, ledger: Ledger) -> None:
    with closing(sqlite3.connect(house.path)) as connection, connection:
        for index in range(79, 19, -1):
            connection.execute(f'UPDATE ledger_entries SET "index" = {index + 1} WHERE "index" = {index}')
        one = about(900)
        columns = '"index", id, kind, recorder_id, session_id, line, nodes'
        values = (20, one.id, one.kind, one.recorder_id, one.session_id, one.line(), leaf_hash(one.line()))
        connection.execute(f"INSERT INTO ledger_entries ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    assert await house.faults(ledger)


async def _rewrite(path: Path) -> None:
    """What somebody with our key and our database can do: one entry is another, and all that follows is made anew."""
    with closing(sqlite3.connect(path)) as connection, connection:
        frontier = Frontier()
        sizes = dict(connection.execute("SELECT size, made_at_ms FROM ledger_checkpoints").fetchall())
        for index, line in connection.execute('SELECT "index", line FROM ledger_entries ORDER BY "index"').fetchall():
            one = about(901) if index == 17 else None
            kept = line if one is None else one.line()
            nodes = b"".join(frontier.add(leaf_hash(kept)))
            connection.execute('UPDATE ledger_entries SET line = ?, nodes = ? WHERE "index" = ?', (kept, nodes, index))
            if one is not None:
                update = 'UPDATE ledger_entries SET id = ?, session_id = ? WHERE "index" = ?'
                connection.execute(update, (one.id, one.session_id, index))
            if frontier.size in sizes:
                head = TreeHead(ORIGIN, frontier.size, frontier.root(), Instant(sizes[frontier.size]))
                connection.execute(
                    "UPDATE ledger_checkpoints SET note = ? WHERE size = ?", (head.signed(KEY), frontier.size)
                )


async def test_a_ledger_wholly_rewritten_with_our_key(house: House, ledger: Ledger) -> None:
    await _rewrite(house.path)
    assert [fault async for fault in Check(ledger, KEYS.trusted).run()] == []  # by itself it is beyond reproach
    said = [str(fault) for fault in await house.faults(ledger)]
    assert "checkpoint 40 in file:one: is another one than in the ledger" in said
    assert "checkpoint 77 in file:two: is another one than in the ledger" in said
    assert any("has signed other entries than there are" in one for one in said)


async def test_one_place_that_was_not_rewritten_is_enough(house: House, ledger: Ledger) -> None:
    await _rewrite(house.path)
    shutil.rmtree(house.outside / "one")
    first = Check(ledger, KEYS.trusted, house.places[1:])
    assert [fault async for fault in first.run()]


async def test_a_copy_that_is_gone_is_named(house: House, ledger: Ledger) -> None:
    (house.outside / "two/objects/ledger/checkpoints/000000000012.txt").unlink()
    assert [str(fault) for fault in await house.faults(ledger)] == [
        "checkpoint 12 in file:two: was delivered and is gone"
    ]


async def test_a_check_that_goes_on_finds_what_is_behind_it_by_its_root(house: House, ledger: Ledger) -> None:
    change(house.path, 'UPDATE ledger_entries SET nodes = zeroblob(length(nodes)) WHERE "index" = 31')
    assert any("checkpoint 40" in str(fault) for fault in await house.faults(ledger, 40))
    assert await house.faults(ledger, 41)
